"""A prompt, the token it predicts and the runner-up: what knocking heads out and attributing a logit are measured on.

The selected position is where the prediction is read. Nothing after it can change it, so the tokens after it are left out.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Int
from torch import Tensor

from app.service.view import View
from app.setting import Setting
from gpt2_core.activations import ActivationCache
from gpt2_core.streaming import end_id
from interp.ablation import METHODS, ZERO, Ablation
from interp.attribution import HeadAttribution, by_head
from interp.metrics import Metric, kl, log_probability, logit_diff
from interp.run import Run, trace
from interp.targets import logit

STREAM = ("resid_pre", "resid_mid", "resid_post", "attn_out")  # of these, edits are parts of the sum
METRICS = ("logit_diff", "log_probability", "kl")
METHOD = Setting("heads.ablation", METHODS[0], one_of=METHODS)
METRIC = Setting("heads.metric", METRICS[0], one_of=METRICS)
REFERENCE = Setting("heads.reference", "")

WINDOWS = 8  # pieces of the reference text that mean and resample read
REFERENCE_TEXT = (
    "Alice was beginning to get very tired of sitting by her sister on the bank, and of having nothing to do: once or twice she "
    "had peeped into the book her sister was reading, but it had no pictures or conversations in it, and where is the use of a "
    "book, thought Alice, without pictures or conversations? So she was considering in her own mind, as well as she could, for "
    "the hot day made her feel very sleepy and stupid, whether the pleasure of making a chain of flowers would be worth the "
    "trouble of getting up and picking them, when suddenly a white rabbit with pink eyes ran close by her."
)


@dataclass(frozen=True)
class Rivals:
    """The likeliest next token at the selected position, and the second."""

    first: int
    second: int


def rivals(view: View) -> Rivals:
    """What the run as edited predicts, so that runs with and without edits are asked about the same tokens."""
    first, second = view.run.logits[view.position].topk(2).indices.tolist()
    return Rivals(first, second)


def tokens_to(view: View) -> Int[Tensor, "1 pos"]:
    """The prompt up to the selected position."""
    return torch.tensor([view.run.tokens[: view.position + 1]])


def goal_of(view: View, run: Run, name: str) -> Metric:
    """A metric of the prediction: of the first against the second token, of the first, or KL from what `run` predicts."""
    found = rivals(view)
    if name == "logit_diff":
        return logit_diff(found.first, found.second)
    return log_probability(found.first) if name == "log_probability" else kl(run.logits[view.position])


def is_worse_lower(metric: str) -> bool:
    """Whether a lower value of a metric is the worse one; KL grows with the damage."""
    return metric != "kl"


def reference_text(text: str) -> str:
    """What mean and resample read: the text given, or the page's own (Carroll 1865)."""
    return text.strip() or REFERENCE_TEXT


def reference_rows(view: View, text: str) -> Int[Tensor, "8 pos"]:
    """Pieces of the reference text, as long as the prompt up to the selected position, `<|endoftext|>` in front where it has it.

    The pieces begin at places evenly spread over the text; a text shorter than the prompt is read round and round.
    """
    ids = view.model.tokenizer.encode(reference_text(text))
    bos = view.state.bos
    n = view.position + 1 - bos
    starts = [i * len(ids) // WINDOWS for i in range(WINDOWS)]
    rows = [[end_id(view.model)] * bos + [ids[(start + j) % len(ids)] for j in range(n)] for start in starts]
    return torch.tensor(rows)


def ablation_of(view: View, method: str) -> tuple[Ablation, int]:
    """What takes the place of a head's output, and how many copies of the prompt it needs: one for each piece to resample from."""
    if method == "zero":
        return ZERO, 1
    rows = reference_rows(view, REFERENCE.of(view.state))
    return (Ablation.mean(rows), 1) if method == "mean" else (Ablation.resample(rows), len(rows))


def by_head_at(view: View, run: Run) -> HeadAttribution:
    """The direct attribution of the predicted token's logit (above the mean logit) at the selected position, by head."""
    s = view.state
    first = rivals(view).first

    def compute() -> HeadAttribution:
        return by_head(view.model, _at_position(view, run), logit(view.model, first, minus="mean"), 0)

    return view.store.result((s.model, "heads direct", s.prompt, s.bos, run.plan, view.position, first), compute)


def attribution_names(view: View, run: Run) -> list[str]:
    """The hooks that `by_head` reads of a run: those of the stream only where an edit acts on it."""
    layers = range(view.config.n_layers)
    names = ["hook_embed", "hook_pos_embed", "ln_final.hook_scale"]
    names += [f"blocks.{layer}.{site}" for layer in layers for site in ("attn.hook_z", "hook_mlp_out")]
    if any(edit.component in STREAM for edit in run.plan):
        names += [f"blocks.{layer}.hook_{site}" for layer in layers for site in STREAM]
    return names


def _at_position(view: View, run: Run) -> Run:
    """A run that holds the selected position only: of a long prompt, all positions would be gigabytes."""
    s, at = view.state, view.position
    full = trace(view.model, s.prompt, run.plan, s.bos, attribution_names(view, run))
    kept = ActivationCache({name: x[at : at + 1] for name, x in full.activations.items()}, view.config.n_layers, False)
    cut = {"tokens": full.tokens[at : at + 1], "strings": full.strings[at : at + 1], "logits": full.logits[at : at + 1]}
    return replace(full, activations=kept, **cut)
