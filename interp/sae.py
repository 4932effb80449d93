"""Sparse autoencoders: an activation as a sum of a few of many learned directions ("features").

    features = f((x - b_dec) W_enc + b_enc),      reconstruction = features W_dec + b_dec       (`interp.autoencoder`)

`load` reads a folder of the SAELens layout, cfg.json and sae_weights.safetensors. Read are the architectures "standard" (ReLU), "topk" and
"jumprelu" (as which batch top-k and Matryoshka ones are released), of activations as they are or normalised by their LayerNorm or
length; gated ones and transcoders are not, nor those of another normalisation, whose factor is not in the folder.

A feature is edited at the autoencoder's hook. The reconstruction is never exact, so the edit adds only the difference that the
edited feature makes, (new - old) * W_dec[feature], and what the autoencoder misses stays as it was; `replace=True` puts the
reconstruction in place of the activation instead. `Reading` shows the error: read no feature without it.

As part of a plan, which every analysis, generation and an address can take, an edit names the autoencoder, and the model says which
ones there are: `model.autoencoders = {"res-jb": load(folder, model)}`, then `Edit.of_feature("res-jb", "resid_pre", 8, 12, 5.0)`; or
`model.autoencoders = Autoencoders(folder, model)` for all that lie in a folder. `place_of` tells component and layer of an autoencoder.

Pitfalls: features of one autoencoder are one dictionary among many; a feature's name is somebody's reading of its top activations.
Autoencoders trained on weights that transformer-lens had centred expect activations without their mean over d_model (the "res-jb"
release for GPT-2 small does, though its own cfg.json may not say so): pass centred=True, or every feature is shifted.

Sources: Bricken et al. 2023, "Towards Monosemanticity"; Cunningham et al. 2023, 2309.08600; SAELens (the file layout).
"""

import json
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from gpt2_core.hooks import hook_names
from gpt2_core.model import GPT2
from interp.autoencoder import NORMALISATIONS, SAE, FeatureEdit, side_by_side
from interp.changes import ChangeHook
from interp.edits import EDITABLE, NO_EDITS, Plan
from interp.intervene import compile_plan
from interp.run import Provenance, Run

CONFIG, WEIGHTS = "cfg.json", "sae_weights.safetensors"
CENTRED = " (centred)"  # behind a name: to be read with centred=True
TENSORS = ("W_enc", "b_enc", "W_dec", "b_dec")
DEPTH, MOST, KEPT = 3, 200, 4  # folders looked into, autoencoders listed, and held in memory
UNSUPPORTED = "only standard, topk and jumprelu autoencoders can be read, plain or with a normalisation by layer_norm or constant_norm_rescale"


@dataclass(frozen=True)
class Reading:
    """What an autoencoder sees in a run. features: Float [pos d_sae].

    error: Float [pos], the norm of what the reconstruction misses over the norm of the activation (less its mean, where that is taken
    away first); unexplained: the share of variance over positions (the first left out) that it misses, 0 for a perfect one, 1 for one
    that knows only the mean; NaN for fewer than three positions, which have no variance to speak of.
    active: Float [pos], features above 0.
    """

    features: Float[Tensor, "pos d_sae"]
    error: Float[Tensor, " pos"]
    unexplained: float
    active: Float[Tensor, " pos"]
    strings: tuple[str, ...]
    provenance: Provenance

    def top(self, position: int = -1, k: int = 10) -> tuple[Int[Tensor, " k"], Float[Tensor, " k"]]:
        """The features with the highest activations at a position, and these."""
        best = self.features[position].topk(min(k, self.features.shape[1]))
        return best.indices, best.values


