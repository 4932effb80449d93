"""What the attribution tab shows: a logit as the sum of what every part wrote, and which tokens it depends on."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from app.evidence import Evidence
from app.service.lens import one_token
from app.service.scripts import lens_script, script
from app.service.staged import MOMENT, Stage, finished
from app.service.view import View, as_numpy
from gpt2_core.accounting import forward_flops
from gpt2_core.activations import ActivationCache
from gpt2_core.hooks import Watch
from interp import attribution
from interp.attention import pattern_names
from interp.edits import Plan
from interp.intervene import compile_plan
from interp.run import Check, Run, judged, trace
from interp.saliency import gradient_x_input, integrated_gradients
from interp.targets import Target, logit

MOST_BYTES = 2e9  # of activations, up to which those of all positions are kept: then another position costs no further run
STEPS = 32  # of integrated gradients
METHODS = ("gradient", "zero", "mean", "endoftext")  # gradient x input, and integrated gradients from three baselines
NEURONS = 20
PER_BLOCK = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out")


@dataclass(frozen=True)
class Wanted:
    """What is explained: the logit of `token` less that of `minus` (None: the mean over the vocabulary)."""

    token: int
    minus: int | None = None

    @property
    def other(self) -> int | str:
        return "mean" if self.minus is None else self.minus


@dataclass(frozen=True)
class Parts:
    """A value as a sum. labels and values: one per part, in the order of the network or, of neurons, by size."""

    labels: tuple[str, ...]
    values: np.ndarray
    value: float
    check: Check


def wanted(view: View, token: str, minus: str) -> Wanted:
    """The target from two texts: an empty one is the model's own prediction, or the mean. Raises ValueError for no single token."""
    tokenizer = view.model.tokenizer
    first = int(view.run.logits[view.position].argmax()) if not token else one_token(tokenizer, token)
    other = one_token(tokenizer, minus) if minus else None
    if first == other:
        raise ValueError(f"Both tokens are {tokenizer.shown([first])[0]!r}; their difference is 0. Choose another.")
    return Wanted(first, other)


def layers(view: View, what: Wanted, plan: Plan) -> Parts:
    """Embeddings, and each layer's attention and MLP."""
    found = attribution.by_layer(view.model, _run(view, plan), _target(view, what), view.position)
    return Parts(found.labels, as_numpy(found.values), found.value, found.check)


def head_table(view: View, what: Wanted, plan: Plan) -> tuple[np.ndarray, Check]:
    """What each head wrote for the target, [layer head]."""
    found = attribution.by_head(view.model, _run(view, plan), _target(view, what), view.position)
    return as_numpy(found.heads), found.check


def sources(view: View, what: Wanted, head: tuple[int, int] | None, plan: Plan) -> tuple[np.ndarray, float, Check]:
    """What was read from each token, [position], by one head or by all together; and what the plan did to the heads' outputs."""
    found = attribution.by_source(view.model, _run(view, plan), _target(view, what), view.position)
    table, edits = as_numpy(found.values), as_numpy(found.edits)
    values, edited = (table.sum((0, 1)), edits.sum()) if head is None else (table[head], edits[head])
    return values, float(edited), found.check


def neurons(view: View, what: Wanted, plan: Plan) -> Parts:
    """The neurons that wrote most, the largest first."""
    found = attribution.by_neuron(view.model, _run(view, plan), _target(view, what), view.position, k=NEURONS)
    names = tuple(f"L{layer}N{n}" for layer, n in found.neurons.tolist())
    return Parts(names, as_numpy(found.contributions), found.value, found.check)


def saliency(view: View, what: Wanted, method: str, plan: Plan) -> tuple[np.ndarray, Check]:
    """How the value depends on each token's embedding, [position]. A slope has no sum to check; its value is the model's own."""
    return finished(view, saliency_stage(view, what, method, plan))


