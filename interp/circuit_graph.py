"""The network as a graph of embeddings, heads and MLPs, and runs in which some nodes or edges carry the corrupted prompt's values.

`NodeRuns` and `EdgeRuns` have the same face: `drop` and `restore` a candidate, `logits(layer)` of the network as it then is,
`clean_logits` and `corrupted_logits` of the two plain runs. A run begins at `layer`, from the clean residual stream, which is right as long as nothing before that layer is dropped; greedy search
from the output backwards never drops anything there.

Edges are exact: the residual stream is a sum, so for one reader an output is exchanged by adding (corrupted - current) to what
that reader alone reads, before its LayerNorm. Current means as computed in this run, from dropped edges further up.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from einops import einsum, rearrange
from jaxtyping import Float, Int
from torch import Tensor

from gpt2_core.config import GPT2Config
from gpt2_core.hooks import HookFunction, is_optional
from gpt2_core.model import GPT2
from interp.ablation import Part, Replace
from interp.finite import last_logits, refuse_not_finite
from interp.knockout import before_each_layer

PORTS = ("q", "k", "v")


@dataclass(frozen=True)
class Node:
    """kind: "embed", "head", "mlp" or "logits" (only ever read by nobody)."""

    kind: str
    layer: int = -1
    head: int | None = None

    @property
    def label(self) -> str:
        """embed, L9H9, MLP L0, logits."""
        return {"head": f"L{self.layer}H{self.head}", "mlp": f"MLP L{self.layer}"}.get(self.kind, self.kind)


@dataclass(frozen=True)
class Edge:
    """From a writer of the residual stream to a reader; port: "q", "k" or "v" of a head, "" otherwise."""

    sender: Node
    receiver: Node
    port: str = ""

    @property
    def label(self) -> str:
        """L0H1 -> L2H0.k"""
        return f"{self.sender.label} -> {self.receiver.label}{'.' * bool(self.port)}{self.port}"


EMBED, LOGITS = Node("embed"), Node("logits")


def all_nodes(config: GPT2Config) -> list[Node]:
    """The writers in the order of the data flow: embed, then of each layer its heads and its MLP."""
    nodes = [EMBED]
    for layer in range(config.n_layers):
        nodes += [*(Node("head", layer, head) for head in range(config.n_heads)), Node("mlp", layer)]
    return nodes


def all_edges(config: GPT2Config) -> list[Edge]:
    """Every edge, by reader in the order of the data flow, then by writer."""
    writers, edges = all_nodes(config), []
    for reader in [*writers[1:], LOGITS]:
        for port in PORTS if reader.kind == "head" else ("",):
            edges += [Edge(writer, reader, port) for writer in writers[: _n_before(config, reader)]]
    return edges


def reached(edges: Iterable[Edge]) -> set[Node]:
    """The nodes that the embeddings reach through these edges."""
    found, before = {EMBED}, 0
    edges = list(edges)
    while len(found) > before:
        before = len(found)
        found |= {edge.receiver for edge in edges if edge.sender in found}
    return found


class NodeRuns:
    """Runs in which dropped nodes write what they write on the corrupted prompts."""

    def __init__(self, model: GPT2, clean: Tensor, corrupted: Tensor, inner: HookFunction | None):
        self.config, self._model, self._inner = model.config, model, inner
        self._parts = {
            node: Part.head(node.layer, node.head) if node.kind == "head" else Part.mlp(node.layer)
            for node in all_nodes(model.config)[1:]
        }
        names = sorted({"blocks.0.hook_resid_pre", *(part.hook_name for part in self._parts.values())})
        logits, self._values = model.run_with_cache(corrupted, names, hook=inner, logits_at=-1)
        refuse_not_finite(model, logits, corrupted, inner, rows=["on the corrupted prompts"])
        self.corrupted_logits = logits[:, 0]
        self._before, self.clean_logits = before_each_layer(model, clean, inner)
        self._dropped: set[Node] = set()

    def candidates(self) -> list[tuple[Node, int]]:
        """Nodes from the output to the embeddings, each with the layer from which a run without it may begin."""
        return [(node, max(node.layer, 0)) for node in reversed(all_nodes(self.config))]

    def drop(self, node: Node) -> None:
        self._dropped.add(node)

    def restore(self, node: Node) -> None:
        self._dropped.discard(node)

    def is_dead(self, node: Node) -> bool:
        return False

    def logits(self, layer: int) -> Float[Tensor, "prompt d_vocab"]:
        """Last-position logits; nothing before `layer` may be dropped."""
        own = {}
        for name in {self._parts[node].hook_name for node in self._dropped - {EMBED}}:
            parts = [self._parts[node] for node in self._dropped - {EMBED} if self._parts[node].hook_name == name]
            own[name] = lambda x, parts=parts, value=self._values[name]: _exchange(x, parts, value)
        if EMBED in self._dropped:
            own["blocks.0.hook_resid_pre"] = lambda x: self._values["blocks.0.hook_resid_pre"]
        return last_logits(self._model, self._before[layer], Replace(own, self._inner), layer or None)


class EdgeRuns:
    """Runs in which readers at the end of dropped edges read what the writer writes on the corrupted prompts."""

    def __init__(self, model: GPT2, clean: Tensor, corrupted: Tensor, inner: HookFunction | None):
        self.config, self._model, self._inner = model.config, model, inner
        self._writers = all_nodes(model.config)
        self._index = {node: i for i, node in enumerate(self._writers)}
        self._corrupted, self.corrupted_logits = self._written(corrupted)
        clean_written, _ = self._written(clean)
        self._clean_change = self._corrupted - clean_written
        self._before, self.clean_logits = before_each_layer(model, clean, inner)
        shape = (model.config.n_layers, 3, model.config.n_heads, len(self._writers))
        self._heads = torch.zeros(shape, device=clean_written.device, dtype=clean_written.dtype)  # 1 for a dropped edge
        self._mlps, self._output = self._heads[:, 0, 0].clone(), self._heads[0, 0, 0].clone()

    def candidates(self) -> list[tuple[Edge, int]]:
        """Edges by reader from the output back, then by writer from the last, each with the layer where a run may begin.

        A run without an edge to the output may begin anywhere; it begins at the last layer.
        """
        last = self.config.n_layers - 1
        return [(edge, last if edge.receiver == LOGITS else edge.receiver.layer) for edge in reversed(all_edges(self.config))]

    def drop(self, edge: Edge) -> None:
        self._row(edge.receiver, edge.port)[self._index[edge.sender]] = 1.0

    def restore(self, edge: Edge) -> None:
        self._row(edge.receiver, edge.port)[self._index[edge.sender]] = 0.0

    def is_dead(self, edge: Edge) -> bool:
        """Whether nobody reads what this edge's reader writes any more, so that the edge can do nothing."""
        if edge.receiver == LOGITS:
            return False
        i, layer = self._index[edge.receiver], edge.receiver.layer
        attention = layer + 1  # the first layer whose heads read it
        mlp = layer if edge.receiver.kind == "head" else layer + 1
        readers = (self._heads[attention:, :, :, i], self._mlps[mlp:, i], self._output[i])
        return all(bool((dropped == 1).all()) for dropped in readers)

    def logits(self, layer: int) -> Float[Tensor, "prompt d_vocab"]:
        """Last-position logits; no edge to a reader before `layer` may be dropped."""
        hook = _EdgeHook(self, self._inner, self._clean_change.clone())
        return last_logits(self._model, self._before[layer], hook, layer or None)

    def _row(self, receiver: Node, port: str) -> Float[Tensor, " writer"]:
        if receiver == LOGITS:
            return self._output
        if receiver.kind == "mlp":
            return self._mlps[receiver.layer]
        return self._heads[receiver.layer, PORTS.index(port), receiver.head]

    def _written(self, tokens: Int[Tensor, "prompt pos"]) -> tuple[Float[Tensor, "writer prompt pos d_model"], Tensor]:
        """What every writer writes on these prompts, and the last-position logits."""
        n = self.config.n_layers
        names = ["blocks.0.hook_resid_pre"]
        names += [f"blocks.{layer}.{site}" for layer in range(n) for site in ("attn.hook_result", "hook_mlp_out")]
        logits, cache = self._model.run_with_cache(tokens, names, hook=self._inner, logits_at=-1)
        refuse_not_finite(self._model, logits, tokens, self._inner)
        written = [cache[names[0]][None]]
        for layer in range(n):
            heads = rearrange(cache[f"blocks.{layer}.attn.hook_result"], "b t h d -> h b t d")
            written += [heads, cache[f"blocks.{layer}.hook_mlp_out"][None]]
        return torch.cat(written), logits[:, 0]


