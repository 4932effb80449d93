"""What the circuits panel hands out: every node or edge that was tried with its effect, and the script that searches again."""

from app.evidence import Evidence
from app.service import circuits as service
from app.service.circuits import Found, Task
from app.service.scripts import script
from app.service.view import View


def circuit_evidence(view: View) -> Evidence:
    """The finished search. Raises ValueError where there is none yet."""
    found, asked = service.known(view), service.task(view)
    if found is None:
        raise ValueError("This circuit has not been searched yet; start the search, then save it.")
    rows = [(n, one.thing.label, one.effect, one.kept, one.kl) for n, one in enumerate(found.tried, 1)]
    point = service.exact(view, found, service.cut_of(view.state, found))
    c = found.circuit
    facts = {
        "task": asked.name, "prompts": len(asked), "level": found.level, "tau": found.tau, "metric": asked.measure,
        "left_out": "takes its value from the corrupted prompts (resample ablation)", "corruption": asked.corruption, "source": asked.source,
        "size": c.size, "of": c.total, "kl": c.kl, "faithfulness": c.faithfulness, "rest": c.rest_faithfulness, "ratio": c.ratio,
        "curve": [[p.threshold, p.size, p.kl, p.share] for p in found.curve],
        "shown": {"threshold": point.threshold, "size": point.size, "kl": point.kl, "share": point.share},
        "check": {"name": c.check.name, "residual": c.check.residual, "tolerance": c.check.tolerance},
        "provenance": c.provenance.to_dict(),
    }  # fmt: skip
    columns = ("turn", found.level, "effect_nats", "kept", "kl_after_nats")
    return Evidence(f"circuit-{asked.name}", columns, rows, _code(view, found, asked), "", facts)


def _code(view: View, found: Found, asked: Task) -> str:
    cut = service.cut_of(view.state, found)
    body = f"""
clean = torch.tensor({asked.clean.tolist()}, device=model.cfg.device)
corrupted = torch.tensor({asked.corrupted.tolist()}, device=model.cfg.device)
metric = answer_metric({asked.measure!r}, {[list(x) for x in asked.correct]}, {[list(x) for x in asked.wrong]})
for step in discover(model, clean, corrupted, metric, {found.tau}, {found.level!r}, plan, {view.state.bos}):
    print(f"{{step.tried.label:>24}} {{step.effect:12.6f}} {{'kept' if step.kept else 'left out'}}")
found = step.circuit
print("size", found.size, "of", found.total, "kl", found.kl, "faithfulness", found.faithfulness, "rest", found.rest_faithfulness)
"""
    alive = "kept = kept if EMBED in kept else []\n"
    if found.level == "edge":
        alive = "alive = reached(kept)  # what nothing clean reaches writes corrupted values, kept or not\nkept = [edge for edge in kept if edge.sender in alive]\n"
    if cut > found.tau:
        body += f"""
kept = [thing for thing, effect in found.effects.items() if effect >= {cut}]  # the threshold that is shown
{alive}logits = circuit_logits(model, clean, corrupted, kept, {found.level!r}, plan, {view.state.bos})
whole = circuit_logits(model, clean, corrupted, all_nodes(model.cfg), "node", plan, {view.state.bos})
values = [evaluate(metric, x).mean().item() for x in (logits, whole, circuit_logits(model, clean, corrupted, [], "node", plan, {view.state.bos}))]
print("at {cut}: size", len(kept), "kl", divergence(whole, logits), "share", (values[0] - values[2]) / (values[1] - values[2]))
"""
    imports = "import torch\nfrom interp.circuits import EMBED, all_nodes, circuit_logits, discover, divergence\nfrom interp.metrics import answer_metric, evaluate"
    imports += "\nfrom interp.circuit_graph import reached" if found.level == "edge" else ""
    return script(view, imports, body, run=False)
