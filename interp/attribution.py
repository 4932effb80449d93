"""Direct logit attribution: how much each part of the model adds to a logit, with the exact sum shown.

The residual stream is a sum: embeddings, then what each head and each MLP wrote. The final LayerNorm and the output head are
linear once the LayerNorm's scale is held at what it was in this run, so a logit is a sum too:

    logit = sum over parts c of  (c - mean c) / scale * gain @ u   +   (ln_f bias) @ u  +  b_U        u: the token's column of W_U

`by_layer` takes apart attn_out and mlp_out, `by_head` splits attn_out into heads and b_O, `by_neuron` an MLP into its neurons
and b_out, `by_source` a head into the tokens that it read. Each result holds the model's own value and how far the sum is from it.

Pitfalls. The scale is frozen: a part that was gone would change it. Only what is written straight to the output is seen, not what
a part does through later ones. A single logit contains what lifts all tokens alike, which no probability shows; a difference of
two logits, or a centred one (`minus="mean"`), does not. What a head adds whatever it reads is counted to the head (`value_bias`
says how much); in folded weights it is part of b_O, and per-head numbers differ by just that. `accumulated` is the cumulative
view of the same decomposition; it is not the logit lens, which recomputes the LayerNorm at each layer.

Sources: Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits"; Wang et al. 2022, 2211.00593.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gpt2_core.model import GPT2
from interp.direct import STREAM, DirectReader, edited_places
from interp.run import Check, Provenance, Run, check_place
from interp.targets import Target

TERMS = 8  # rounding errors of one term that a sum may be off by, on average over its terms


@dataclass(frozen=True)
class Attribution:
    """A value of the model as a sum. labels, values: one per part, float64; they sum to `total`.

    value: the model's own; check: |total - value|. scale: the final LayerNorm's, held fixed. Labels: embed, pos_embed,
    {l}_attn_out, {l}_mlp_out, L{l}H{h}, L{l}N{n}, {l}_b_O, {l}_b_out, remainder (neurons not listed), edits (what the plan did to
    the residual stream, attn_out or mlp_out themselves), ln_f.bias, b_U.
    """

    target: str
    position: int
    labels: tuple[str, ...]
    values: Float[Tensor, " part"]
    value: float
    scale: float
    check: Check
    provenance: Provenance

    @property
    def total(self) -> float:
        return self.values.sum().item()

    def __getitem__(self, label: str) -> float:
        return self.values[self.labels.index(label)].item()


@dataclass(frozen=True)
class HeadAttribution(Attribution):
    """heads: [layer head], also among the values. value_bias: [layer head], what a head whose attention sums to 1 adds
    whatever it reads (b_V and ln_1's bias through W_V): the part that `interp.folding` moves to b_O."""

    heads: Float[Tensor, "layer head"]
    value_bias: Float[Tensor, "layer head"]


@dataclass(frozen=True)
class NeuronAttribution(Attribution):
    """neurons: [k 2], layer and index of the neurons that are listed, by size of their contributions: [k], also among the values."""

    neurons: Int[Tensor, "k 2"]
    contributions: Float[Tensor, " k"]


@dataclass(frozen=True)
class SourceAttribution:
    """Which tokens each head's contribution comes from. values: [layer head key], pattern x (value through W_O); strings: one per key.

    heads: [layer head], of `by_head`; edits: [layer head], what the plan did to z itself; check: values summed over keys, and
    edits, are the heads' contributions.
    """

    target: str
    position: int
    values: Float[Tensor, "layer head key"]
    heads: Float[Tensor, "layer head"]
    edits: Float[Tensor, "layer head"]
    strings: tuple[str, ...]
    check: Check
    provenance: Provenance


@dataclass(frozen=True)
class Accumulated:
    """Cumulative attribution, final LayerNorm frozen: the target's value if the stream had ended at each point.

    labels: 0_pre, 0_mid, 1_pre, ... final_post. values: [row], biases included; the last row is the model's value.
    """

    target: str
    position: int
    labels: tuple[str, ...]
    values: Float[Tensor, " row"]
    value: float
    scale: float
    check: Check
    provenance: Provenance


@torch.no_grad()
def by_layer(model: GPT2, run: Run, target: Target, position: int = -1) -> Attribution:
    """Embeddings, and each layer's attention and MLP (b_O and b_out inside them). position: negative counts from the end."""
    reader = _Reader(model, run, target, position)
    parts = reader.embeddings()
    for layer in range(model.config.n_layers):
        parts |= {f"{layer}_{name}": reader(f"blocks.{layer}.hook_{name}") for name in ("attn_out", "mlp_out")}
    return Attribution(*reader.summed(parts, STREAM))


@torch.no_grad()
def by_head(model: GPT2, run: Run, target: Target, position: int = -1) -> HeadAttribution:
    """As `by_layer`, with each attention split into its heads and b_O."""
    reader = _Reader(model, run, target, position)
    parts, rows, biases = reader.embeddings(), [], []
    for layer, block in enumerate(model.h):
        rows.append(reader.heads(layer))
        constant = block.attn.b_V + block.ln_1.bias @ block.attn.W_V  # the part of v that is the same at every token
        biases.append((constant.double() * reader.through(block.attn.W_O)).sum(-1))
        parts |= {f"L{layer}H{head}": value for head, value in enumerate(rows[-1])}
        parts[f"{layer}_b_O"] = reader.read(block.attn.b_O)
        parts[f"{layer}_mlp_out"] = reader(f"blocks.{layer}.hook_mlp_out")
    return HeadAttribution(*reader.summed(parts, (*STREAM, "attn_out")), torch.stack(rows), torch.stack(biases))


@torch.no_grad()
def by_neuron(
    model: GPT2, run: Run, target: Target, position: int = -1, layer: int | None = None, k: int = 20
) -> NeuronAttribution:
    """As `by_layer`, with the MLP of one layer, or (`layer=None`) all of them, split into its k largest neurons, the remainder of
    the others, and b_out."""
    reader, n_layers = _Reader(model, run, target, position), model.config.n_layers
    check_place(model.config, layer or 0)
    split = range(n_layers) if layer is None else [layer]
    parts, rows = reader.embeddings(), []
    for at, block in enumerate(model.h):
        parts[f"{at}_attn_out"] = reader(f"blocks.{at}.hook_attn_out")
        if at in split:
            rows.append(reader.neurons(at))
            parts[f"{at}_b_out"] = reader.read(block.mlp.c_proj.bias)
        else:
            parts[f"{at}_mlp_out"] = reader(f"blocks.{at}.hook_mlp_out")
    table = torch.stack(rows)
    chosen = table.flatten().abs().topk(min(max(k, 0), table.numel())).indices
    top = table.flatten()[chosen]
    neurons = torch.stack([torch.tensor(split, device=top.device)[chosen // table.shape[1]], chosen % table.shape[1]], -1)
    parts |= {f"L{l}N{n}": value for (l, n), value in zip(neurons.tolist(), top)}
    parts["remainder"] = table.sum() - top.sum()
    return NeuronAttribution(*reader.summed(parts, (*STREAM, "mlp_out"), split), neurons, top)


@torch.no_grad()
def by_source(model: GPT2, run: Run, target: Target, position: int = -1) -> SourceAttribution:
    """The contribution of every head, split by the token it was read from: pattern[position, key] * value[key] through W_O.

    A token's value is what the residual stream held there, which need no longer be about that token.
    """
    reader = _Reader(model, run, target, position)
    tables, heads, edits = [], [], []
    for layer, block in enumerate(model.h):
        pattern = run.activations["pattern", layer][:, reader.position].double()  # [head key]
        value = torch.einsum("khe,he->hk", run.activations["v", layer].double(), reader.through(block.attn.W_O))
        tables.append(pattern * value)
        heads.append(reader.heads(layer))
        edited = any(edit.layer == layer and edit.component == "z" for edit in run.plan)
        edits.append((heads[-1] - tables[-1].sum(-1)) * edited)
    values, heads, edits = torch.stack(tables), torch.stack(heads), torch.stack(edits)
    residual = (values.sum(-1) + edits - heads).abs().max().item()
    check = _check("sources sum to their heads", residual, values.abs().sum(-1).max(), run.logits.dtype)
    return SourceAttribution(target.label, reader.position, values, heads, edits, run.strings, check, run.provenance)


@torch.no_grad()
def accumulated(model: GPT2, run: Run, target: Target, position: int = -1) -> Accumulated:
    """The residual stream after each layer, read through the final LayerNorm as it was at the end (frozen), and the target."""
    reader, last = _Reader(model, run, target, position), model.config.n_layers - 1
    points = [(f"{layer}_{at}", f"blocks.{layer}.hook_resid_{at}") for layer in range(last + 1) for at in ("pre", "mid")]
    points.append(("final_post", f"blocks.{last}.hook_resid_post"))
    values = torch.stack([reader(name) for _, name in points]) + sum(reader.biases().values())
    check = _check("last row equals the model's value", abs(values[-1].item() - reader.value), values, run.logits.dtype)
    labels = tuple(label for label, _ in points)
    return Accumulated(target.label, reader.position, labels, values, reader.value, reader.scale.item(), check, run.provenance)


class _Reader(DirectReader):
    """The parts of one position of a run, and the model's own value of the target there."""

    def __init__(self, model: GPT2, run: Run, target: Target, position: int):
        self.run, self.label, self.position = run, target.label, run.at(position)
        offset = torch.tensor(target.bias, dtype=torch.float64)
        if len(target.vector) != model.config.d_model:
            raise ValueError(f"{target.label} has {len(target.vector)} numbers, the residual stream {model.config.d_model}.")
        super().__init__(model, lambda name: run.activations[name][self.position], target.vector, offset)
        if target.token is None:
            self.value = (self.at("ln_final.hook_out") @ self.target).item() + target.bias
        else:
            self.value = target.of_logits(run.logits[self.position].double()).item()

    def summed(self, parts: dict[str, Tensor], edited: tuple[str, ...], split: range | list[int] | None = None) -> tuple:
        """The fields of an Attribution; `edited`: the components whose edits no part contains (mlp_out only in `split` layers)."""
        places = edited_places(self.run.plan, edited)
        if places := [place for place in places if place[0] != "mlp_out" or split is None or place[1] in split]:
            parts = parts | {"edits": self.edits(places)}
        parts = parts | self.biases()
        values = torch.stack(list(parts.values()))
        check = _check("parts sum to the model's value", abs(values.sum().item() - self.value), values, self.run.logits.dtype)
        scale = self.scale.item()
        return (self.label, self.position, tuple(parts), values, self.value, scale, check, self.run.provenance)


def _check(name: str, residual: float, terms: Tensor, dtype: torch.dtype) -> Check:
    """Activations are rounded one by one: the tolerance grows with the terms, and is never below 1e-4 in float32."""
    floor = 1e-10 if dtype == torch.float64 else 1e-4
    return Check(name, residual, max(floor, TERMS * torch.finfo(dtype).eps * terms.abs().sum().item()))
