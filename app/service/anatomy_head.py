"""One head's arithmetic at one position, step by step from the weights, each step beside what the model itself computed there."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from app.evidence import Evidence
from app.service.anatomy import COARSE, OVER_KEYS, PER_HEAD, hook_name, way
from app.service.scripts import lens_script, script
from app.service.view import View
from gpt2_core.hooks import Watch
from interp.edits import Plan
from interp.intervene import compile_plan
from interp.run import Check

SLACK = {torch.float32: 1e-4, torch.float64: 1e-9}  # how far a step may be off, of the largest entry
STEPS = ("read", "query", "key", "product", "scale", "mask", "softmax", "value", "sum", "write", "add")


@dataclass(frozen=True)
class Arithmetic:
    """A head's numbers at one query position, as the model has them (hooks): stream, read, result, mid [d_model]; query, z [d_head];
    keys, values [pos d_head]; dots (q.k), scores, pattern [pos]. others: what the other heads and the bias write [d_model].

    checks: by step, the step computed anew from the one before, beside the model's; edited: the steps that an edit in force changes.
    """

    layer: int
    head: int
    query_at: int
    stream: np.ndarray
    read: np.ndarray
    query: np.ndarray
    keys: np.ndarray
    values: np.ndarray
    dots: np.ndarray
    scores: np.ndarray
    pattern: np.ndarray
    z: np.ndarray
    result: np.ndarray
    others: np.ndarray
    mid: np.ndarray
    scale: float
    checks: dict[str, Check]
    edited: frozenset[str]


def arithmetic(view: View, layer: int, head: int, plan: Plan | None = None) -> Arithmetic:
    """One head at the selected position under the edits in force, or under another plan."""
    s = view.state
    plan = s.plan if plan is None else plan
    key = (s.model, "anatomy head", s.prompt, s.bos, plan, view.position, layer, head)
    return view.store.result(key, lambda: _arithmetic(view, layer, head, plan))


@torch.no_grad()
def _arithmetic(view: View, layer: int, head: int, plan: Plan) -> Arithmetic:
    got, at, block = _collect(view, layer, head, plan), view.position, view.model.h[layer]
    read = _normalised(got["resid_pre"], block.ln_1)
    W = {name: _array(getattr(block.attn, f"W_{name}")[head]) for name in "QKVO"}
    b = {name: _array(getattr(block.attn, f"b_{name}")[head]) for name in "QKV"}
    dots = got["k"] @ got["q"]
    masked = np.where(np.arange(len(dots)) <= at, dots / view.config.attn_scale, -np.inf)
    others = got["attn_out"] - got["result"]
    new = {
        "read": (read[at], got["ln1"]),
        "query": (read[at] @ W["Q"] + b["Q"], got["q"]),
        "key": (read @ W["K"] + b["K"], got["k"]),
        "product": (dots[: at + 1], got["attn_scores"][: at + 1] * view.config.attn_scale),
        "scale": (masked[: at + 1], got["attn_scores"][: at + 1]),
        "mask": (np.isfinite(masked).astype(float), (got["attn_scores"] > -1e30).astype(float)),
        "softmax": (_softmax(got["attn_scores"]), got["pattern"]),
        "value": (read @ W["V"] + b["V"], got["v"]),
        "sum": (got["pattern"] @ got["v"], got["z"]),
        "write": (got["z"] @ W["O"], got["result"]),
        "add": (got["resid_pre"][at] + got["result"] + others, got["resid_mid"]),
    }
    slack = SLACK.get(view.model.cfg.dtype, COARSE)
    checks = {step: Check(step, float(np.abs(a - b).max() / max(1.0, np.abs(b).max())), slack) for step, (a, b) in new.items()}
    return Arithmetic(
        layer, head, at, got["resid_pre"][at], got["ln1"], got["q"], got["k"], got["v"], dots, got["attn_scores"], got["pattern"],
        got["z"], got["result"], others, got["resid_mid"], view.config.attn_scale, checks, _edited(plan, layer, head),
    )  # fmt: skip


def vector(view: View, point: str, layer: int, head: int, plan: Plan | None = None) -> np.ndarray:
    """What stands at a point at the selected position: a head's own vector where the point has heads, else the whole one."""
    if point in (*OVER_KEYS, "result"):
        found = arithmetic(view, layer, head, plan)
        return {"attn_scores": found.scores, "pattern": found.pattern, "result": found.result}[point]
    whole = way(view, plan).vectors[hook_name(point, layer)]
    return whole[head] if point in PER_HEAD else whole


