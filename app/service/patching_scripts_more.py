"""What the further panels of the patching tab hand out: numbers, and scripts that compute them again."""

from app.evidence import Evidence
from app.service import patching as exact
from app.service import patching_noise as noise
from app.service import patching_pair as pairs
from app.service import patching_paths as paths
from app.service import patching_preview as preview
from app.service import patching_set as sets
from app.service.patching_pair import SET_OPTIONS, Question
from app.service.patching_scripts import HOOKS, facts, lens_metric, metric_code, pair_code, unit
from app.service.scripts import lens_script, script
from app.service.view import View


def preview_evidence(view: View) -> Evidence:
    """The guessed effect of every cell of both maps, and the exact one where it is there."""
    q, method = pairs.question(view), preview.METHOD.of(view.state)
    guesses = [preview.guess(view, what, method) for what in exact.asked(view, q)]
    rows = []
    for guess in guesses:
        effect = guess.found.values - guess.found.base
        real = None if guess.exact is None else guess.exact.values - guess.exact.base
        for i in range(effect.shape[0]):
            for j in range(effect.shape[1]):
                found = float("nan") if real is None else real[i, j]
                rows.append((exact.Place(guess.what, i, j).name, effect[i, j], found, (i, j) in guess.missed))
    imports, metric = metric_code(q)
    parts = [(g.what.component, ", by_position=True" if g.what.layer is not None else "", "" if g.what.layer is None else f"[{g.what.layer}]") for g in guesses]  # fmt: skip
    shown = "\n".join(
        f"""found = preview(model, clean, corrupted, metric, {part!r}, method={method!r}, steps={preview.STEPS}, mode={q.mode!r}, n_groups={exact.GROUPS}, plan=plan{option})
for row in found.effect{layer}.tolist():
    print(*(f"{{value:.6f}}" for value in row))"""
        for part, option, layer in parts
    )
    code = f"\n{pair_code(view, q)}\n{metric}\n{shown}\n"
    plain = method == "attribution" and not q.plan and all(g.what.layer is None and g.what.component != "neurons" for g in guesses)  # fmt: skip
    return Evidence(
        "patching-preview",
        ("cell", f"previewed_effect_{unit(q.measure)}", f"exact_effect_{unit(q.measure)}", "missed"),
        rows,
        script(view, f"{imports}\nfrom interp.attribution_patching import preview", code, run=False),
        lens_script(view, "", _lens_preview(q, [g.what.component for g in guesses])) if plain else "",
        facts(view, q) | {"method": method, "threshold": preview.THRESHOLD, "gap": guesses[0].gap},
    )


def _lens_preview(q: Question, parts: list[str]) -> str:
    base, source = ("corrupted", "clean") if q.mode == "denoise" else ("clean", "corrupted")
    axes = {"pattern": (0, 2, 3)} | {name: (0, 1, 3) for name in ("q", "k", "v", "z", "result")}
    shown = [(HOOKS[part], axes.get(part, (0, 2))) for part in parts]
    return f"""
clean = torch.tensor([{list(q.clean)}])
corrupted = torch.tensor([{list(q.corrupted)}])
{lens_metric(q)}


_, cache = model.run_with_cache({source})
kept = {{}}


def keep(name):
    def hook(x, hook):
        kept[name] = x
        x.retain_grad()
        return x

    return hook


shown = {shown}  # where, and which axes of [batch pos (head) d] are summed over
names = [f"blocks.{{layer}}.{{hook}}" for hook, _ in shown for layer in range(model.cfg.n_layers)]
metric(model.run_with_hooks({base}, fwd_hooks=[(name, keep(name)) for name in names])[0, -1]).backward()
for hook, over in shown:
    for layer in range(model.cfg.n_layers):
        x = kept[f"blocks.{{layer}}.{{hook}}"]
        grad = torch.zeros_like(x) if x.grad is None else x.grad
        effect = ((cache[f"blocks.{{layer}}.{{hook}}"] - x) * grad).sum(over).detach()
        print(*(f"{{value:.6f}}" for value in effect.tolist()))
"""


def paths_evidence(view: View) -> Evidence:
    """The metric with the path from each head patched, by both methods."""
    q, ends = pairs.question(view), paths.receivers(view)
    done = [paths.paths(view, q, ends, method) for method in paths.methods(view)]
    rows = [
        (found.method, layer, head, value, value - found.found.base)
        for found in done
        for layer, row in enumerate(found.found.values)
        for head, value in enumerate(row)
    ]
    imports, metric = metric_code(q)
    base, source = ("corrupted", "clean") if q.mode == "denoise" else ("clean", "corrupted")
    listed = ", ".join(f"Receiver({r.layer}, {r.head}, {r.input!r})" for r in ends)
    code = f"""
{pair_code(view, q)}
{metric}
for method in {tuple(found.method for found in done)}:
    found = sweep(model, {base}, {source}, metric, [{listed}], method=method, plan=plan)
    for row in found.values.tolist():
        print(*(f"{{value:.6f}}" for value in row))
"""
    return Evidence(
        "patching-paths",
        ("method", "layer", "head", f"metric_{unit(q.measure)}", f"effect_{unit(q.measure)}"),
        rows,
        script(view, f"{imports}\nfrom interp.path_patching import Receiver, sweep", code, run=False),
        "",
        facts(view, q) | {"receivers": [vars(r) for r in ends], "labels": {d.method: d.result.label for d in done}},
    )


