"""Where a patch enters: for each component, the first tokens that differ when a piece of another run is put in.

    resid_pre                 the residual stream before a block, at one position
    resid_mid, resid_post     after its attention; after its MLP. An MLP looks at one position, so putting in either at (layer,
                              position) gives what resid_pre at (layer + 1, position) gives: the maps are shifted copies
    attn_out, mlp_out         what attention or the MLP adds, at one position
    q, k, v, z, pattern       of one head, at all positions or at one; a pattern's position is that of its query
    result                    of one head: z times a fixed matrix, so the same map as z
    neurons                   the MLP's neurons (after GELU) in groups of neighbours, at all positions

What is put in is the value after the plan's edits in the other run, and it stands as it is: edits of the plan at the same point
are not applied to it again, those at later points are.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import einsum
from jaxtyping import Float, Int
from torch import Tensor

from interp.sweep import Entry, Layout, Recording, Rerun

RESIDUAL = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out")
OF_HEADS = ("q", "k", "v", "z", "pattern", "result")
COMPONENTS = (*RESIDUAL, *OF_HEADS, "neurons")
_LOOKED_BACK_AT = ("k", "v")  # a change at one position reaches every later query of the same layer
_ALSO_READS = {"mlp_out": ("resid_mid",), "neurons": ("resid_mid", "mlp_post"), "result": ("z",)}


@dataclass(frozen=True)
class Cell:
    """One patch in a layer. position: None is every position; head, group: where the component has them."""

    position: int | None = None
    head: int | None = None
    group: int | None = None


def names_read(component: str) -> tuple[str, ...]:
    """What has to be recorded of both runs to patch this component."""
    own = _ALSO_READS.get(component, ()) + ((component,) if component not in ("result", "neurons") else ())
    if component in OF_HEADS:
        own += ("z", "resid_mid")
    return tuple(dict.fromkeys(("resid_pre", "q", "k", "v", *own)))


class Patcher:
    """Puts activations of `source` into the base of `rerun`. first: the first position at which the two runs differ."""

    def __init__(self, rerun: Rerun, source: Recording, component: str, first: int, n_groups: int = 1):
        self.rerun, self.base, self.source = rerun, rerun.base, source
        self.component, self.first, self.n_groups = component, first, n_groups
        self._last = rerun.length - 1

    def start(self, layer: int, cell: Cell) -> int | None:
        """The first position that comes out of the layer changed and can matter to the prediction; None where there is none."""
        if cell.position is not None and cell.position < self.first:
            return None  # tokens up to here are the same in both runs, and so is everything that attention makes of them
        start = self.first if cell.position is None else cell.position
        if self.component == "resid_pre" or layer < self.rerun.n_layers - 1:
            return start
        reaches_end = cell.position is None or self.component in _LOOKED_BACK_AT or start == self._last
        return self._last if reaches_end else None

    def entry(self, layer: int, cells: Sequence[Cell]) -> Entry:
        """The changed tokens of some cells of a layer, one row each (cells whose `start` is not None)."""
        if self.component == "resid_pre":
            at = self._points([cell.position for cell in cells])
            return Entry(self.source["resid_pre", layer][at.pos], at, layer, settled=True)
        at = self._layout(layer, cells)
        return Entry(self._after_layer(layer, cells, at), at, layer + 1)

    def everything(self, layer: int) -> Entry:
        """All of the source's residual stream before a block, which makes the rest of the run the source's."""
        at = Layout.tails([self.first], self.rerun.length, self.rerun.device)
        return Entry(self.source["resid_pre", layer][at.pos], at, layer, settled=True)

    def _points(self, positions: Sequence[int]) -> Layout:
        return Layout.points(positions, self.rerun.length, self.rerun.device)

    def _layout(self, layer: int, cells: Sequence[Cell]) -> Layout:
        starts = [self.start(layer, cell) for cell in cells]
        tail = self.component in _LOOKED_BACK_AT or cells[0].position is None
        make = Layout.tails if tail else Layout.points
        return make(starts, self.rerun.length, self.rerun.device)

    def _after_layer(self, layer: int, cells: Sequence[Cell], at: Layout) -> Float[Tensor, "token d_model"]:
        """resid_post of the changed tokens."""
        pos, rerun, base = at.pos, self.rerun, self.base
        if self.component in ("resid_mid", "resid_post"):
            return self._settled_post(layer, at)
        if self.component == "attn_out":
            return rerun.after_attn_out(layer, base["resid_pre", layer][pos], self.source["attn_out", layer][pos], at)
        if self.component == "mlp_out":
            return self._after_mlp(layer, self.source["mlp_out", layer][pos], at)
        if self.component == "neurons":
            return self._neurons(layer, cells, at)
        z, heads = self._own_heads(layer, cells, at)
        if rerun.hook is None:
            return rerun.after_mid(layer, base["resid_mid", layer][pos] + self._written(layer, z, heads, pos), at)
        every = base["z", layer][pos]
        every[torch.arange(len(z), device=rerun.device), heads] = z
        return rerun.after_attention(layer, base["resid_pre", layer][pos], every, at)

    def _settled_post(self, layer: int, at: Layout) -> Tensor:
        """What the source's block gives at these positions: the same whichever of resid_mid and resid_post is put in."""
        if self.component == "resid_post":
            return self.source["resid_post", layer][at.pos]
        return self.rerun.after_mid(layer, self.source["resid_mid", layer][at.pos], at)

    def _after_mlp(self, layer: int, mlp_out: Tensor, at: Layout) -> Tensor:
        return self.rerun.tap(layer, at.pos)("resid_post", (self.base["resid_mid", layer][at.pos] + mlp_out)[None])[0]

    def _neurons(self, layer: int, cells: Sequence[Cell], at: Layout) -> Tensor:
        base, source = self.base["mlp_post", layer], self.source["mlp_post", layer]
        n_neurons, device = base.shape[-1], self.rerun.device
        group_of = torch.arange(n_neurons, device=device) * self.n_groups // n_neurons
        groups = torch.tensor([cell.group for cell in cells], device=device)[at.row]
        post = torch.where(group_of == groups[:, None], source[at.pos], base[at.pos])
        mlp_out = self.rerun.tap(layer, at.pos)("mlp_out", self.rerun.blocks[layer].mlp.c_proj(post)[None])[0]
        return self._after_mlp(layer, mlp_out, at)

    def _written(self, layer: int, z: Tensor, heads: Tensor, pos: Tensor) -> Float[Tensor, "token d_model"]:
        """What the residual stream gains where one head of each token is exchanged: heads add up, so W_O of that head is enough."""
        W_O, change = self.rerun.blocks[layer].attn.W_O, z - self.base["z", layer][pos, heads]
        out = change.new_empty(len(change), W_O.shape[-1])
        for head in heads.unique().tolist():
            own = (heads == head).nonzero()[:, 0]
            out[own] = change[own] @ W_O[head]
        return out

    def _own_heads(self, layer: int, cells: Sequence[Cell], at: Layout) -> tuple[Float[Tensor, "token d_head"], Int[Tensor, " token"]]:  # fmt: skip
        """(z of each changed token in its row's own head, that head)."""
        positions = sorted({cell.position for cell in cells if cell.position is not None})
        table, first = self._head_table(layer, positions if self.component in _LOOKED_BACK_AT else [], at.first)
        which = [positions.index(c.position) if len(table) > 1 else 0 for c in cells]
        heads = torch.tensor([cell.head for cell in cells], device=self.rerun.device)[at.row]
        return table[torch.tensor(which, device=self.rerun.device)[at.row], at.pos - first, heads], heads

    def _head_table(self, layer: int, positions: Sequence[int], first: int) -> tuple[Float[Tensor, "case n head d_head"], int]:
        """z at the positions from `first` on with every head patched: for a patch of all positions one case, else one each."""
        rerun, base, source = self.rerun, self.base, self.source
        if self.component in ("z", "result"):
            return source["z", layer][None, first:], first
        if self.component == "pattern":
            z = einsum(source["pattern", layer][:, first:], base["v", layer], "h q k, k h e -> q h e")[None]
            tap = rerun.tap(layer, torch.arange(first, rerun.length, device=rerun.device))
            return tap("z", z), first
        q, k, v = (base[name, layer][None] for name in "qkv")
        if self.component == "q":
            q = source["q", layer][None]
        elif self.component == "k":
            k = self._put_in("k", layer, positions)
        else:
            v = self._put_in("v", layer, positions)
        n = max(len(k), len(v))
        q, k, v = (part.expand(n, *part.shape[1:]) for part in (q[:, first:], k, v))
        return rerun.attend(layer, q, k, v, first), first

    def _put_in(self, name: str, layer: int, positions: Sequence[int]) -> Float[Tensor, "case pos head d_head"]:
        """The base's keys or values with the source's at one position per case; at every position where none is given."""
        base, source = self.base[name, layer], self.source[name, layer]
        if not positions:
            return source[None]
        out = base.expand(len(positions), *base.shape).clone(memory_format=torch.contiguous_format)
        for case, position in enumerate(positions):
            out[case, position] = source[position]
        return out