def saliency_stage(view: View, what: Wanted, method: str, plan: Plan) -> Stage:
    """The same, and what it costs: a backward pass is about two forward ones."""
    s = view.state
    key = (s.model, "saliency", s.prompt, s.bos, plan, what, method, view.position)
    passes = 3 * (1 if method == "gradient" else STEPS + 2)

    def compute() -> tuple[np.ndarray, Check]:
        run = View(view.store, s.but(plan=plan)).run
        if method != "gradient":
            found = integrated_gradients(view.model, run, _target(view, what), view.position, method, STEPS)
            return as_numpy(found.values), found.check
        found, target = gradient_x_input(view.model, run, _target(view, what), view.position), _target(view, what)
        own = target.of_logits(run.logits[view.position].double()).item()
        return as_numpy(found.values), judged("slope", abs(found.value - own), run.logits.dtype, abs(own))

    return Stage(key, compute, passes * forward_flops(view.config, len(view.run), logits_positions=1).total, MOMENT)


def _target(view: View, what: Wanted) -> Target:
    return logit(view.model, what.token, what.other)


def _run(view: View, plan: Plan) -> Run:
    """The page's run with the activations that a sum needs; those of the selected position alone where all take too much memory."""
    s, cfg = view.state, view.config
    n = len(view.run)
    names = ["hook_embed", "hook_pos_embed", "ln_final.hook_scale", *pattern_names(cfg.n_layers)]
    names += [f"blocks.{layer}.hook_{name}" for layer in range(cfg.n_layers) for name in PER_BLOCK]
    names += [
        f"blocks.{layer}.{name}" for layer in range(cfg.n_layers) for name in ("attn.hook_z", "attn.hook_v", "mlp.hook_post")
    ]
    key = (s.model, "attribution run", s.prompt, s.bos, plan)
    if 4 * cfg.n_layers * n * (7 * cfg.d_model + cfg.d_mlp + cfg.n_heads * n) > MOST_BYTES:
        return view.store.result((*key, view.position), lambda: _run_at(view, plan, names))
    return view.store.result(key, lambda: trace(view.model, s.prompt, plan, s.bos, names))


@torch.no_grad()
def _run_at(view: View, plan: Plan, names: list[str]) -> Run:
    """A sum at one position reads the values of all tokens, and of everything else that position: it stands in for the others."""
    run, at, kept = View(view.store, view.state.but(plan=plan)).run, view.position, {}

    def see(name: str, x: Tensor) -> None:
        if name.endswith("hook_v"):
            kept[name] = x[0]
        elif name.endswith("hook_pattern"):
            kept[name] = x[0, :, at, None].clone().expand(x.shape[1:])
        else:
            kept[name] = x[0, at, None].clone().expand(x.shape[1:])

    hook = Watch(set(names).__contains__, see, compile_plan(view.model, plan, view.state.bos))
    view.model(torch.tensor([run.tokens]), hook=hook)
    return replace(run, activations=ActivationCache(kept, view.config.n_layers, has_batch_dim=False))


# -- what the panels hand out ---------------------------------------------------------------------------------------------------


def layers_evidence(view: View, what: Wanted) -> Evidence:
    found = layers(view, what, view.state.plan)
    code = f"""
parts = attribution.by_layer(model, run, logit(model, {what.token}, minus={what.other!r}), position={view.position})
for label, value in zip(parts.labels, parts.values.tolist()):
    print(f"{{label:>14}} {{value:+.6f}}")
print(f"sum {{parts.values.sum().item():+.6f}} model {{parts.value:+.6f}}")
"""
    other = "logits.mean()" if what.minus is None else f"logits[{what.minus}]"
    column = "model.W_U.mean(-1)" if what.minus is None else f"model.W_U[:, {what.minus}]"
    lens_code = f"""
logits, cache = model.run_with_cache(tokens)
parts, labels = cache.decompose_resid(layer=-1, pos_slice={view.position}, return_labels=True)
direction = (model.W_U[:, {what.token}] - {column}) * model.ln_final.weight
centred = (parts - parts.mean(-1, keepdim=True)) / cache["ln_final.hook_scale"][0, {view.position}]
for label, value in zip(labels, (centred @ direction).flatten().tolist()):
    print(f"{{label:>14}} {{value:+.6f}}")
logits = logits[0, {view.position}]
print("logits", (logits[{what.token}] - {other}).item())
"""
    rows = [*zip(found.labels, found.values), ("sum", found.values.sum()), ("model", found.value)]
    imports = "from interp import attribution\nfrom interp.targets import logit"
    facts = _facts(view, what) | {"check": vars(found.check)}
    return Evidence(
        "attribution-layers", ("part", "logits"), rows, script(view, imports, code), lens_script(view, "", lens_code), facts
    )


