"""What a head reads and writes in words, from its weights: strongest pairs of tokens, directions, and one token's row.

Folded weights (the LayerNorms' gains inside, means out) are what the literature reads; raw ones are offered and labelled. With
`first_mlp` the embedding is taken behind the first MLP, which is nearer to what later heads see.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from app.service.staged import Stage
from app.service.view import View, as_numpy
from app.setting import Setting
from interp.weights import Copying, SingularVectors, copying, singular_vectors, token_row
from interp.weights_pairs import TopPairs, pairs_so_far

CIRCUITS = ("OV", "QK")
PAIRS, DIRECTIONS, WORDS = 20, 6, 6
FOLDED = Setting("heads.folded", True)
FIRST_MLP = Setting("heads.first_mlp", False)
LOWEST = Setting("heads.lowest", False)


@dataclass(frozen=True)
class Eigenvalues:
    """Of W_E W_OV W_U of one head: values complex [d_head]; score: the sum of their real parts over the sum of their sizes."""

    values: np.ndarray
    score: float


def options(view: View) -> dict[str, bool]:
    """The two choices, as interp's functions take them."""
    return {"folded": FOLDED.of(view.state), "first_mlp": FIRST_MLP.of(view.state)}


def pairs_key(view: View, circuit: str) -> tuple:
    """Where the strongest pairs of the selected head are kept."""
    s = view.state
    return (s.model, "head pairs", view.layer, view.head, circuit, FOLDED.of(s), FIRST_MLP.of(s), LOWEST.of(s))


def pairs(view: View, circuit: str) -> TopPairs | None:
    """The strongest pairs, if the search has ended."""
    return view.store.peek(pairs_key(view, circuit))


def find_pairs(view: View, circuit: str) -> Iterator[TopPairs]:
    """The search for the strongest pairs of the selected head as it goes; its end is kept."""
    known = pairs(view, circuit)
    if known is not None:
        yield known
        return
    for found in pairs_so_far(view.model, view.layer, view.head, circuit, PAIRS, not LOWEST.of(view.state), **options(view)):
        if found.final:
            view.store.result(pairs_key(view, circuit), lambda found=found: found)
        yield found


def weight_stages(view: View) -> list[Stage]:
    """What is read from the selected head's weights, besides the pairs."""
    return [make(view, circuit) for circuit in CIRCUITS for make in (directions, row)] + [eigenvalues(view)]


def directions(view: View, circuit: str) -> Stage:
    """The strongest directions of W_OV or W_QK, read through the vocabulary: `interp.weights.SingularVectors`."""
    s = view.state
    key = (s.model, "head directions", view.layer, view.head, circuit, *options(view).values())

    def compute() -> SingularVectors:
        return singular_vectors(view.model, view.layer, view.head, circuit, DIRECTIONS, WORDS, **options(view))

    return Stage(key, compute, 60 * view.config.d_vocab * view.config.d_model + _mlp_cost(view))


def row(view: View, circuit: str) -> Stage:
    """OV: what reading the selected token raises and lowers. QK: which keys it looks for and avoids. `interp.weights.Ends`."""
    s, token, cfg = view.state, view.run.tokens[view.position], view.config
    key = (s.model, "head row", view.layer, view.head, circuit, token, *options(view).values())
    cost = 4 * cfg.d_vocab * cfg.d_model * cfg.d_head + _mlp_cost(view)
    compute = lambda: token_row(view.model, view.layer, view.head, token, circuit, WORDS, **options(view))  # noqa: E731
    return Stage(key, compute, cost)


def eigenvalues(view: View) -> Stage:
    """Of every head's OV circuit: `interp.weights.Copying`. See `of_head`."""
    key = (view.state.model, "heads eigenvalues", *options(view).values())
    cost = 4 * view.config.d_vocab * view.config.d_model**2 + _mlp_cost(view)  # in double precision
    return Stage(key, lambda: copying(view.model, **options(view)), cost)


def of_head(view: View, found: Copying) -> Eigenvalues:
    """The selected head's part of `eigenvalues`."""
    at = view.layer, view.head
    return Eigenvalues(torch.resolve_conj(found.eigenvalues[at]).cpu().numpy(), found.scores[at].item())


def _mlp_cost(view: View) -> float:
    return 4 * view.config.d_vocab * view.config.d_model * view.config.d_mlp * FIRST_MLP.of(view.state)


def energy(found: SingularVectors) -> np.ndarray:
    """The share of the squared size of the matrix that lies in each direction shown."""
    squares = as_numpy(found.singular_values).astype(float) ** 2
    return (squares / squares.sum())[: len(found.left)]
