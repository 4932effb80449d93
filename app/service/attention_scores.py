"""Why a head looks where it looks: the selected weight's score, taken apart (`interp.qk`)."""

import numpy as np

from app.evidence import Evidence
from app.service.scripts import lens_script, script
from app.service.view import View, as_numpy
from interp.qk import ScoreParts, qk_names, score_parts
from interp.run import trace


def parts(view: View, at: tuple[int, int], by_head: bool) -> ScoreParts:
    """The score between a query and a key of the selected head, by dimensions and by what wrote the two residual streams."""
    s, layer, head = view.state, view.layer, view.head

    def wide():
        return trace(view.model, s.prompt, s.plan, s.bos, qk_names(layer))

    run = view.store.result((s.model, "qk run", s.prompt, s.bos, s.plan, layer), wide)
    key = (s.model, "qk", s.prompt, s.bos, s.plan, layer, head, at, by_head)
    return view.store.result(key, lambda: score_parts(view.model, run, layer, head, *at, by_head=by_head))


def largest(table: np.ndarray, labels: tuple[str, ...], n: int) -> list[tuple[str, str, float]]:
    """The n largest cells by size: (part of the query, part of the key, number), the largest first."""
    order = np.argsort(-np.abs(table), axis=None, kind="stable")[:n]
    return [(labels[q], labels[k], float(table[q, k])) for q, k in zip(*np.unravel_index(order, table.shape))]


def parts_evidence(view: View, at: tuple[int, int], by_head: bool) -> Evidence:
    """The table of parts: what of the query met what of the key."""
    found = parts(view, at, by_head)
    table = as_numpy(found.table)
    rows = [(q, k, table[i, j]) for i, q in enumerate(found.labels) for j, k in enumerate(found.labels)]
    code = f"""
found = score_parts(model, run, {view.layer}, {view.head}, query={at[0]}, key={at[1]}, by_head={by_head})
print(f"score {{found.score:.6f}}; " + "; ".join(f"{{c.name}}: missed by {{c.residual:.1e}}" for c in found.checks))
for query_part, row in zip(found.labels, found.table):
    for key_part, number in zip(found.labels, row):
        print(f"{{number.item():.6f}} {{query_part}} . {{key_part}}")
"""
    return Evidence(
        f"L{view.layer}H{view.head}-score-parts",
        ("query_part", "key_part", "score"),
        rows,
        script(view, "from interp.qk import score_parts", code),
        "",
        _facts(view, found),
    )


def dimensions_evidence(view: View, at: tuple[int, int]) -> Evidence:
    """The score by the head's dimensions."""
    found = parts(view, at, False)
    numbers = as_numpy(found.dimensions)
    code = f"""
found = score_parts(model, run, {view.layer}, {view.head}, query={at[0]}, key={at[1]})
for dimension, number in enumerate(found.dimensions.tolist()):
    print(f"{{dimension:4d}} {{number:.6f}}")
print(f"sum  {{found.score:.6f}}")
"""
    lens_code = f"""
_, cache = model.run_with_cache(tokens)
q, k = cache["q", {view.layer}][0, {at[0]}, {view.head}], cache["k", {view.layer}][0, {at[1]}, {view.head}]
numbers = q * k / model.cfg.d_head**0.5
for dimension, number in enumerate(numbers.tolist()):
    print(f"{{dimension:4d}} {{number:.6f}}")
print(f"sum  {{numbers.sum().item():.6f}}")
"""
    return Evidence(
        f"L{view.layer}H{view.head}-score-dimensions",
        ("dimension", "score"),
        list(enumerate(numbers)),
        script(view, "from interp.qk import score_parts", code),
        lens_script(view, "", lens_code),
        _facts(view, found),
    )


def _facts(view: View, found: ScoreParts) -> dict:
    return {
        "head": f"L{found.layer}H{found.head}",
        "query": [found.query, view.run.strings[found.query]],
        "key": [found.key, view.run.strings[found.key]],
        "score": found.score,
        "checks": {check.name: check.residual for check in found.checks},
        "provenance": view.run.provenance.to_dict(),
    }