def load(folder: str | Path, model: GPT2, centred: bool | None = None) -> SAE:
    """An autoencoder from a SAELens folder, on the model's device, checked to fit the model.

    centred: None takes what cfg.json says. Raises ValueError, in one sentence, for a folder that cannot be read, for an architecture
    that is not supported, and for a hook or width that the model does not have.
    """
    folder = Path(folder)
    try:
        cfg = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        tensors = load_file(folder / WEIGHTS, device=str(model.wte.weight.device))
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        raise ValueError(f"{folder} is no SAELens folder with {CONFIG} and {WEIGHTS} ({error}).") from error
    cfg = {**cfg, **(cfg.get("metadata") or cfg.get("meta") or {})}
    activation = _kind(cfg, tensors, folder)
    kwargs = cfg.get("model_from_pretrained_kwargs") or {}
    W_enc, b_enc, W_dec, b_dec = (tensors[name].float() for name in TENSORS)
    if cfg.get("rescale_acts_by_decoder_norm"):  # the same features and reconstruction from rows of length 1
        lengths = W_dec.norm(dim=-1)
        W_enc, b_enc, W_dec = W_enc * lengths, b_enc * lengths, W_dec / lengths[:, None]
    sae = SAE(
        W_enc,
        b_enc,
        W_dec,
        b_dec,
        hook_name=cfg.get("hook_name") or cfg.get("hook_point") or "",
        b_dec_first=bool(cfg.get("apply_b_dec_to_input", True)),
        centred=bool(kwargs.get("center_writing_weights", False)) if centred is None else centred,
        model_name=cfg.get("model_name") or "",
        source=str(folder),
        activation=activation,
        threshold=tensors["threshold"].float() if activation == "jumprelu" else None,
        k=_k(cfg, W_dec, folder) if activation == "topk" else None,
        normalisation=cfg.get("normalize_activations") or "none",
    )
    _check_fit(sae, model)
    return sae


class Autoencoders(Mapping[str, SAE]):
    """The autoencoders below a folder, by their place in it, read when first asked for; with CENTRED behind the name, as `centred`.

    A name is only ever compared with those that a look into the folder gave: none is used as a path.
    """

    def __init__(self, root: str | Path, model: GPT2):
        # The model holds this list; held in return, neither would be let go when the model is.
        self._root, self._model, self._read = Path(root), weakref.ref(model), {}

    def folders(self) -> dict[str, Path]:
        """Name -> folder, of those with a cfg.json at most three folders down."""
        found: dict[str, Path] = {}
        places = [self._root]
        for _ in range(DEPTH):
            for place in places:
                if (place / CONFIG).is_file() and len(found) < MOST:
                    found[place.name if place == self._root else place.relative_to(self._root).as_posix()] = place
            places = sorted(child for place in places if place.is_dir() for child in place.iterdir() if child.is_dir())
        return found

    def __iter__(self) -> Iterator[str]:
        return iter([name + end for name in self.folders() for end in ("", CENTRED)])

    def __len__(self) -> int:
        return 2 * len(self.folders())

    def __getitem__(self, name: str) -> SAE:
        if (sae := self._read.get(name)) is not None:
            return sae
        folder, model = self.folders()[name.removesuffix(CENTRED)], self._model()
        if model is None:
            raise ValueError(f"The model that the autoencoder {name!r} is for is gone; load it again.")
        sae = load(folder, model, name.endswith(CENTRED) or None)
        while len(self._read) >= KEPT:  # several threads may come by; what one holds stays whole
            self._read.pop(next(iter(list(self._read)), None), None)
        self._read[name] = sae
        return sae


def place_of(sae: SAE) -> tuple[str, int] | None:
    """(component, layer) for an edit of a plan; None where it reads something that plans do not edit."""
    _, layer, hook = (*sae.hook_name.split(".", 2), "", "")[:3]
    component = next((name for name, (site, _) in EDITABLE.items() if site == hook and name != "pattern"), None)
    return None if component is None else (component, int(layer))