class _EdgeHook:
    """One run of EdgeRuns. change: [writer prompt pos d_model], corrupted - current, kept up to date as the run goes on."""

    def __init__(self, runs: EdgeRuns, inner: HookFunction | None, change: Tensor):
        self._runs, self._inner, self._change = runs, inner, change
        self._edits = getattr(inner, "wants", None) or (lambda name: inner is not None and not is_optional(name))
        self._acts = {"ln_final.hook_in": lambda x: self._read(x, runs._output)}
        for layer in range(runs.config.n_layers):
            self._add_layer(f"blocks.{layer}.", layer)

    def _add_layer(self, block: str, layer: int) -> None:
        runs, n_heads = self._runs, self._runs.config.n_heads
        first = 1 + layer * (n_heads + 1)  # the layer's first head among the writers
        heads, mlp = slice(first, first + n_heads), slice(first + n_heads, first + n_heads + 1)
        for port, name in enumerate(PORTS):
            if runs._heads[layer, port].any():  # copies of the residual stream per head are costly
                self._acts[f"{block}hook_{name}_input"] = lambda x, port=port: self._read_by_heads(x, runs._heads[layer, port])
        if runs._mlps[layer].any():
            self._acts[f"{block}hook_mlp_in"] = lambda x: self._read(x, runs._mlps[layer])
        self._acts[f"{block}attn.hook_result"] = lambda x: self._write(heads, rearrange(x, "b t h d -> h b t d"), x)
        self._acts[f"{block}hook_mlp_out"] = lambda x: self._write(mlp, x[None], x)
        if layer == 0:
            self._acts[f"{block}hook_resid_pre"] = lambda x: self._write(slice(0, 1), x[None], x)

    def wants(self, name: str) -> bool:
        return name in self._acts or self._edits(name)

    def positioned(self, queries: Tensor, keys: Tensor) -> "_EdgeHook":
        if not hasattr(self._inner, "positioned"):
            return self
        return _EdgeHook(self._runs, self._inner.positioned(queries, keys), self._change)

    def __call__(self, name: str, x: Tensor) -> Tensor:
        if self._edits(name):
            edited = self._inner(name, x)
            x = x if edited is None else edited
        return self._acts[name](x) if name in self._acts else x

    def _write(self, writers: slice, written: Tensor, x: Tensor) -> Tensor:
        self._change[writers] = self._runs._corrupted[writers] - written
        return x

    def _read(self, x: Float[Tensor, "b t d"], dropped: Float[Tensor, " writer"]) -> Float[Tensor, "b t d"]:
        change = self._change[:, :, -x.shape[1] :]  # the output reads the last position only
        return x + einsum(dropped, change, "w, w b t d -> b t d")

    def _read_by_heads(self, x: Float[Tensor, "b t h d"], dropped: Float[Tensor, "h writer"]) -> Float[Tensor, "b t h d"]:
        return x + einsum(dropped, self._change, "h w, w b t d -> b t h d")


def _exchange(x: Tensor, parts: list[Part], value: Tensor) -> Tensor:
    return torch.where(torch.stack([part.mask(x) for part in parts]).any(0), value, x)


def _n_before(config: GPT2Config, reader: Node) -> int:
    """How many writers stand before a reader."""
    if reader == LOGITS:
        return 1 + config.n_layers * (config.n_heads + 1)
    return 1 + reader.layer * (config.n_heads + 1) + (config.n_heads if reader.kind == "mlp" else 0)
