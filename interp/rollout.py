"""Attention followed through the layers: rollout and flow, two guesses at which input tokens reach the output.

Each layer is taken as a graph from its output positions to its input positions, with the weights

    A_l = (mean over heads of the pattern + identity) / 2          (the identity stands for the residual stream)

    rollout   the product A_L ... A_1: the share of paths, weighed, that lead from position i down to input token j
    flow      the most that can flow from input j to position i if A_l are capacities (max-flow), asked for one position

Pitfalls. Neither knows values, MLPs, signs or which head matters, and averaging heads hides the one that does. With a causal mask
both drift: every path that leaves a position goes left and can never come back, so with depth the mass gathers on the first
tokens whatever the text says. `Rollout.even` is what heads with nothing but even attention would give on the same length; read a
rollout against it. The paper studied models without a causal mask.

Source: Abnar & Zuidema 2020, "Quantifying Attention Flow in Transformers", 2005.00928, section 3.
"""

from collections import deque
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from interp.attention import AttentionPatterns
from interp.run import Check, Provenance, position_in

MAX_FLOW_TOKENS = 64  # each key is its own max-flow over a graph of layers x tokens^2 / 2 edges


@dataclass(frozen=True)
class Rollout:
    """values[l]: what reaches each position after block l, Float [layer position token], rows sum to 1.

    even: the same for a model that attends evenly everywhere, Float [layer position token].
    """

    values: Float[Tensor, "layer position token"]
    even: Float[Tensor, "layer position token"]
    strings: tuple[str, ...]
    check: Check
    provenance: Provenance | None


@dataclass(frozen=True)
class RolloutRow:
    """One position's row of `Rollout.values[-1]` and of `Rollout.even[-1]`, Float [token]."""

    values: Float[Tensor, " token"]
    even: Float[Tensor, " token"]
    position: int
    strings: tuple[str, ...]
    check: Check
    provenance: Provenance | None


@dataclass(frozen=True)
class Flow:
    """values: the maximal flow from each input token to one position of the last layer, Float [token], each 0..1.

    They are separate flows and do not sum to 1; `shares` rescales them to. check: none exceeds what leaves the token or
    enters the position.
    """

    values: Float[Tensor, " token"]
    position: int
    strings: tuple[str, ...]
    check: Check
    provenance: Provenance | None

    @property
    def shares(self) -> Float[Tensor, " token"]:
        return self.values / self.values.sum().clamp(min=1e-30)


def layer_weights(result: AttentionPatterns) -> Float[Tensor, "layer position token"]:
    """A_l of every layer: the mean over heads and the residual stream, half each, rows rescaled to sum to 1."""
    mean = result.values.float().mean(1)
    both = (mean + torch.eye(mean.shape[-1], device=mean.device)) / 2
    return both / both.sum(-1, keepdim=True)


def rollout(result: AttentionPatterns) -> Rollout:
    """Attention rollout after every layer."""
    values = _products(layer_weights(result))
    residual = (values.sum(-1) - 1).abs().max().item()
    check = Check("rollout rows sum to 1", residual, 1e-4)
    return Rollout(values, _products(_even(result)), result.strings, check, result.provenance)


def rollout_row(result: AttentionPatterns, position: int = -1) -> RolloutRow:
    """What rollout says of one position after the last layer (negative counts from the end), without the rows of the others."""
    at = position_in(result.values.shape[-1], position)
    values, even = (_row(weights, at) for weights in (layer_weights(result), _even(result)))
    check = Check("rollout rows sum to 1", abs(values.sum().item() - 1), 1e-4)
    return RolloutRow(values, even, at, result.strings, check, result.provenance)


