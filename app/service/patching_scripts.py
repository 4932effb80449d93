"""What the patching tab's panels hand out: their numbers, and scripts that compute them again."""

from app.evidence import Evidence
from app.service import patching_pair as pairs
from app.service.patching import CLOSE, GROUPS, STREAM, Asked, Place, three, whole
from app.service.patching_pair import Question
from app.service.scripts import lens_script, script
from app.service.view import View

# component -> the hook inside a block in transformer-lens; neurons and results are patched through these too
HOOKS = {
    **{name: f"hook_{name}" for name in STREAM},
    **{name: f"attn.hook_{name}" for name in ("q", "k", "v", "z", "pattern")},
    "result": "attn.hook_z",
    "neurons": "mlp.hook_post",
}


def metric_code(q: Question) -> tuple[str, str]:
    """(import, lines) that make `metric` of our library; `clean` and `corrupted` are there."""
    if q.measure == "kl":
        lines = f"metric = kl(trace(model, clean[{int(q.bos)}:], plan, bos={q.bos}).logits[-1])"
        return "from interp import trace\nfrom interp.metrics import kl", lines
    line = f"metric = answer_metric({q.measure!r}, [{list(q.correct)}], [{list(q.wrong)}]).alone(0)"
    return "from interp.metrics import answer_metric", line


def pair_code(view: View, q: Question) -> str:
    """Lines that say the two prompts, as token ids."""
    texts = [view.model.tokenizer.decode(ids) for ids in (q.clean, q.corrupted)]
    return f"clean = {list(q.clean)}  # {texts[0]!r}\ncorrupted = {list(q.corrupted)}  # {texts[1]!r}"


def facts(view: View, q: Question) -> dict:
    """What a file says of the question."""
    clean, corrupted = pairs.ends(view, q, q.plan)
    return {
        "clean_tokens": list(q.clean),
        "corrupted_tokens": list(q.corrupted),
        "metric": {"name": q.measure, "correct": list(q.correct), "wrong": list(q.wrong), "clean": clean, "corrupted": corrupted},
        "mode": q.mode,
        "provenance": view.run.provenance.to_dict(),
    }  # fmt: skip


def unit(measure: str) -> str:
    """What a metric counts, as a column's name says it."""
    return "probability" if measure.startswith("probability") else "nats"


def map_evidence(view: View, what: Asked) -> Evidence:
    """A map's cells: the metric of each patched run."""
    found, q = whole(view, what), what.question
    axis = (
        "position" if what.component in STREAM or what.layer is not None else "group" if what.component == "neurons" else "head"
    )
    first = "head" if what.layer is not None else "layer"
    apart = abs(found.clean - found.corrupted) >= CLOSE
    share = found.normalised if apart else found.values * float("nan")
    rows = [(i, j, found.values[i, j], share[i, j]) for i in range(len(found.values)) for j in range(found.values.shape[1])]
    imports, metric = metric_code(q)
    options = [f"mode={q.mode!r}", "plan=plan"]
    options += [f"n_groups={GROUPS}"] if what.component == "neurons" else []
    options += ["by_position=True", f"layers=[{what.layer}]"] if what.layer is not None else []
    values = "found.values[0]" if what.layer is not None else "found.values"
    shares = f"""print("as shares of the difference:")
for row in (({values} - found.corrupted) / (found.clean - found.corrupted)).tolist():
    print(*(f"{{value:.6f}}" for value in row))
print("as the metric:")
"""
    shares = shares if apart else ""
    code = f"""
{pair_code(view, q)}
{metric}
found = sweep(model, clean, corrupted, metric, {what.component!r}, {", ".join(options)})
print(f"clean {{found.clean:.6f}} corrupted {{found.corrupted:.6f}}")
{shares}for row in {values}.tolist():
    print(*(f"{{value:.6f}}" for value in row))
"""
    return Evidence(
        f"patching-{what.component}",
        (first, axis, f"metric_{unit(q.measure)}", "share"),
        rows,
        script(view, f"{imports}\nfrom interp.patching import sweep", code, run=False),
        lens_script(view, "", _lens_map(q, what, *found.values.shape)) if not q.plan else "",
        facts(view, q) | {"component": what.component, "layer": what.layer, "checks": [vars(c) for c in found.sweep.checks]},
    )


