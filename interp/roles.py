"""Which heads may be called previous-token, duplicate-token, induction or copying heads: only those that earn the name.

A score alone names nothing: some head always scores highest. A role is given where

    1. the mean score over seeds reaches a stated threshold (THRESHOLDS, 0.4 for attention, 0.5 for copying), and
    2. the lowest score of any seed lies above the highest of a null, in which the same head has nothing to find:

        previous_token     the weight on an earlier key drawn at random, in place of the one before
        duplicate_token    the same cells on random tokens that are not repeated: what position alone gives
        induction          the same cells on random tokens that are not repeated
        copy               the share of other tokens of the list among the five: what the head favours whatever it reads

Intervals are the lowest and highest value over the seeds, no more: they tell how much the random tokens matter, not how the
head behaves on real text. A role says where a head looks (or what it would write), not that the model uses it there.

Copy score (Wang et al. 2022, section 3.1): the residual stream of a token after block 0, through ln_1, W_V, W_O of the head, the final
LayerNorm and the output head; the share of tokens that come back among the five likeliest. Negative heads are found with the sign
turned round. Two choices differ from the original code, which is written for folded weights: ln_1 is the head's own block's,
and each token is read alone after `<|endoftext|>`, not inside a sentence.

Sources: Olsson et al. 2022, 2209.11895; Wang et al. 2022, 2211.00593, section 3.1; null baselines: Hewitt & Liang 2019, 1909.03368.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import einsum
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gpt2_core.hooks import Watch
from gpt2_core.model import GPT2
from gpt2_core.streaming import end_id
from interp.edits import NO_EDITS, Plan
from interp.finite import last_logits, refuse_not_finite
from interp.given import token_ids
from interp.heads import repeated_random_tokens, scores
from interp.intervene import compile_plan
from interp.run import Provenance, provenance

ATTENTION_ROLES = ("previous_token", "duplicate_token", "induction")
THRESHOLDS = {"previous_token": 0.4, "duplicate_token": 0.4, "induction": 0.4, "copy": 0.5, "negative_copy": 0.5}
TOP = 5  # a token is copied if it is among so many


@dataclass(frozen=True)
class Spread:
    """A score per head over several seeds: its mean and its lowest and highest value, Float [layer head]."""

    mean: Float[Tensor, "layer head"]
    low: Float[Tensor, "layer head"]
    high: Float[Tensor, "layer head"]

    @staticmethod
    def of(values: Sequence[Float[Tensor, "layer head"]]) -> "Spread":
        table = torch.stack(list(values))
        return Spread(table.mean(0), table.amin(0), table.amax(0))


@dataclass(frozen=True)
class Role:
    """One role over all heads. given: where the score passes `threshold` and its interval lies above the null's."""

    name: str
    score: Spread
    null: Spread
    threshold: float
    seeds: tuple[int, ...]
    provenance: Provenance

    @property
    def given(self) -> Bool[Tensor, "layer head"]:
        return (self.score.mean >= self.threshold) & (self.score.low > self.null.high)

    @property
    def heads(self) -> tuple[tuple[int, int], ...]:
        """(layer, head) of every head with this role, highest score first."""
        found = [tuple(place) for place in self.given.nonzero().tolist()]
        return tuple(sorted(found, key=lambda place: -self.score.mean[place].item()))


def roles_of(roles: Sequence[Role], layer: int, head: int) -> tuple[str, ...]:
    """The names that one head has earned."""
    return tuple(role.name for role in roles if role.given[layer, head])


@torch.no_grad()
def attention_roles(
    model: GPT2,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    batch: int = 4,
    length: int = 50,
    plan: Plan = NO_EDITS,
    thresholds: dict[str, float] | None = None,
) -> tuple[Role, ...]:
    """Previous-token, duplicate-token and induction roles, each seed its own random tokens.

    batch, length: as for `heads.scores`. Raises ValueError for no seeds, and for a length that does not fit the context.
    """
    if not seeds:
        raise ValueError("Roles need at least one seed, got none; five are usual.")
    found = [scores(model, seed, batch, length, plan) for seed in seeds]
    nulls = [null_scores(model, seed, batch, length, plan) for seed in seeds]
    limits = {**THRESHOLDS, **(thresholds or {})}
    return tuple(
        Role(
            name,
            Spread.of([getattr(one, name) for one in found]),
            Spread.of([one[name] for one in nulls]),
            limits[name],
            tuple(seeds),
            provenance(model, plan, bos=False),
        )
        for name in ATTENTION_ROLES
    )