def _collect(view: View, layer: int, head: int, plan: Plan) -> dict[str, np.ndarray]:
    """What the model has at each step, of this head and position only: short name -> float64."""
    at = view.position
    cut = {
        "resid_pre": lambda x: x[0], "ln1": lambda x: x[0, at], "q": lambda x: x[0, at, head], "k": lambda x: x[0, :, head],
        "v": lambda x: x[0, :, head], "attn_scores": lambda x: x[0, head, at], "pattern": lambda x: x[0, head, at],
        "z": lambda x: x[0, at, head], "result": lambda x: x[0, at, head], "attn_out": lambda x: x[0, at],
        "resid_mid": lambda x: x[0, at],
    }  # fmt: skip
    points, kept = {hook_name(point, layer): point for point in cut}, {}

    def see(name: str, x: Tensor) -> None:
        kept[points[name]] = _array(cut[points[name]](x))

    hook = Watch(points.__contains__, see, compile_plan(view.model, plan, view.state.bos))
    tokens = torch.tensor([view.run.tokens], device=view.model.wte.weight.device)
    view.model(tokens, hook=hook, stop_at_layer=layer + 1)
    return kept


def _edited(plan: Plan, layer: int, head: int) -> frozenset[str]:
    """The steps whose result an edit in force replaces."""
    step_of = {"q": "query", "k": "key", "v": "value", "pattern": "softmax", "z": "sum", "resid_mid": "add"}
    mine = (e for e in plan if e.layer == layer and e.head in (None, head))
    return frozenset(step_of[e.component] for e in mine if e.component in step_of)


def _array(x: Tensor) -> np.ndarray:
    return x.double().cpu().numpy()


def _normalised(x: np.ndarray, ln: torch.nn.LayerNorm) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    scale = np.sqrt((centred**2).mean(-1, keepdims=True) + ln.eps)
    return centred / scale * _array(ln.weight) + _array(ln.bias)


def _softmax(scores: np.ndarray) -> np.ndarray:
    e = np.exp(scores - scores.max())
    return e / e.sum()


def head_evidence(view: View, layer: int, head: int) -> Evidence:
    """The head's numbers for every key, and the scripts that compute them."""
    found, at = arithmetic(view, layer, head), view.position
    upto = range(at + 1)
    rows = [
        (k, view.shown[k], found.dots[k], found.scores[k], found.pattern[k], float(np.linalg.norm(found.values[k])))
        for k in upto
    ]
    body = f"""
at = {at}  # the position, of {view.shown[at]!r}
q, k, v = (@CACHE@[f"blocks.{layer}.attn.hook_{{name}}"]@ROW@[:, {head}] for name in "qkv")
scores = @CACHE@["blocks.{layer}.attn.hook_attn_scores"]@ROW@[{head}, at]
pattern = @CACHE@["blocks.{layer}.attn.hook_pattern"]@ROW@[{head}, at]
for key in range(at + 1):
    numbers = q[at] @ k[key], scores[key], pattern[key], v[key].norm()
    print(f"{{key:>4}}", *(f"{{number.item():12.6f}}" for number in numbers))
"""
    ours = body.replace("@CACHE@", "run.activations").replace("@ROW@", "")
    theirs = "_, cache = model.run_with_cache(tokens)" + body.replace("@CACHE@", "cache").replace("@ROW@", "[0]")
    return Evidence(
        f"head-L{layer}H{head}",
        ("key", "token", "q_dot_k", "score", "weight", "value_norm"),
        rows,
        script(view, "", ours),
        lens_script(view, "", theirs),
        {"layer": layer, "head": head, "position": at, "z": found.z, "result": found.result,
         "provenance": view.run.provenance.to_dict()},
    )  # fmt: skip
