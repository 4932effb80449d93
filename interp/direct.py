"""Reading what was written into the residual stream straight to the output: the arithmetic that direct logit attribution
(`interp.attribution`, one run) and compensation (`interp.compensation`, the prompts of a set) share.

With the final LayerNorm's scale held at what it was in the run, a number v . ln_f(x) + b is linear in the residual stream x:

    v . ln_f(x) + b  =  (x - mean x) / scale * gain . v  +  bias . v  +  b  =  x . vector  +  bias . v  +  b

where `vector` is gain * v, centred and divided by the scale (centring the direction centres what it reads). So each part that x
is a sum of is read by one dot product with `vector`.
"""

from collections.abc import Callable, Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from gpt2_core.model import GPT2
from interp.edits import Plan

STREAM = ("resid_pre", "resid_mid", "resid_post")


class DirectReader:
    """Reads activations at one position of one run ([...]), or of each prompt ([prompt ...]). Called with a hook name, it gives what
    that vector of the residual stream adds to the target; float64.

    at: hook name -> the activation there, [*batch ...]. target: [*batch d_model], what the final LayerNorm's output is multiplied
    with; offset: [*batch], what is added then.
    """

    def __init__(
        self,
        model: GPT2,
        at: Callable[[str], Tensor],
        target: Float[Tensor, "*batch d_model"],
        offset: Float[Tensor, "*batch"],
    ):
        self.model, self._at = model, at
        gain = model.ln_f.weight.detach().double()
        self.target, self.offset = target.double().to(gain.device), offset.double().to(gain.device)
        self.scale = self.at("ln_final.hook_scale")  # [*batch 1]
        through = gain * self.target
        self.vector = (through - through.mean(-1, keepdim=True)) / self.scale

    def at(self, name: str) -> Float[Tensor, "..."]:
        return self._at(name).double()

    def __call__(self, name: str) -> Float[Tensor, "..."]:
        return self.read(self.at(name))

    def read(self, written: Float[Tensor, "*#batch d_model"]) -> Float[Tensor, "..."]:
        """What a vector of the residual stream adds."""
        return (written.detach().double() * self.vector).sum(-1)

    def through(self, weight: Float[Tensor, "*rest d_model"]) -> Float[Tensor, "..."]:
        """What each row of a matrix that writes to the residual stream adds per unit, [*batch *rest]."""
        return torch.tensordot(self.vector, weight.detach().double(), dims=([-1], [-1]))

    def heads(self, layer: int) -> Float[Tensor, "..."]:
        """[*batch head]: what each head wrote, b_O apart."""
        return (self.at(f"blocks.{layer}.attn.hook_z") * self.through(self.model.h[layer].attn.W_O)).sum(-1)

    def neurons(self, layer: int) -> Float[Tensor, "..."]:
        """[*batch neuron]: what each neuron of an MLP wrote, b_out apart."""
        return self.at(f"blocks.{layer}.mlp.hook_post") * self.through(self.model.h[layer].mlp.c_proj.weight)

    def embeddings(self) -> dict[str, Float[Tensor, "..."]]:
        """Of the token and of its position."""
        return {name: self(f"hook_{name}") for name in ("embed", "pos_embed")}

    def biases(self) -> dict[str, Float[Tensor, "..."]]:
        """Of the final LayerNorm and of the output head (0 but for folded weights)."""
        return {"ln_f.bias": self.target @ self.model.ln_f.bias.detach().double(), "b_U": self.offset}

    def edits(self, places: Iterable[tuple[str, int]]) -> Float[Tensor, "..."]:
        """What edits of the residual stream, attn_out or mlp_out themselves added, over (component, layer) places."""
        return sum((self._edit(*place) for place in places), torch.zeros_like(self.offset))

    def _edit(self, component: str, layer: int) -> Float[Tensor, "..."]:
        """The activation less what the model would have put there."""
        block, name = self.model.h[layer], f"blocks.{layer}."
        if component == "attn_out":
            written = self.at(f"{name}attn.hook_z").flatten(-2)
            computed = written @ block.attn.c_proj.weight.detach().double() + block.attn.b_O.detach().double()
        elif component == "mlp_out":
            written = self.at(f"{name}mlp.hook_post")
            computed = written @ block.mlp.c_proj.weight.detach().double() + block.mlp.c_proj.bias.detach().double()
        elif component == "resid_pre":
            before = [f"blocks.{layer - 1}.hook_resid_post"] if layer else ["hook_embed", "hook_pos_embed"]
            computed = sum(self.at(each) for each in before)
        else:
            before, added = {"resid_mid": ("resid_pre", "attn_out"), "resid_post": ("resid_mid", "mlp_out")}[component]
            computed = self.at(f"{name}hook_{before}") + self.at(f"{name}hook_{added}")
        return self.read(self.at(f"{name}hook_{component}") - computed)


def edit_reads(places: Iterable[tuple[str, int]]) -> list[str]:
    """The hooks that `DirectReader.edits` reads for these (component, layer) places."""
    names = set()
    for component, layer in places:
        name = f"blocks.{layer}."
        more = {
            "attn_out": [f"{name}attn.hook_z"],
            "mlp_out": [f"{name}mlp.hook_post"],
            "resid_pre": [f"blocks.{layer - 1}.hook_resid_post"] if layer else ["hook_embed", "hook_pos_embed"],
            "resid_mid": [f"{name}hook_resid_pre", f"{name}hook_attn_out"],
            "resid_post": [f"{name}hook_resid_mid", f"{name}hook_mlp_out"],
        }
        names |= {f"{name}hook_{component}", *more[component]}
    return sorted(names)


def edited_places(plan: Plan, components: Iterable[str]) -> list[tuple[str, int]]:
    """The (component, layer) places of these components that a plan edits, each once, in the order of the network."""
    wanted = set(components)
    return sorted({(e.component, e.layer) for e in plan if e.component in wanted}, key=lambda place: (place[1], place[0]))