@torch.no_grad()
def null_scores(
    model: GPT2, seed: int = 0, batch: int = 4, length: int = 50, plan: Plan = NO_EDITS
) -> dict[str, Float[Tensor, "layer head"]]:
    """What each head scores where there is nothing to find: see the module's text."""
    # Both halves of each row differ: the copy is taken from another seed's tokens.
    halves = [repeated_random_tokens(model.config.d_vocab, batch, length, s)[:, :length] for s in (seed, ~seed & 0x7FFFFFFF)]
    tokens = torch.cat(halves, 1)
    keys = _random_keys(2 * length, seed)
    kept: dict[str, list[Tensor]] = {name: [] for name in ATTENTION_ROLES}

    def read(name: str, pattern: Tensor) -> None:
        pattern = pattern.float()
        at = keys.to(pattern.device).expand(*pattern.shape[:2], -1)[..., None]
        kept["previous_token"].append(pattern[:, :, 1:].gather(-1, at).mean((0, 2, 3)).cpu())
        for role, back in (("duplicate_token", length), ("induction", length - 1)):
            cells = pattern.diagonal(-back, dim1=-2, dim2=-1)[..., length - back :]
            kept[role].append(cells.mean((0, 2)).cpu())

    watch = Watch(lambda name: name.endswith("attn.hook_pattern"), read, compile_plan(model, plan, bos=False))
    last_logits(model, tokens, watch)  # refuses what is not finite; the predictions are not read
    return {name: torch.stack(rows) for name, rows in kept.items()}


def _random_keys(n: int, seed: int) -> Int[Tensor, " query"]:
    """For each query 1..n-1 one earlier or equal position, drawn evenly."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(n - 1, generator=generator, dtype=torch.float32) * torch.arange(2, n + 1)).long()


@torch.no_grad()
def copy_role(
    model: GPT2,
    tokens: Sequence[int],
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    negative: bool = False,
    plan: Plan = NO_EDITS,
    thresholds: dict[str, float] | None = None,
) -> Role:
    """The copying role over a list of tokens (names, say); `negative` for heads that push tokens down.

    The score has no randomness of its own; each seed draws another pairing of tokens with other tokens for the null.
    """
    if len(set(tokens)) < 2 or not seeds:
        raise ValueError(f"A copy score needs two different tokens and a seed, got {len(set(tokens))} and {len(seeds)}.")
    distinct = tuple(dict.fromkeys(tokens))
    shifts = [torch.randint(1, len(distinct), (), generator=torch.Generator().manual_seed(s)).item() for s in seeds]
    targets = [distinct] + [distinct[shift:] + distinct[:shift] for shift in shifts]  # no token is paired with itself
    own, *others = _copied(model, distinct, targets, -1.0 if negative else 1.0, plan)
    name = "negative_copy" if negative else "copy"
    limit = {**THRESHOLDS, **(thresholds or {})}[name]
    return Role(name, Spread.of([own]), Spread.of(others), limit, tuple(seeds), provenance(model, plan, bos=True))


def copy_scores(
    model: GPT2, tokens: Sequence[int], negative: bool = False, plan: Plan = NO_EDITS
) -> Float[Tensor, "layer head"]:
    """The share of the tokens that each head's OV circuit brings back among the five likeliest, 0..1."""
    return _copied(model, tokens, [tokens], -1.0 if negative else 1.0, plan)[0]


@torch.no_grad()
def _copied(
    model: GPT2, tokens: Sequence[int], targets: Sequence[Sequence[int]], sign: float, plan: Plan
) -> list[Float[Tensor, "layer head"]]:
    """For each list of targets, the share of tokens whose target is among the head's TOP."""
    rows = torch.tensor([[end_id(model), token] for token in token_ids(tokens)])
    name = "blocks.0.hook_resid_post"
    hook = compile_plan(model, plan, True)
    _, cache = model.run_with_cache(rows, name, return_type=None, hook=hook, stop_at_layer=1)
    state = cache[name][:, -1]
    refuse_not_finite(model, state, rows, hook)
    wanted = torch.tensor([list(t) for t in targets], device=state.device)
    table = []
    for block in model.h:
        ln = block.ln_1
        normalised = torch.nn.functional.layer_norm(state, ln.normalized_shape, ln.weight, ln.bias, ln.eps)
        v = einsum(normalised, block.attn.W_V, "n d, head d e -> n head e") + block.attn.b_V
        written = sign * einsum(v, block.attn.W_O, "n head e, head e d -> head n d")
        # One head at a time: [token d_vocab] floats.
        top = torch.stack([model.unembed(one[None])[0].topk(TOP).indices for one in written])
        table.append((top[None] == wanted[:, None, :, None]).any(-1).float().mean(-1))
    return list(torch.stack(table, 1).cpu())
