"""What the panels about all heads hand out: every score of every head, and the search, as tables and as scripts."""

import numpy as np

from app.evidence import Evidence
from app.service.heads import LENGTH, ON_PROMPT, ROWS, SCORE, SCORES, SEEDS, copy_names, copy_stage, roles_stage, score
from app.service.heads_prompt import METHOD, METRIC, REFERENCE, rivals
from app.service.heads_scripts import ablation_lines, metric_import, metric_lines, prompt_lines
from app.service.heads_search import kept, steps_of
from app.service.scripts import lens_script, script
from app.service.staged import finished
from app.service.view import View

METRIC_UNITS = {"logit_diff": "logits", "log_probability": "nats", "kl": "nats"}
PRINT_TABLE = 'for layer, row in enumerate(table.tolist()):\n    print(layer, *(f"{x:.4f}" for x in row))\n'


def facts(view: View, **more) -> dict:
    """What the JSON of every panel of the tab says."""
    s = view.state
    return {
        "position": view.position,
        "prediction": view.model.tokenizer.strings([rivals(view).first])[0],
        "ablation": METHOD.of(s),
        "metric": METRIC.of(s),
        "reference": REFERENCE.of(s),
        "weights_circuits": "folded unless said otherwise",
        **more,
        "provenance": view.run.provenance.to_dict(),
    }


def map_evidence(view: View) -> Evidence:
    """The score that is shown, of every head. Raises ValueError for a text of one token where the score needs more."""
    chosen = SCORE.of(view.state)
    if chosen in ON_PROMPT and score(view, chosen) is None:
        raise ValueError("The text has 1 token, and attention statistics need at least 2; add some text.")
    return _scores_evidence(view, (chosen,), _score_in_lens(view, chosen))


def table_evidence(view: View) -> Evidence:
    """Every score of every head, as far as they have been computed."""
    return _scores_evidence(view, tuple(name for name in SCORES if score(view, name) is not None), "")


def _scores_evidence(view: View, names: tuple[str, ...], lens_code: str) -> Evidence:
    tables = [score(view, name) for name in names]
    heads = np.ndindex(view.config.n_layers, view.config.n_heads)
    rows = [(f"L{la}H{h}", *(float("nan") if table is None else table[la, h] for table in tables)) for la, h in heads]
    parts = [_score_lines(view, name) for name in names]
    body = "".join(f"{lines}print({column(view, name)!r})\n{PRINT_TABLE}" for name, (_, lines) in zip(names, parts))
    code = script(view, "\n".join(imports for imports, _ in parts), body)
    columns = ("head", *(column(view, name) for name in names))
    return Evidence("heads", columns, rows, code, lens_code, facts(view, scores=list(names)))


def column(view: View, name: str) -> str:
    """A score's name with its unit."""
    unit = {"knock_out": METRIC_UNITS[METRIC.of(view.state)], "direct": "logits", "entropy": "bits", "distance": "tokens"}.get(
        name
    )
    return f"{name}_{unit}" if unit else name


def _score_lines(view: View, name: str) -> tuple[str, str]:
    """Imports, and the lines that make `table` [layer head]."""
    if name == "knock_out":
        imports = f"import torch\nfrom interp.ablation import Ablation\nfrom interp.knockout import knock_out_search\n{metric_import(view)}"
        call = f"table = knock_out_search(model, tokens, metric, ablation, plan=plan, bos={view.state.bos}).mean_effect\n"
        return imports, ablation_lines(view) + metric_lines(view, view.run) + call
    if name == "direct":
        target = f'logit(model, {rivals(view).first}, minus="mean")'
        return (
            "from interp.attribution import by_head\nfrom interp.targets import logit",
            f"table = by_head(model, run, {target}, {view.position}).heads\n",
        )
    if name in ON_PROMPT:
        return "from interp.attention import patterns, statistics", f"table = statistics(patterns(run)).{name}\n"
    if name == "ov_copying":
        return "from interp.weights import copying", "table = copying(model).scores  # of folded weights\n"
    return role_lines(view, name)