def noise_evidence(view: View) -> Evidence:
    """The metric with each state restored, a mean over noise samples."""
    *_, found = noise.steps(view)
    what, tokens = noise.asked(view), view.show(pairs.question(view).clean)
    q, (start, end) = what.question, found.subject
    rows = [(i, j, tokens[j], value) for i, row in enumerate(found.found.values) for j, value in enumerate(row)]
    imports, metric = metric_code(q)
    draw = f"draw_noise(model, {end - start}, {noise.SAMPLES}, {noise.FACTOR}, seed={noise.SEED})"
    code = f"""
{pair_code(view, q)}
{metric}
found = causal_trace(model, clean, ({start}, {end}), metric, {what.component!r}, {what.window}, {draw}, plan)
print(f"clean {{found.clean:.6f}} drowned {{found.corrupted.mean():.6f}}")
for row in found.mean.tolist():
    print(*(f"{{value:.6f}}" for value in row))
"""
    return Evidence(
        "patching-noise",
        ("layer", "position", "token", f"metric_{unit(q.measure)}"),
        rows,
        script(view, f"{imports}\nfrom interp.tracing import causal_trace, draw_noise", code, run=False),
        lens_script(view, "", _lens_noise(q, what, found)) if not q.plan else "",
        facts(view, q) | {"component": what.component, "window": what.window, "subject": [start, end], "samples": noise.SAMPLES, "factor": noise.FACTOR, "sigma": found.sigma, "drowned": found.found.corrupted},
    )  # fmt: skip


def _lens_noise(q: Question, what: noise.TraceKey, found: noise.Trace) -> str:
    start, end = found.subject
    below, above = what.window // 2, -(-what.window // 2)
    return f"""
clean = torch.tensor([{list(q.clean)}])
corrupted = torch.tensor([{list(q.corrupted)}])
{lens_metric(q)}


noise = {noise.FACTOR} * {found.sigma!r} * torch.randn({noise.SAMPLES}, {end - start}, model.cfg.d_model, generator=torch.Generator().manual_seed({noise.SEED}))
_, cache = model.run_with_cache(clean)


def drown(x, hook):
    x = x.clone()
    x[:, {start}:{end}] += noise
    return x


for layer in range(model.cfg.n_layers):
    line = []
    for position in range(clean.shape[1]):

        def restore(x, hook):
            x = x.clone()
            x[:, position] = cache[hook.name][:, position]
            return x

        window = range(max(0, layer - {below}), min(model.cfg.n_layers, layer + {above}))
        hooks = [("hook_embed", drown), *((f"blocks.{{i}}.hook_{what.component}", restore) for i in window)]
        with torch.no_grad():
            logits = model.run_with_hooks(clean.expand({noise.SAMPLES}, -1), fwd_hooks=hooks)[:, -1]
        line.append(sum(metric(row).item() for row in logits) / len(logits))
    print(*(f"{{value:.6f}}" for value in line))
"""


def set_evidence(view: View) -> Evidence:
    """Every cell's effect on every pair, and its interval."""
    *_, found = sets.steps(view)
    what, r = sets.asked(view), found.result
    rows = [
        (prompt, layer, column, r.values[i, layer, column].item())
        for i, prompt in enumerate(r.prompts)
        for layer in range(r.values.shape[1])
        for column in range(r.values.shape[2])
    ]
    options = "".join(f", {name}={value!r}" for name, value in SET_OPTIONS.get(what.name, {}).items())
    groups = f", n_groups={exact.GROUPS}" if what.part == "neurons" else ""
    code = f"""
drawn = prompt_sets.build({what.name!r}, model.tokenizer, {what.count}, 0{options})
found = over_set(model, drawn, patched({what.part!r}, mode={what.mode!r}{groups}), plan=plan, bos={what.bos})
for mean, low, high in zip(found.mean.tolist(), found.interval.low.tolist(), found.interval.high.tolist()):
    print(*(f"{{m:.6f}} [{{a:.6f}} {{b:.6f}}]" for m, a, b in zip(mean, low, high)))
"""
    facts = {
        "set": what.name, "pairs": what.count, "part": what.part, "mode": what.mode, "corruption": r.corruption,
        "interval": {"level": r.interval.level, "method": r.interval.method, "mean": r.mean.tolist(), "low": r.interval.low.tolist(), "high": r.interval.high.tolist()},
        "clean": r.clean.tolist(), "corrupted": r.corrupted.tolist(), "provenance": r.provenance.to_dict(),
    }  # fmt: skip
    return Evidence(
        f"patching-set-{what.name}",
        ("prompt", "layer", "group" if what.part == "neurons" else "head", f"effect_{unit(r.metric)}"),
        rows,
        script(view, "from interp import prompt_sets\nfrom interp.over_set import over_set, patched", code, run=False),
        "",
        facts,
    )
