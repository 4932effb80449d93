"""Which earlier tokens a position gets its information from, through all layers: attention rollout and attention flow."""

from dataclasses import dataclass

import numpy as np
import torch

from app.evidence import Evidence
from app.service.attention import layer_patterns, pictures
from app.service.scripts import lens_script, script
from app.service.view import View, as_numpy
from interp.attention import AttentionPatterns, rows_check
from interp.rollout import flow, rollout_row
from interp.run import Check, Run

METHODS = ("rollout", "flow")
FLOW_AT_ONCE = 40  # tokens; a flow's time grows with the fourth power of them


@dataclass(frozen=True)
class Paths:
    """Shares of one position's paths by the token they lead to, [token]. even: with evenly spread attention in every layer;
    before: without the edits, None where nothing is edited."""

    method: str
    position: int
    shares: np.ndarray
    even: np.ndarray
    before: np.ndarray | None
    check: Check


def paths(view: View, method: str) -> Paths:
    """The shares at the selected position. Raises ValueError for flow into a position too far from the start."""
    s, at = view.state, view.position
    key = (s.model, "paths", s.prompt, s.bos, s.plan, method, at)

    def compute() -> Paths:
        now, even, check = _shares(view, view.run, method)
        before = None if view.before is None else _shares(view, view.before, method)[0]
        return Paths(method, at, now, even, before, check)

    return view.store.result(key, compute)


def flow_is_quick(view: View) -> bool:
    """Whether the flow into the selected position takes no more than a moment."""
    return view.position < FLOW_AT_ONCE


def _shares(view: View, run: Run, method: str) -> tuple[np.ndarray, np.ndarray, Check]:
    """Shares and even shares of the tokens up to the selected position."""
    means, at = _means(view, run), view.position
    result = AttentionPatterns(means[:, None], run.strings, rows_check(0.0, means.dtype))  # only the mean over heads is read
    if method == "rollout":
        rolled = rollout_row(result, at)
        return as_numpy(rolled.values[: at + 1]), as_numpy(rolled.even[: at + 1]), rolled.check
    n = means.shape[-1]
    row = torch.ones(n, n).tril() / torch.arange(1, n + 1)[:, None]
    plain = AttentionPatterns(row.to(means).expand(len(means), 1, n, n), run.strings, result.check)
    flown = flow(result, at)
    return as_numpy(flown.shares[: at + 1]), as_numpy(flow(plain, at).shares[: at + 1]), flown.check


def _means(view: View, run: Run) -> torch.Tensor:
    """The mean over heads of every layer's pattern, [layer query key]."""
    found = pictures(view).means if run is view.run else None
    if found is not None:
        return torch.from_numpy(found)
    return torch.stack([layer.float().mean(0) for layer in layer_patterns(view, run)])


def evidence(view: View, method: str) -> Evidence:
    """The shares by token, and what prints them."""
    found = paths(view, method)
    at, strings = found.position, view.run.strings
    tables = [found.shares, found.even] + ([] if found.before is None else [found.before])
    source = f"rollout(patterns(run)).values[-1, {at}]" if method == "rollout" else f"flow(patterns(run), {at}).shares"
    code = f"""
shares = {source}
for token in range({at + 1}):
    print(f"{{token:4d}} {{shares[token].item():.6f}} {{run.strings[token]!r}}")
"""
    lens_code = f"""
_, cache = model.run_with_cache(tokens)
n, product = tokens.shape[1], None
for layer in range(model.cfg.n_layers):
    both = (cache["pattern", layer][0].mean(0) + torch.eye(n)) / 2
    both = both / both.sum(-1, keepdim=True)
    product = both if product is None else both @ product
for token in range({at + 1}):
    print(f"{{token:4d}} {{product[{at}, token].item():.6f}}")
"""
    lens = lens_script(view, "", lens_code) if method == "rollout" else ""
    columns = ("position", "token", "share", "even", "without_edits")[: 2 + len(tables)]
    rows = [(i, strings[i], *(t[i] for t in tables)) for i in range(at + 1)]
    facts = {"method": method, "into": at, "check": found.check.residual, "provenance": view.run.provenance.to_dict()}
    imports = f"from interp.attention import patterns\nfrom interp.rollout import {method}"
    return Evidence(f"attention-{method}", columns, rows, script(view, imports, code), lens, facts)