def lens_metric(q: Question) -> str:
    """Lines that define metric(logits [d_vocab]) with torch alone; `clean` is there."""
    right, wrong = list(q.correct), list(q.wrong)
    if q.measure == "kl":
        return """reference = model(clean)[0, -1].detach().log_softmax(-1)


def metric(logits):
    return (reference.exp() * (reference - logits.log_softmax(-1))).sum()"""
    formula = {
        "logit_difference": f"(logits[{right}].mean() - logits[{wrong}].mean())",
        "best_logit_difference": f"(logits[{right}].mean() - logits[{wrong}].max())",
        "probability_difference": f"(logits.softmax(-1)[{right}].sum() - logits.softmax(-1)[{wrong}].sum())",
        "probability": f"logits.softmax(-1)[{right}].sum()",
    }[q.measure]
    return f"""

def metric(logits):
    return {formula}"""


def _lens_map(q: Question, what: Asked, n_rows: int, n_columns: int) -> str:
    """One run per cell, with a hook that puts the other run's piece in."""
    index = {"pattern": "[:, column]", "neurons": "[..., group == column]"}.get(what.component, "[:, :, column]")
    if what.component in STREAM:
        index = "[:, column]"
    hook = HOOKS[what.component]
    layer = "row"
    if what.layer is not None:
        layer, index = str(what.layer), "[:, row, column]" if what.component == "pattern" else "[:, column, row]"
    grouped = f"group = torch.arange(model.cfg.d_mlp) * {GROUPS} // model.cfg.d_mlp\n" if what.component == "neurons" else ""
    base, source = ("corrupted", "clean") if q.mode == "denoise" else ("clean", "corrupted")
    return f"""
clean = torch.tensor([{list(q.clean)}])
corrupted = torch.tensor([{list(q.corrupted)}])
{lens_metric(q)}


_, cache = model.run_with_cache({source})
{grouped}for row in range({n_rows}):
    line = []
    for column in range({n_columns}):

        def put(x, hook):
            x = x.clone()
            x{index} = cache[hook.name]{index}
            return x

        logits = model.run_with_hooks({base}, fwd_hooks=[(f"blocks.{{{layer}}}.{hook}", put)])
        line.append(metric(logits[0, -1]).item())
    print(*(f"{{value:.6f}}" for value in line))
"""


def cell_evidence(view: View, place: Place | None) -> Evidence:
    """The three runs' likeliest tokens."""
    if place is None:
        raise ValueError("No cell is chosen yet; choose one of a map.")
    q, cell = place.what.question, place.cell
    imports, metric = metric_code(q)
    runs = three(view, place)
    rows = [
        (name, id, token, p)
        for name, run in runs.items()
        for id, token, p in zip(run.ids, view.model.tokenizer.strings(run.ids), run.p)
    ]
    given = ", ".join(f"{k}={v}" for k, v in vars(cell).items() if v is not None)
    by_position = ", by_position=True" if place.what.layer is not None else ""
    code = f"""
{pair_code(view, q)}
{metric}
ready = prepare(model, clean, corrupted, metric, {place.what.component!r}, mode={q.mode!r}, plan=plan, n_groups={GROUPS}{by_position})
hook = compile_plan(model, plan, {q.bos})
both = model(torch.tensor([clean, corrupted]), hook=hook, logits_at=-1)[:, 0].float()
for name, logits in (*zip(("clean", "corrupted"), both), ("patched", ready.logits({place.layer}, Cell({given})))):
    top = logits.softmax(-1).topk({len(runs["patched"].ids)})
    for id, p in zip(top.indices.tolist(), top.values.tolist()):
        print(f"{{name:>9}} {{p:9.4%}} {{model.tokenizer.decode([id])!r}}")
"""
    imports += "\nimport torch\nfrom interp.intervene import compile_plan\nfrom interp.patching import Cell, prepare"
    return Evidence(
        "patching-cell",
        ("run", "id", "token", "probability"),
        rows,
        script(view, imports, code, run=False),
        "",
        facts(view, q) | {"place": place.name},
    )
