"""What the scaling tab hands out: the models' readings, the paper's numbers, and the costs."""

from app.evidence import Evidence
from app.service import scaling as service
from app.service.scaling import Reading
from app.service.scripts import script
from app.service.view import View


def readings_evidence(view: View) -> Evidence:
    """What every model that was run made of the prompt."""
    names = [cost.entry.name for cost in service.costs(view.store.entries(), view.store.dtype)]
    known = [reading for name in names if (reading := service.known(view, name)) is not None]
    rows = [row for reading in known for row in _rows(view, reading)]
    code = f"""
for name in {[reading.model for reading in known]}:
    model = load(name, device={view.run.provenance.device!r}, dtype={view.run.provenance.dtype!r})
    run = trace(model, {view.state.prompt!r}, plan.fitting(model.config), bos={view.state.bos})
    top = next_tokens(run, k={service.TOP})
    for i, p in zip(top.ids.tolist(), top.probabilities.tolist()):
        print(f"{{name}} {{p:.6f}} {{model.tokenizer.strings([i])[0]!r}}")
    print(f"{{name}} entropy {{top.entropy:.5f}} bits, surprisal {{token_statistics(run).mean_surprisal if len(run) > 1 else 0:.5f}} bits a token")
"""
    imports = "from interp import trace\nfrom interp.predictions import next_tokens, token_statistics"
    columns = ("model", "rank", "token", "id", "probability", "without_edits", "entropy_bits", "bits_per_token", "seconds")
    facts = {"prompt": view.state.prompt, "plan": view.state.plan.to_json(), "bos": view.state.bos}
    return Evidence("scaling", columns, rows, script(view, imports, code, run=False), "", facts)


def _rows(view: View, reading: Reading) -> list[tuple]:
    before = reading.before or [None] * len(reading.p)
    each = zip(reading.shown, reading.ids, reading.p, before)
    rest = (reading.entropy, reading.bits, reading.seconds)
    return [(reading.model, rank, *row, *rest) for rank, row in enumerate(each, start=1)]


def curve_evidence(view: View, metric: str) -> Evidence:
    """The paper's numbers for a metric."""
    found = service.curve(metric)
    rows = [*found.points, *((name, None, value) for name, value in found.others)]
    rows += [] if found.sota is None else [("best earlier result", None, found.sota)]
    code = f"""
for name, row in results({metric!r}).items():
    print(name, row.value, row.source)
"""
    facts = {"metric": metric, "dataset": found.metric.dataset, "unit": found.metric.unit, "source": found.metric.source}
    code = script(view, "from gpt2_core.tasks.published import results", code, run=False)
    return Evidence(f"published-{metric.replace('_', '-')}", ("model", "parameters", "value"), rows, code, "", facts)


def costs_evidence(view: View, dtype: str) -> Evidence:
    """Parameters, memory and arithmetic of every size, counted from its shape."""
    rows = [
        (c.entry.name, c.n_params, c.weights, c.kv_per_token, c.flops)
        for c in service.costs(view.store.entries(), service.dtype_named(dtype))
    ]
    code = f"""
for entry in available():
    cfg = entry.config
    print(entry.name, cfg.n_params, weight_bytes(cfg, torch.{dtype}), kv_cache_bytes_per_token(cfg, torch.{dtype}), int(forward_flops_per_token(cfg)))
"""
    imports = (
        "import torch\nfrom gpt2_core.accounting import forward_flops_per_token, kv_cache_bytes_per_token, weight_bytes\n"
        "from gpt2_core.checkpoints import available"
    )
    columns = ("model", "parameters", "weight_bytes", "kv_bytes_per_token", "flops_per_token")
    return Evidence("costs", columns, rows, script(view, imports, code, run=False), "", {"dtype": dtype})