def heads_evidence(view: View, what: Wanted) -> Evidence:
    table, check = head_table(view, what, view.state.plan)
    code = f"""
parts = attribution.by_head(model, run, logit(model, {what.token}, minus={what.other!r}), position={view.position})
for layer, row in enumerate(parts.heads.tolist()):
    for head, value in enumerate(row):
        print(f"L{{layer}}H{{head}} {{value:+.6f}}")
"""
    column = "model.W_U.mean(-1)" if what.minus is None else f"model.W_U[:, {what.minus}]"
    lens_code = f"""
_, cache = model.run_with_cache(tokens)
direction = (model.W_U[:, {what.token}] - {column}) * model.ln_final.weight
for layer in range(model.cfg.n_layers):
    result = torch.einsum("he,hed->hd", cache["z", layer][0, {view.position}], model.W_O[layer])
    result = (result - result.mean(-1, keepdim=True)) / cache["ln_final.hook_scale"][0, {view.position}]
    for head, value in enumerate((result @ direction).tolist()):
        print(f"L{{layer}}H{{head}} {{value:+.6f}}")
"""
    rows = [(f"L{l}H{h}", value) for (l, h), value in np.ndenumerate(table)]
    imports = "from interp import attribution\nfrom interp.targets import logit"
    facts = _facts(view, what) | {"check": vars(check)}
    return Evidence(
        "attribution-heads", ("head", "logits"), rows, script(view, imports, code), lens_script(view, "", lens_code), facts
    )


def sources_evidence(view: View, what: Wanted, head: tuple[int, int] | None) -> Evidence:
    values, edited, check = sources(view, what, head, view.state.plan)
    chosen = "parts.values.sum((0, 1))" if head is None else f"parts.values[{head[0]}, {head[1]}]"
    code = f"""
parts = attribution.by_source(model, run, logit(model, {what.token}, minus={what.other!r}), position={view.position})
for string, value in zip(run.strings, {chosen}.tolist()):
    print(f"{{value:+.6f}} {{string!r}}")
"""
    rows = [(i, string, value) for i, (string, value) in enumerate(zip(view.run.strings, values))]
    imports = "from interp import attribution\nfrom interp.targets import logit"
    facts = _facts(view, what) | {
        "heads": "all" if head is None else f"L{head[0]}H{head[1]}",
        "edits": edited,
        "check": vars(check),
    }
    return Evidence("attribution-sources", ("position", "token", "logits"), rows, script(view, imports, code), "", facts)


def neurons_evidence(view: View, what: Wanted) -> Evidence:
    found = neurons(view, what, view.state.plan)
    code = f"""
parts = attribution.by_neuron(model, run, logit(model, {what.token}, minus={what.other!r}), position={view.position}, k={NEURONS})
for (layer, neuron), value in zip(parts.neurons.tolist(), parts.contributions.tolist()):
    print(f"L{{layer}}N{{neuron}} {{value:+.6f}}")
"""
    imports = "from interp import attribution\nfrom interp.targets import logit"
    facts = _facts(view, what) | {"check": vars(found.check)}
    return Evidence(
        "attribution-neurons",
        ("neuron", "logits"),
        list(zip(found.labels, found.values)),
        script(view, imports, code),
        "",
        facts,
    )


def saliency_evidence(view: View, what: Wanted, method: str) -> Evidence:
    values, check = saliency(view, what, method, view.state.plan)
    target = f"logit(model, {what.token}, minus={what.other!r}), position={view.position}"
    call = f"gradient_x_input(model, run, {target})"
    if method != "gradient":
        call = f"integrated_gradients(model, run, {target}, baseline={method!r}, steps={STEPS})"
    code = f"""
found = {call}
for string, value in zip(run.strings, found.values.tolist()):
    print(f"{{value:+.6f}} {{string!r}}")
"""
    rows = [(i, string, value) for i, (string, value) in enumerate(zip(view.run.strings, values))]
    imports = f"from interp.saliency import {call.split('(')[0]}\nfrom interp.targets import logit"
    facts = _facts(view, what) | {"method": method, "check": vars(check)}
    return Evidence("saliency", ("position", "token", "logits"), rows, script(view, imports, code), "", facts)


def _facts(view: View, what: Wanted) -> dict:
    return {"target": _target(view, what).label, "position": view.position, "provenance": view.run.provenance.to_dict()}
