"""One layer's MLP at one position, step by step from the weights, and which neurons write most."""

from dataclasses import dataclass

import numpy as np
import torch

from app.evidence import Evidence
from app.service.anatomy import COARSE, hook_name, way
from app.service.anatomy_head import SLACK
from app.service.scripts import lens_script, script
from app.service.view import View
from interp.run import Check

STEPS = ("read", "ask", "gelu", "write", "add")
MOST = 12  # neurons listed


@dataclass(frozen=True)
class Neurons:
    """stream, read, out, after: [d_model]; pre, post: [neuron]; writes: length of what each neuron writes, |post| |W_out row|.

    top: the neurons that write most, largest first. checks: by step, computed anew beside the model's. edited: steps changed by edits.
    """

    layer: int
    stream: np.ndarray
    read: np.ndarray
    pre: np.ndarray
    post: np.ndarray
    writes: np.ndarray
    top: tuple[int, ...]
    out: np.ndarray
    after: np.ndarray
    checks: dict[str, Check]
    edited: frozenset[str]


def neurons(view: View, layer: int) -> Neurons:
    """The MLP of a layer at the selected position, under the edits in force."""
    s = view.state
    return view.store.result(
        (s.model, "anatomy mlp", s.prompt, s.bos, s.plan, view.position, layer), lambda: _neurons(view, layer)
    )


@torch.no_grad()
def _neurons(view: View, layer: int) -> Neurons:
    got, block = way(view).vectors, view.model.h[layer]
    at = {p: got[hook_name(p, layer)] for p in ("resid_mid", "ln2", "pre", "post", "mlp_out", "resid_post")}
    array = lambda x: x.double().cpu().numpy()  # noqa: E731
    x, mlp = at["resid_mid"], block.mlp
    centred = x - x.mean()
    read = centred / np.sqrt((centred**2).mean() + block.ln_2.eps) * array(block.ln_2.weight) + array(block.ln_2.bias)
    new = {
        "read": (read, at["ln2"]),
        "ask": (at["ln2"] @ array(mlp.c_fc.weight) + array(mlp.c_fc.bias), at["pre"]),
        "gelu": (gelu(at["pre"]), at["post"]),
        "write": (at["post"] @ array(mlp.c_proj.weight) + array(mlp.c_proj.bias), at["mlp_out"]),
        "add": (x + at["mlp_out"], at["resid_post"]),
    }
    slack = SLACK.get(view.model.cfg.dtype, COARSE)
    checks = {step: Check(step, float(np.abs(a - b).max() / max(1.0, np.abs(b).max())), slack) for step, (a, b) in new.items()}
    writes = np.abs(at["post"]) * np.linalg.norm(array(mlp.c_proj.weight), axis=-1)
    top = np.argsort(-writes, kind="stable")[:MOST].tolist()
    step_of = {"mlp_post": "gelu", "mlp_out": "write", "resid_post": "add"}
    edited = frozenset(step_of[e.component] for e in view.state.plan if e.layer == layer and e.component in step_of)
    return Neurons(
        layer, x, at["ln2"], at["pre"], at["post"], writes, tuple(top), at["mlp_out"], at["resid_post"], checks, edited
    )


def gelu(x: np.ndarray) -> np.ndarray:
    """GPT-2's GELU: x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) (Hendrycks and Gimpel 2016)."""
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


@torch.no_grad()
def written(view: View, found: Neurons, neuron: int) -> np.ndarray:
    """What one neuron writes into the stream [d_model]."""
    return found.post[neuron] * view.model.h[found.layer].mlp.c_proj.weight[neuron].double().cpu().numpy()


def mlp_evidence(view: View) -> Evidence:
    """The neurons that write most, and the scripts that find them."""
    found, at, layer = neurons(view, view.layer), view.position, view.layer
    rows = [(n, found.pre[n], found.post[n], found.writes[n]) for n in found.top]
    body = f"""
pre, post = (@CACHE@[f"blocks.{layer}.mlp.hook_{{name}}"][@ROW@{at}] for name in ("pre", "post"))
writes = post.abs() * model.W_out[{layer}].norm(dim=-1)
for neuron in writes.argsort(descending=True, stable=True)[:{MOST}].tolist():
    print(f"{{neuron:>6}}", *(f"{{x[neuron].item():12.5f}}" for x in (pre, post, writes)))
"""
    return Evidence(
        f"mlp-L{layer}",
        ("neuron", "pre", "post", "writes"),
        rows,
        script(view, "", body.replace("@CACHE@", "run.activations").replace("@ROW@", "")),
        lens_script(
            view, "", "_, cache = model.run_with_cache(tokens)" + body.replace("@CACHE@", "cache").replace("@ROW@", "0, ")
        ),
        {"layer": layer, "position": at, "provenance": view.run.provenance.to_dict()},
    )
