"""Patchscopes: let the model say in words what one of its hidden states holds.

The hidden state at one place of a source prompt (position, layer) is put in the place of the hidden state at (position, layer) of
a target prompt, and the model goes on writing. With the target below, which asks for a repetition, it tends to write what
the state stands for:

    cat -> cat
    1135 -> 1135
    hello -> hello
    ?                       <- the state is put here

Layer l means the residual stream before block l, so 0 is the embedding, and the source may be read at n_layers: after the last block.
The position keeps the state while text is generated: its keys and values in later layers are kept too.

Pitfalls: a state from a late layer put into an early one is out of place (norms grow with depth), an early one put in late has
no layers left to be read by; and a fluent answer may come from the target prompt alone, so `baseline` shows what the same
prompt says without the patch. Small models seldom follow the prompt.

Source: Ghandeharioun et al. 2024, "Patchscopes", 2401.06102, sections 3 and 4.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gpt2_core.generate import generate
from gpt2_core.model import GPT2
from gpt2_core.streaming import words_of
from interp.changes import Change, ChangeHook, chosen
from interp.edits import NO_EDITS, Plan
from interp.finite import last_logits, refuse_not_finite
from interp.intervene import compile_plan
from interp.run import Check, Provenance, position_in, prompt_ids, provenance

IDENTITY = "cat -> cat\n1135 -> 1135\nhello -> hello\n?"


@dataclass(frozen=True)
class Patchscope:
    """What the model wrote with the state in place, and without it.

    source_token, target_token: the tokens at the two places. top_ids, top_probabilities: [k], next token after the target prompt with
    the patch; baseline_ids, baseline_probabilities: without. text, baseline: what was generated.
    check: a state put where it came from changes no logit.
    """

    source_token: str
    target_token: str
    top_ids: Int[Tensor, " k"]
    top_probabilities: Float[Tensor, " k"]
    baseline_ids: Int[Tensor, " k"]
    baseline_probabilities: Float[Tensor, " k"]
    text: str
    baseline: str
    check: Check
    provenance: Provenance


@torch.no_grad()
def hidden_state(
    model: GPT2, prompt: str | Sequence[int], position: int, layer: int, plan: Plan = NO_EDITS, bos: bool = True
) -> Float[Tensor, " d_model"]:
    """The residual stream before block `layer` (n_layers: after the last) at a position (negative counts from the end).

    Raises ValueError for a layer or position that is not there.
    """
    ids = prompt_ids(model, prompt, bos)
    _check_place(model, ids, position, layer, model.config.n_layers)
    name = f"blocks.{layer}.hook_resid_pre"
    if layer == model.config.n_layers:
        name = f"blocks.{layer - 1}.hook_resid_post"
    hook = compile_plan(model, plan, bos)
    _, cache = model.run_with_cache(
        torch.tensor([ids]), name, return_type=None, hook=hook, stop_at_layer=min(layer + 1, model.config.n_layers)
    )
    refuse_not_finite(model, cache[name], torch.tensor([ids]), hook)
    return cache[name][0, position]


@torch.no_grad()
def patchscope(
    model: GPT2,
    source: str | Sequence[int],
    source_position: int,
    source_layer: int,
    target: str | Sequence[int] = IDENTITY,
    target_position: int = -1,
    target_layer: int = 0,
    *,
    transform: Callable[[Tensor], Tensor] | None = None,
    max_new_tokens: int = 10,
    temperature: float | int = 0.0,
    seed: int = 0,
    k: int = 5,
    plan: Plan = NO_EDITS,
    bos: bool = True,
) -> Patchscope:
    """Copies a hidden state from (source, position, layer) to (target, position, layer) and lets the model write on.

    Positions count a leading `<|endoftext|>` where `bos` puts one; negative ones count from the end. transform: a map of the state
    [d_model] on its way. plan: edits in force in both runs. Raises ValueError for places that are not there, and where the target
    and the new tokens exceed the context, whose sliding would move the patched position.
    """
    source_ids, ids = prompt_ids(model, source, bos), prompt_ids(model, target, bos)
    _check_place(model, ids, target_position, target_layer, model.config.n_layers - 1)
    if len(ids) + max_new_tokens - 1 > model.config.n_ctx:
        raise ValueError(
            f"A target of {len(ids)} tokens and {max_new_tokens} new ones exceed the context of {model.config.n_ctx}; shorten one."
        )
    state = hidden_state(model, source, source_position, source_layer, plan, bos)
    state, at = state if transform is None else transform(state), position_in(len(ids), target_position)
    plain = compile_plan(model, plan, bos)
    name = f"blocks.{target_layer}.hook_resid_pre"
    patched = ChangeHook([(name, put(state, at))], plain)
    own = ChangeHook([(name, put(hidden_state(model, target, at, target_layer, plan, bos), at))], plain)
    logits = [last_logits(model, torch.tensor([ids]), hook)[0].float() for hook in (patched, plain, own)]
    (top, base), residual = (x.softmax(-1).topk(k) for x in logits[:2]), (logits[1] - logits[2]).abs().max().item()
    settings = {"max_new_tokens": max_new_tokens, "temperature": temperature, "seed": seed}
    texts = [generate(model, ids, hook=hook, **settings).text for hook in (patched, plain)]
    strings = words_of(model).strings([source_ids[source_position], ids[at]])
    check = Check("a state put where it came from changes nothing", residual, 1e-4)
    return Patchscope(*strings, top.indices, top.values, base.indices, base.values, *texts, check, provenance(model, plan, bos))


def put(state: Float[Tensor, " d_model"], position: int) -> Change:
    """A change that replaces the residual stream at one position by a state."""

    def change(x: Tensor, queries: Tensor) -> Tensor:
        return torch.where(chosen(queries, (position,))[..., None], state.to(x), x)

    return change


def _check_place(model: GPT2, ids: list[int], position: int, layer: int, last: int) -> None:
    position_in(len(ids), position)
    if not 0 <= layer <= last:
        raise ValueError(f"Layer {layer} does not exist here, {model.config.model_name} has 0..{last}.")