def role_lines(view: View, name: str) -> tuple[str, str]:
    """Imports, and the lines that make `role` and `table`."""
    if name in ("copy", "negative_copy"):
        lines = f"role = copy_role(model, {copy_names(view)}, {SEEDS}, negative={name == 'negative_copy'}, plan=plan)\n"
        return "from interp.roles import copy_role", lines + "table = role.score.mean\n"
    length = min(LENGTH, view.config.n_ctx // 2)
    lines = f'roles = attention_roles(model, {SEEDS}, {ROWS}, {length}, plan)\nrole = next(r for r in roles if r.name == "{name}")\n'
    return "from interp.roles import attention_roles", lines + "table = role.score.mean\n"


def _score_in_lens(view: View, name: str) -> str:
    if name == "knock_out" and METHOD.of(view.state) == "zero" and METRIC.of(view.state) == "logit_diff":
        two = rivals(view)
        return lens_script(
            view,
            "",
            f"""
tokens = tokens[:, : {view.position + 1}]

def difference(logits):
    return (logits[0, -1, {two.first}] - logits[0, -1, {two.second}]).item()

def without(head):
    def zero(z, hook):
        z = z.clone()
        z[:, :, head] = 0
        return z
    return zero

base = difference(model(tokens))
for layer in range(model.cfg.n_layers):
    row = [
        difference(model.run_with_hooks(tokens, fwd_hooks=[(f"blocks.{{layer}}.attn.hook_z", without(head))])) - base
        for head in range(model.cfg.n_heads)
    ]
    print(layer, *(f"{{x:.4f}}" for x in row))
""",
        )
    tables = {
        "sink": "pattern[:, 1:, 0].mean(-1)",
        "entropy": "torch.special.entr(pattern[:, 1:]).sum(-1).mean(-1) / torch.log(torch.tensor(2.0))",
        "distance": "(pattern * back)[:, 1:].sum(-1).mean(-1)",
    }
    if name not in tables:
        return ""
    return lens_script(
        view,
        "",
        f"""
_, cache = model.run_with_cache(tokens)
n = tokens.shape[1]
back = torch.arange(n)[:, None] - torch.arange(n)
for layer in range(model.cfg.n_layers):
    pattern = cache["pattern", layer][0]
    row = {tables[name]}
    print(layer, *(f"{{x:.4f}}" for x in row.tolist()))
""",
    )


def roles_evidence(view: View) -> Evidence:
    """The selected head's role scores with null and threshold."""
    roles = (*finished(view, roles_stage(view, view.state.plan)), *finished(view, copy_stage(view, view.state.plan))[:2])
    at = view.layer, view.head
    rows = [
        (
            r.name,
            *(getattr(x, part)[at].item() for x in (r.score, r.null) for part in ("mean", "low", "high")),
            r.threshold,
            bool(r.given[at]),
        )
        for r in roles
    ]
    columns = ("role", "score", "lowest", "highest", "null", "null_lowest", "null_highest", "threshold", "given")
    length = min(LENGTH, view.config.n_ctx // 2)
    code = f"""
names = {copy_names(view)}
roles = list(attention_roles(model, {SEEDS}, {ROWS}, {length}, plan))
roles += [copy_role(model, names, {SEEDS}, negative, plan) for negative in (False, True)]
for r in roles:
    score, null = ([part[{at}].item() for part in (x.mean, x.low, x.high)] for x in (r.score, r.null))
    print(f"{{r.name:>16}} {{score[0]:.4f}} ({{score[1]:.4f}} to {{score[2]:.4f}})", end=" ")
    print(f"null {{null[0]:.4f}} ({{null[1]:.4f}} to {{null[2]:.4f}}) threshold {{r.threshold:g}} given {{r.given[{at}].item()}}")
"""
    made = script(view, "from interp.roles import attention_roles, copy_role", code, run=False)
    return Evidence(f"L{at[0]}H{at[1]}-roles", columns, rows, made, "", facts(view, seeds=list(SEEDS)))


def search_evidence(view: View) -> Evidence:
    """The greedy search as far as it was finished. Raises ValueError where it was not."""
    found = kept(view)
    if found is None:
        raise ValueError("The search has not been finished; run it first.")
    tokens = [view.model.tokenizer.strings([i])[0] for i in found.tokens]
    rows = [
        (0, "", found.curve[0], ""),
        *((r.number, "L{}H{}".format(*r.head), r.value, token) for r, token in zip(found.rounds, tokens)),
    ]
    imports = f"import torch\nfrom interp.knockout_greedy import greedy_knock_out\n{metric_import(view)}"
    lower = METRIC.of(view.state) != "kl"
    code = f"""
{prompt_lines(view)}{metric_lines(view, view.run)}
for step in greedy_knock_out(model, tokens, metric, {steps_of(view)}, {lower}, plan, {view.state.bos}):
    if step.head is not None:
        if step.number == 1:
            print(0, "none", f"{{step.baseline:.4f}}")
        print(step.number, "L{{}}H{{}}".format(*step.head), f"{{step.value:.4f}}")
"""
    made = script(view, imports, code)
    return Evidence(
        "heads-search",
        ("round", "head", f"metric_{METRIC_UNITS[METRIC.of(view.state)]}", "prediction"),
        rows,
        made,
        "",
        facts(view),
    )