def _kind(cfg: dict, tensors: dict[str, Tensor], folder: Path) -> str:
    """Which of ACTIVATIONS it has. Raises ValueError for what `SAE` would compute wrongly."""
    known = {
        "architecture": ("standard", "topk", "jumprelu"),
        "activation_fn": ("relu", "topk"),
        "activation_fn_str": ("relu", "topk"),
        "normalize_activations": (*NORMALISATIONS, False),
        "hook_head_index": (),
        "finetuning_scaling_factor": (False,),
    }
    for key, allowed in known.items():
        if cfg.get(key) is not None and cfg[key] not in allowed:
            raise ValueError(f"{folder / CONFIG} sets {key} to {cfg[key]!r}; {UNSUPPORTED}.")
    given = [
        cfg.get(key) for key in ("architecture", "activation_fn", "activation_fn_str")
    ]  # older ones are "standard" with a "topk"
    activation = next((name for name in ("jumprelu", "topk") if name in given), "relu")
    expected = {*TENSORS, "threshold"} if activation == "jumprelu" else set(TENSORS)
    if set(tensors) - {"scaling_factor"} != expected:
        raise ValueError(
            f"{folder / WEIGHTS} holds {', '.join(sorted(tensors))}, expected {', '.join(sorted(expected))}; {UNSUPPORTED}."
        )
    if (tensors.get("scaling_factor", torch.ones(1)) != 1).any():
        raise ValueError(f"{folder / WEIGHTS} scales its features again after training (scaling_factor); {UNSUPPORTED}.")
    return activation


def _k(cfg: dict, W_dec: Tensor, folder: Path) -> int:
    """How many features a top-k autoencoder keeps."""
    k = cfg.get("k") or (cfg.get("activation_fn_kwargs") or {}).get("k")
    if not isinstance(k, int) or not 1 <= k <= len(W_dec):
        raise ValueError(f"{folder / CONFIG} says k = {k!r} of {len(W_dec)} features; expected how many of them are kept.")
    return k


def _check_fit(sae: SAE, model: GPT2) -> None:
    if sae.hook_name not in set(hook_names(model.config.n_layers)):
        raise ValueError(f"The autoencoder reads {sae.hook_name!r}, which {model.config.model_name} does not have.")
    if "hook_pattern" in sae.hook_name or "attn_scores" in sae.hook_name:
        raise ValueError(f"The autoencoder reads {sae.hook_name!r}, which is no vector per position.")
    d_in, wide = sae.W_enc.shape[0], sae.hook_name.endswith((".hook_post", ".hook_pre", "out.hook_in", "in.hook_out"))
    width = model.config.d_mlp if wide and ".mlp." in sae.hook_name else model.config.d_model
    if d_in != width:
        raise ValueError(f"The autoencoder reads {d_in} numbers per position, {sae.hook_name} of this model has {width}.")


@torch.no_grad()
def read(sae: SAE, run: Run) -> Reading:
    """The features of a run at the autoencoder's hook, and how much of the activation they explain."""
    x = side_by_side(run.activations[sae.hook_name], batched=False)
    features = sae.encode(x)
    _, scale, shift = sae.seen(x)
    x = x.to(features) - shift
    missed = x - scale * sae.decode(features)
    error = missed.norm(dim=-1) / x.norm(dim=-1).clamp(min=1e-30)
    unexplained = float("nan")
    if len(x) > 2:
        spread = (x[1:] - x[1:].mean(0)).pow(2).sum()
        unexplained = (missed[1:].pow(2).sum() / spread).item()
    return Reading(features, error, unexplained, (features > 0).sum(-1).float(), run.strings, run.provenance)


def feature_hook(
    model: GPT2, sae: SAE, edits: Sequence[FeatureEdit], *, replace: bool = False, plan: Plan = NO_EDITS, bos: bool = True
) -> ChangeHook:
    """A hook that edits features at the autoencoder's place, after the edits of a plan; for runs and generation.

    replace: the edited reconstruction takes the activation's place; without it only the difference made by the edits is added.
    Raises ValueError for a feature that is not there.
    """
    for edit in edits:
        sae.check_feature(edit.feature)
    change = lambda x, queries: sae.edited(x, queries, edits, replace)  # noqa: E731
    return ChangeHook([(sae.hook_name, change)], compile_plan(model, plan, bos))
