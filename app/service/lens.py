"""What the lens tab shows: each layer's prediction at each position, and one token followed through the layers.

Every function takes the kind of lens: "logit" (each layer with its own LayerNorm scale), "frozen" (with the last layer's), or
"tuned", where a tuned lens of exactly these weights lies beside the model.
"""

from dataclasses import dataclass

import numpy as np
import torch

from app.service.staged import MOMENT, Stage, finished
from app.service.view import View, as_numpy
from gpt2_core.checkpoints import locate
from gpt2_core.tokenizer import Tokenizer
from interp import tuned_lens
from interp.lens import lens_names, logit_lens, read_rows
from interp.run import Check, Run

LENSES = ("logit", "frozen", "tuned")
PER_LOGIT = 1500  # operations on each logit besides making it: softmax, entropy, rank
FEW_CELLS = 2000  # up to this many cells, each carries its five likeliest tokens


@dataclass(frozen=True)
class LensTable:
    """labels: one per row, from the embedding to the model's own prediction. top_ids [row position k], top_p alike, k is 5 or 1;
    entropy and kl, KL(final || row) (bits), target_p, target_rank (0 is the likeliest): [row position]."""

    labels: tuple[str, ...]
    top_ids: np.ndarray
    top_p: np.ndarray
    entropy: np.ndarray
    target_p: np.ndarray
    target_rank: np.ndarray
    kl: np.ndarray
    check: Check


@dataclass(frozen=True)
class Track:
    """A token through the layers at one position: p and rank (1 is the likeliest), [row]."""

    p: np.ndarray
    rank: np.ndarray


def tuned(view: View) -> tuned_lens.TunedLens | None:
    """The tuned lens beside the model's weights, or None. Raises ValueError where the one that lies there is another model's."""
    found = locate(view.state.model)
    if found is None or not (found.folder / tuned_lens.TENSORS).exists():
        return None
    return view.store.result((view.state.model, "tuned lens"), lambda: tuned_lens.load(found.folder, view.model))


def usable(view: View, kind: str, mid: bool) -> tuple[str, bool]:
    """The lens and the rows that can be shown of those that are asked for: "logit" without a tuned lens, and no rows after
    attention for a tuned lens without them."""
    if kind != "tuned":
        return kind, mid
    lens = tuned(view)
    return ("logit", mid) if lens is None else (kind, mid and lens_names(view.config.n_layers, True)[1] in lens.weights)


def reading(view: View, kind: str) -> dict:
    """The keywords of a kind of lens for the functions of `interp.lens`."""
    return {"translate": tuned(view)} if kind == "tuned" else {"layer_norm": "frozen" if kind == "frozen" else "recomputed"}


def cost(view: View, mid: bool) -> float:
    """About how many operations it takes to read every row of a lens at every position of a run."""
    logits = len(lens_names(view.config.n_layers, mid)) * len(view.run) * view.config.d_vocab
    return logits * (2.0 * view.config.d_model + PER_LOGIT)


def table_stage(view: View, run: Run, mid: bool, target: int | None, kind: str = "logit") -> Stage:
    """`table`, and what it costs."""
    s = view.state
    key = (s.model, "lens", s.prompt, s.bos, run.plan, mid, target, kind)
    return Stage(key, lambda: _table(view, run, mid, target, kind), cost(view, mid), MOMENT)


def table(view: View, run: Run, mid: bool, target: int | None, kind: str = "logit") -> LensTable:
    """The lens at every position of a run of the page. mid: also a row after each layer's attention. target: the token whose
    rank is shown; None is what the model itself finally predicts at each position."""
    return finished(view, table_stage(view, run, mid, target, kind))


def _table(view: View, run: Run, mid: bool, target: int | None, kind: str) -> LensTable:
    k = 5 if len(lens_names(view.config.n_layers, mid)) * len(run) <= FEW_CELLS else 1
    lens = logit_lens(view.model, run, k=k, target=target, mid=mid, **reading(view, kind))
    columns = (lens.top_ids, lens.top_probabilities, lens.entropy, lens.target_probability, lens.target_rank, lens.kl_to_final)
    return LensTable(lens.labels, *map(as_numpy, columns), lens.check)


def final_prediction(view: View) -> int:
    """The id of the likeliest next token at the selected position."""
    return int(view.run.logits[view.position].argmax())


@torch.no_grad()
def track(view: View, run: Run, target: int, mid: bool, kind: str = "logit") -> Track:
    """Probability and rank of one token at the selected position, layer by layer, in a run of the page."""
    at = slice(view.position, view.position + 1)
    logits = torch.cat(list(read_rows(view.model, run, mid, at=at, **reading(view, kind))))
    rank = (logits > logits[:, target, None]).sum(-1) + 1
    return Track(as_numpy(logits.softmax(-1)[:, target]), as_numpy(rank))


def one_token(tokenizer: Tokenizer, text: str) -> int:
    """The id of a text that is exactly one token. A leading "·", as the page prints a space, is read as a space.

    Raises ValueError, naming the tokens, where it is none or several.
    """
    text = " " + text[1:] if len(text) > 1 and text[0] == "·" else text
    ids = tokenizer.encode(text)
    if len(ids) != 1:
        raise NotOneToken(tokenizer.shown(ids))
    return ids[0]


class NotOneToken(ValueError):
    """A text that is no single token. pieces: what it splits into, as printed."""

    def __init__(self, pieces: list[str]):
        split = " | ".join(pieces) or "nothing"
        super().__init__(f"Type exactly one token; this splits into {len(pieces)}: {split}.")
        self.pieces = pieces


def row_of(layer: int, mid: bool) -> int:
    """The table's row of the residual stream after a layer."""
    return 2 * layer + 2 if mid else layer + 1


def layer_of(row: int, mid: bool) -> int:
    """The layer that a row belongs to; the embedding counts to layer 0."""
    return max(0, (row - 1) // 2 if mid else row - 1)
