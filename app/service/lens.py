"""What the lens tab shows: each layer's prediction at each position, and one token followed through the layers."""

from dataclasses import dataclass

import numpy as np
import torch

from app.evidence import Evidence
from app.service.scripts import lens_script, script
from app.service.view import View, as_numpy
from gpt2_core.tokenizer import Tokenizer
from interp.lens import lens_names, logit_lens
from interp.run import Check, Run

FEW_CELLS = 2000  # up to this many cells, each carries its five likeliest tokens


@dataclass(frozen=True)
class LensTable:
    """labels: one per row, from the embedding to the model's own prediction. top_ids [row position k], top_p alike, k is 5 or 1;
    entropy (bits), target_p, target_rank (0 is the likeliest): [row position]. before_ids: [row position] without the edits."""

    labels: tuple[str, ...]
    top_ids: np.ndarray
    top_p: np.ndarray
    entropy: np.ndarray
    target_p: np.ndarray
    target_rank: np.ndarray
    before_ids: np.ndarray | None
    check: Check


@dataclass(frozen=True)
class Track:
    """A token through the layers at one position: p and rank (1 is the likeliest), [row]."""

    p: np.ndarray
    rank: np.ndarray


def table(view: View, mid: bool, target: int | None) -> LensTable:
    """The lens at every position. mid: also a row after each layer's attention. target: the token whose rank is shown; None is
    what the model itself finally predicts at each position."""
    k = 5 if len(lens_names(view.config.n_layers, mid)) * len(view.run) <= FEW_CELLS else 1
    lens = _lens(view, view.run, k, mid, target)
    before = None if view.before is None else _likeliest(view, view.before, mid)
    columns = (lens.top_ids, lens.top_probabilities, lens.entropy, lens.target_probability, lens.target_rank)
    return LensTable(lens.labels, *map(as_numpy, columns), before, lens.check)


def final_prediction(view: View) -> int:
    """The id of the likeliest next token at the selected position."""
    return int(view.run.logits[view.position].argmax())


@torch.no_grad()
def track(view: View, run: Run, target: int, mid: bool) -> Track:
    """Probability and rank of one token at the selected position, layer by layer, in a run of the page."""
    names = lens_names(view.config.n_layers, mid)
    resid = torch.stack([run.activations[name][view.position] for name in names])
    logits = view.model.unembed(resid[None])[0].float()
    rank = (logits > logits[:, target, None]).sum(-1) + 1
    return Track(as_numpy(logits.softmax(-1)[:, target]), as_numpy(rank))


def track_evidence(view: View, target: int, mid: bool) -> Evidence:
    """The followed token's numbers, layer by layer, and the scripts that compute them."""
    found, names = track(view, view.run, target, mid), lens_names(view.config.n_layers, mid)
    token = view.model.tokenizer.strings([target])[0]
    code = f"""
lens = logit_lens(model, run, target={target}, mid={mid})  # {token!r}
rows = zip(lens.labels, lens.target_probability[:, {view.position}].tolist(), lens.target_rank[:, {view.position}].tolist())
for label, probability, rank in rows:
    print(f"{{label:>12}} {{probability:9.4%}} rank {{rank + 1}}")
"""
    lens_code = f"""
_, cache = model.run_with_cache(tokens)
names = {names}
for name in names:
    logits = model.unembed(model.ln_final(cache[name]))[0, {view.position}]
    rank = int((logits > logits[{target}]).sum()) + 1
    print(f"{{name:>28}} {{logits.softmax(-1)[{target}].item():9.4%}} rank {{rank}}")  # of {token!r}
"""
    return Evidence(
        "lens-token",
        ("read_at", "probability", "rank"),
        list(zip(names, found.p, found.rank)),
        script(view, "from interp.lens import logit_lens", code),
        lens_script(view, "", lens_code),
        {"token": token, "id": target, "position": view.position, "provenance": view.run.provenance.to_dict()},
    )


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


@torch.no_grad()
def _likeliest(view: View, run: Run, mid: bool) -> np.ndarray:
    """Each row's likeliest token [row position]: all that is shown of the run without the edits."""
    s = view.state

    def compute() -> np.ndarray:
        names = lens_names(view.config.n_layers, mid)
        return np.stack([as_numpy(view.model.unembed(run.activations[name][None])[0].argmax(-1)) for name in names])

    return view.store.result((s.model, "lens likeliest", s.prompt, s.bos, run.plan, mid), compute)


def _lens(view: View, run: Run, k: int, mid: bool, target: int | None):
    s = view.state
    key = (s.model, "lens", s.prompt, s.bos, run.plan, k, mid, target)
    return view.store.result(key, lambda: logit_lens(view.model, run, k=k, target=target, mid=mid))
