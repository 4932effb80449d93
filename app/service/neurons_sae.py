"""Sparse autoencoders of the server's own folders: which features are active on the prompt, what they say, what editing one does.

An autoencoder is chosen by its name in a list that the server made when it looked into its folder: nothing that comes over the
network is used as a path.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch

from app.evidence import Evidence
from app.service.scripts import script
from app.service.view import View, as_numpy
from app.setting import Setting
from interp.changes import ChangeHook
from interp.edits import Edit, Plan
from interp.intervene import compile_plan
from interp.run import Run, trace
from interp.sae import CENTRED as CENTRED_NAME
from interp.sae import SAE, FeatureEdit, Reading, feature_hook, place_of, read
from interp.steering_effect import Shift, shift
from interp.weights import Ends, vector_effect

CHOSEN = Setting("neurons.sae", "")
FEATURE = Setting("neurons.feature", -1, low=-1)  # -1: the one that is most active here
VALUE = Setting("neurons.feature_value", 0.0, low=-10_000, high=10_000)
CENTRED = Setting("neurons.centred", False)  # take the mean over d_model away, which some releases expect without saying so
LISTED = 16


def autoencoder(view: View) -> SAE | None:
    """The one chosen, or the first that there is; None where there is none.

    Raises ValueError for a name that is not in the list, and for one that cannot be read or does not fit the model.
    """
    name = name_of(view)
    return None if name is None else view.model.autoencoders[name]


def names(view: View) -> list[str]:
    """The autoencoders there are."""
    return list(view.model.autoencoders.folders())


def name_of(view: View) -> str | None:
    """The name of the one chosen, as the model's list has it; None where there is none."""
    there, name = names(view), CHOSEN.of(view.state)
    if not there:
        return None
    if name and name not in there:
        raise ValueError(f"There is no autoencoder {name[:60]!r} here; choose one of {', '.join(there[:8])}.")
    return (name or there[0]) + CENTRED_NAME * CENTRED.of(view.state)


def edit_of(view: View, found: "Features") -> Edit:
    """The feature looked at, held at the chosen value, as an edit for the page's plan. Raises ValueError where plans edit no such place."""
    place = place_of(found.sae)
    if place is None:
        raise ValueError(f"{found.sae.hook_name} is no place that edits change, so its features cannot be held on every tab.")
    return Edit.of_feature(name_of(view), *place, found.feature, VALUE.of(view.state))


def _run(view: View, sae: SAE) -> Run:
    s = view.state
    compute = lambda: trace(view.model, s.prompt, s.plan, s.bos, [sae.hook_name])  # noqa: E731
    return view.store.result((s.model, "sae run", s.prompt, s.bos, s.plan, sae.hook_name), compute)


@dataclass(frozen=True)
class Features:
    """What an autoencoder sees at the selected position. top: features and their activations, the highest first.

    feature: the one looked at, over: its activation at every position. ends: the tokens that it raises and lowers, None where its
    direction is not one of the residual stream. reading: with the reconstruction's error.
    """

    sae: SAE
    reading: Reading
    top: tuple[tuple[int, float], ...]
    feature: int
    over: np.ndarray
    ends: Ends | None


def features(view: View) -> Features | None:
    """None where there is no autoencoder. Raises ValueError for a feature that is not there."""
    sae = autoencoder(view)
    if sae is None:
        return None
    reading = read(sae, _run(view, sae))
    ids, values = reading.top(view.position, LISTED)
    top = tuple((i, v) for i, v in zip(ids.tolist(), values.tolist()) if v > 0)
    feature = FEATURE.of(view.state)
    feature = feature if feature >= 0 else int(ids[0])
    if feature >= sae.d_sae:
        raise ValueError(f"Feature {feature} does not exist, the autoencoder has 0..{sae.d_sae - 1}.")
    wide = sae.W_dec.shape[1] == view.config.d_model and "attn.hook_z" not in sae.hook_name
    ends = vector_effect(view.model, sae.W_dec[feature][None], 8) if wide else None
    return Features(sae, reading, top, feature, as_numpy(reading.features[:, feature]), ends)


def without_it(view: View, found: Features) -> Plan:
    """The edits in force but for those of this feature."""
    name = name_of(view)
    return Plan(tuple(e for e in view.state.plan if (e.autoencoder, e.feature) != (name, found.feature)))


def hook(view: View, found: Features) -> ChangeHook:
    """The other edits in force, then the feature set to the chosen value everywhere."""
    edits = [FeatureEdit(found.feature, VALUE.of(view.state))]
    return feature_hook(view.model, found.sae, edits, plan=without_it(view, found), bos=view.state.bos)


@torch.no_grad()
def edited(view: View, found: Features) -> Shift:
    """The next token without and with the feature at the chosen value."""
    s, tokens = view.state, torch.tensor([view.run.tokens])
    hooks = compile_plan(view.model, without_it(view, found), s.bos), hook(view, found)
    before, after = (replace(view.run, logits=view.model(tokens, hook=each)[0]) for each in hooks)  # both run alike
    return shift(before, after, view.position)


def evidence(view: View) -> Evidence:
    """The features that are active at the selected position. Raises ValueError where there is no autoencoder."""
    found = features(view)
    if found is None:
        raise ValueError("There is no sparse autoencoder here; start the page with --sae FOLDER.")
    rows = [("active", str(feature), value) for feature, value in found.top]
    rows += [(f"feature {found.feature}", text, value) for text, value in zip(view.shown, found.over)]
    code = f"""
sae = load_sae({found.sae.source!r}, model, centred={found.sae.centred})
reading = read(sae, run)
ids, values = reading.top({view.position}, {LISTED})
for feature, value in zip(ids.tolist(), values.tolist()):
    print(f"{{feature}} {{value:.5f}}")
"""
    imports = "from interp.sae import load as load_sae\nfrom interp.sae import read"
    facts = {
        "hook": found.sae.hook_name,
        "unexplained_variance": found.reading.unexplained,
        "error": found.reading.error.tolist(),
        "provenance": view.run.provenance.to_dict(),
    }
    return Evidence("features", ("what", "which", "value"), rows, script(view, imports, code), "", facts)
