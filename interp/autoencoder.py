"""The arithmetic of a sparse autoencoder of the SAELens kinds: encode, decode, edit a feature.

    x' = what it reads of an activation x:      x = shift + scale x'          (`normalisation`, below)
    features = f((x' - b_dec) W_enc + b_enc),   x is taken for shift + scale (features W_dec + b_dec)

    f          "relu"; "jumprelu", which lets through what lies above a threshold of each feature; "topk", the k largest
    scale      "none": 1; "layer_norm": the standard deviation over d_in, with the mean as shift; "constant_norm_rescale": |x| / sqrt(d_in)

`interp.sae` reads them from folders and has the pitfalls. Sources: Rajamanoharan et al. 2024, 2407.14435 (JumpReLU); Gao et al. 2024,
2406.04093 (top-k); SAELens, `sae_lens/saes` (the order of the steps, the eps).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.changes import chosen
from interp.edits import Edit

ACTIVATIONS = ("relu", "jumprelu", "topk")
NORMALISATIONS = ("none", "layer_norm", "constant_norm_rescale")
EPS = 1e-5


@dataclass(frozen=True)
class FeatureEdit:
    """One feature is set to `value`, or multiplied by it with op "scale"; positions: None is every position."""

    feature: int
    value: int | float
    op: str = "set"
    positions: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.op not in ("set", "scale"):
            raise ValueError(f"A feature can be changed by 'set' or 'scale', got {self.op!r}.")


@dataclass(frozen=True)
class SAE:
    """A sparse autoencoder. hook_name: where it reads; z with its heads side by side.

    b_dec_first: b_dec is subtracted before encoding. centred: the mean over d_in is taken away before. activation: of ACTIVATIONS;
    threshold: of "jumprelu"; k: of "topk". normalisation: of NORMALISATIONS.
    """

    W_enc: Float[Tensor, "d_in d_sae"]
    b_enc: Float[Tensor, " d_sae"]
    W_dec: Float[Tensor, "d_sae d_in"]
    b_dec: Float[Tensor, " d_in"]
    hook_name: str
    b_dec_first: bool = True
    centred: bool = False
    model_name: str = ""
    source: str = ""
    activation: str = "relu"
    threshold: Float[Tensor, " d_sae"] | None = None
    k: int | None = None
    normalisation: str = "none"

    @property
    def d_sae(self) -> int:
        return len(self.b_enc)

    def seen(self, x: Float[Tensor, "*batch d_in"]) -> tuple[Tensor, Tensor | float, Tensor | float]:
        """(x', scale, shift) of activations, x = shift + scale x' but for the eps of "layer_norm"."""
        x, scale = x.to(self.W_enc), 1.0
        shift = x.mean(-1, keepdim=True) if self.centred or self.normalisation == "layer_norm" else 0.0
        x = x - shift
        if self.normalisation == "layer_norm":
            scale = x.std(-1, keepdim=True)
            return x / (scale + EPS), scale, shift
        if self.normalisation == "constant_norm_rescale":
            scale = x.norm(dim=-1, keepdim=True).clamp(min=1e-30) / x.shape[-1] ** 0.5
        return x / scale, scale, shift

    def encode(self, x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d_sae"]:
        """Feature activations, at least 0."""
        x, _, _ = self.seen(x)
        before = (x - self.b_dec if self.b_dec_first else x) @ self.W_enc + self.b_enc
        features = torch.relu(before)
        if self.activation == "jumprelu":
            return features * (before > self.threshold)
        if self.activation == "topk":
            kept = before.topk(self.k, dim=-1).indices
            return torch.zeros_like(features).scatter(-1, kept, features.gather(-1, kept))
        return features

    def decode(self, features: Float[Tensor, "*batch d_sae"]) -> Float[Tensor, "*batch d_in"]:
        """The reconstruction of x', what it reads of the activation."""
        return features @ self.W_dec + self.b_dec

    def check_feature(self, feature: int) -> None:
        """Raises ValueError for a feature that is not there."""
        if not 0 <= feature < self.d_sae:
            raise ValueError(f"Feature {feature} does not exist, the autoencoder has 0..{self.d_sae - 1}.")

    def edited(
        self, x: Tensor, queries: Int[Tensor, "batch query"], edits: Sequence[FeatureEdit | Edit], replace: bool = False
    ) -> Tensor:
        """An activation [batch query ...] with the features of `edits` set or scaled; replace: see `interp.sae.feature_hook`."""
        flat = side_by_side(x, batched=True)
        old = self.encode(flat)
        new = old.clone()
        for edit in edits:
            value = torch.full_like(new[..., edit.feature], edit.value)
            value = new[..., edit.feature] * value if edit.op == "scale" else value
            new[..., edit.feature] = torch.where(chosen(queries, edit.positions), value, new[..., edit.feature])
        _, scale, shift = self.seen(flat)
        if replace:
            return (shift + scale * self.decode(new)).to(x).view_as(x)
        return (flat.to(new) + scale * ((new - old) @ self.W_dec)).to(x).view_as(x)


def side_by_side(x: Tensor, batched: bool) -> Tensor:
    """Heads side by side: [... pos head d_head] -> [... pos d_model]; anything else as it is."""
    return x.flatten(-2) if x.ndim == (4 if batched else 3) else x