def flow(result: AttentionPatterns, position: int = -1) -> Flow:
    """Attention flow into one position of the last layer (negative counts from the end).

    Raises ValueError for more than MAX_FLOW_TOKENS tokens up to that position; rollout has no such limit.
    """
    n = result.values.shape[-1]
    at = position_in(n, position)
    if at >= MAX_FLOW_TOKENS:
        raise ValueError(
            f"Flow into position {at} needs {at + 1} tokens, {MAX_FLOW_TOKENS} is the most; use rollout, or shorten."
        )
    weights = layer_weights(result)[:, : at + 1, : at + 1].double().cpu()
    values = torch.zeros(n)
    values[: at + 1] = torch.tensor([_max_flow(weights, token, at) for token in range(at + 1)])
    limit = torch.minimum(weights[0].sum(0), weights[-1, at].sum())
    excess = (values[: at + 1].double() - limit).max().clamp(min=0).item()
    check = Check("flow stays within the capacities", excess, 1e-4)
    return Flow(values, at, result.strings, check, result.provenance)


def _products(weights: Float[Tensor, "layer position token"]) -> Float[Tensor, "layer position token"]:
    out = [weights[0]]
    for layer in weights[1:]:
        out.append(layer @ out[-1])
    return torch.stack(out)


def _row(weights: Float[Tensor, "layer position token"], at: int) -> Float[Tensor, " token"]:
    """A row of the last product, from the left: a vector times a matrix per layer, not a matrix times a matrix."""
    row = weights[-1, at]
    for layer in weights[:-1].flip(0):
        row = row @ layer
    return row


def _even(result: AttentionPatterns) -> Float[Tensor, "layer position token"]:
    n, device = result.values.shape[-1], result.values.device
    pattern = torch.ones(n, n, device=device).tril() / torch.arange(1, n + 1, device=device)[:, None]
    return ((pattern + torch.eye(n, device=device)) / 2).expand(len(result.values), n, n)


def _max_flow(weights: Float[Tensor, "layer position token"], token: int, position: int) -> float:
    """The maximal flow from an input token to a position of the last layer, along edges from keys to queries."""
    n_layers, n, _ = weights.shape
    network = _Network((n_layers + 1) * n)
    for layer, table in enumerate(weights.tolist()):
        for query in range(token, position + 1):  # no path through an earlier position comes from this token
            for key in range(token, query + 1):
                if table[query][key] > 0:
                    network.add(layer * n + key, (layer + 1) * n + query, table[query][key])
    return network.max_flow(token, n_layers * n + position)


class _Network:
    """Dinic's algorithm: flow is pushed along shortest paths until none is left, then along longer ones."""

    def __init__(self, n_nodes: int):
        self.edges: list[list[list]] = [[] for _ in range(n_nodes)]  # per node: [end, capacity left, the reverse edge]

    def add(self, start: int, end: int, capacity: float) -> None:
        forward, back = [end, capacity, None], [start, 0.0, None]
        forward[2], back[2] = back, forward
        self.edges[start].append(forward)
        self.edges[end].append(back)

    def max_flow(self, source: int, sink: int, least: float = 1e-12) -> float:
        """Capacities below `least` count as nothing: they are rounding errors."""
        total = 0.0
        while (levels := self._levels(source, least))[sink] >= 0:
            tried = [0] * len(self.edges)
            while path := self._path(source, sink, levels, tried, least):
                amount = min(edge[1] for edge in path)
                total += amount
                for edge in path:
                    edge[1] -= amount
                    edge[2][1] += amount
        return total

    def _levels(self, source: int, least: float) -> list[int]:
        """Distance of each node from the source along edges with capacity left; -1 out of reach."""
        levels, queue = [-1] * len(self.edges), deque([source])
        levels[source] = 0
        while queue:
            node = queue.popleft()
            for end, left, _ in self.edges[node]:
                if left > least and levels[end] < 0:
                    levels[end] = levels[node] + 1
                    queue.append(end)
        return levels

    def _path(self, source: int, sink: int, levels: list[int], tried: list[int], least: float) -> list[list]:
        """Edges of a path that goes up one level at each step; empty where none is left. Dead ends are not tried again."""
        path, node = [], source
        while node != sink:
            edges = self.edges[node]
            while tried[node] < len(edges):
                edge = edges[tried[node]]
                if edge[1] > least and levels[edge[0]] == levels[node] + 1:
                    break
                tried[node] += 1
            if tried[node] < len(edges):
                path.append(edge)
                node = edge[0]
            elif path:
                node = path.pop()[2][0]
                tried[node] += 1
            else:
                return []
        return path
