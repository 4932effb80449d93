"""What the panels of a head's card hand out: the numbers shown, as a table, and scripts that compute them again."""

from app.evidence import Evidence
from app.service.heads_card import ABOVE_CHANCE, MODES, circle, damage, taken_over
from app.service.heads_evidence import facts
from app.service.heads_prompt import METHOD, WINDOWS, rivals
from app.service.heads_scripts import ablation_lines, prompt_lines, reference_lines
from app.service.heads_weights import (
    DIRECTIONS,
    LOWEST,
    PAIRS,
    WORDS,
    directions,
    eigenvalues,
    energy,
    find_pairs,
    of_head,
    options,
)
from app.service.scripts import lens_script, script
from app.service.staged import finished
from app.service.view import View


def damage_evidence(view: View) -> Evidence:
    """The prediction without the head, three ways."""
    found = finished(view, damage(view, view.run))
    rows = [("none", found.logit, found.p, 0.0), *((w.method, w.logit, w.p, w.kl) for w in found.ways)]
    code = f"""
{prompt_lines(view)}{reference_lines(view)}
many = tokens.expand({WINDOWS}, -1)
ways = {{"zero": (tokens, Ablation.zero()), "mean": (tokens, Ablation.mean(reference)), "resample": (many, Ablation.resample(reference))}}
logit, before = run.logits[{view.position}, {found.first}].item(), run.logits[{view.position}].log_softmax(-1)
print(f"     none logit {{logit:.4f}} p {{before[{found.first}].exp().item():.4f}} KL {{0:.4f}}")
for name, (rows, ablation) in ways.items():
    logits = ablate(model, rows, [Part.head({view.layer}, {view.head})], ablation, plan=plan, bos={view.state.bos})
    after = logits.log_softmax(-1)
    kl = (before.exp() * (before - after)).sum(-1).mean().item()
    print(f"{{name:>9}} logit {{logits[:, {found.first}].mean().item():.4f}} p {{after[:, {found.first}].exp().mean().item():.4f}} KL {{kl:.4f}}")
"""
    made = script(view, "import torch\nfrom interp.ablation import Ablation, Part, ablate", code)
    lens = f"""
tokens = tokens[:, : {view.position + 1}]

def zero(z, hook):
    z = z.clone()
    z[:, :, {view.head}] = 0
    return z

before = model(tokens)[0, -1].log_softmax(-1)
logits = model.run_with_hooks(tokens, fwd_hooks=[("blocks.{view.layer}.attn.hook_z", zero)])[0, -1]
after = logits.log_softmax(-1)
kl = (before.exp() * (before - after)).sum().item()
print(f"     zero logit {{logits[{found.first}].item():.4f}} p {{after[{found.first}].exp().item():.4f}} KL {{kl:.4f}}")
"""
    name = f"L{view.layer}H{view.head}-knocked-out"
    return Evidence(name, ("ablation", "logit", "probability", "kl_nats"), rows, made, lens_script(view, "", lens), facts(view))


def compensation_evidence(view: View) -> Evidence:
    """All other heads' direct effects, before and after."""
    found, two = finished(view, taken_over(view)), rivals(view)
    rows = [(g.part.label, g.before, g.after, g.change) for g in found.grown()]
    copies = WINDOWS if METHOD.of(view.state) == "resample" else 1
    code = f"""
{ablation_lines(view)}metric = answer_metric("logit_difference", [[{two.first}]] * {copies}, [[{two.second}]] * {copies})
parts = [Part.head({view.layer}, {view.head})]
found = compensation(model, tokens, metric, parts, ablation, plan=plan, bos={view.state.bos})
for grown in found.grown():
    print(f"{{grown.part.label:>7}} {{grown.before:.4f}} -> {{grown.after:.4f}}, change {{grown.change:.4f}}")
"""
    imports = "import torch\nfrom interp.ablation import Ablation, Part\nfrom interp.compensation import compensation\nfrom interp.metrics import answer_metric"
    more = {"lost": found.lost.mean().item(), "drop": found.drop.mean().item(), "repaired": found.repaired}
    name = f"L{view.layer}H{view.head}-compensation"
    return Evidence(
        name,
        ("head", "direct_effect_before_logits", "direct_effect_after_logits", "change_logits"),
        rows,
        script(view, imports, code),
        "",
        facts(view, **more),
    )


def circle_evidence(view: View) -> Evidence:
    """The heads it composes with, above chance."""
    found = finished(view, circle(view))
    rows = [
        (side, f"L{n.layer}H{n.head}", n.mode, n.score, n.above) for side in ("earlier", "later") for n in getattr(found, side)
    ]
    code = f"""
for mode in {MODES}:
    found = neighbours(model, {view.layer}, {view.head}, mode)
    for side, table in (("earlier", found.earlier), ("later", found.later)):
        above = (table - found.baseline) / found.baseline_std
        for layer, head in (above >= {ABOVE_CHANCE}).nonzero().tolist():
            print(f"{{side:>7}} L{{layer}}H{{head}} {{mode}} {{table[layer, head].item():.4f}} {{above[layer, head].item():.4f}}")
"""
    made = script(view, "from interp.weights_composition import neighbours", code, run=False)
    columns = ("side", "head", "composition", "score", "deviations_above_chance")
    chance = {"baseline": found.baseline, "baseline_std": found.baseline_std}
    return Evidence(f"L{view.layer}H{view.head}-neighbours", columns, rows, made, "", facts(view, **chance))


def pairs_evidence(view: View, circuit: str) -> Evidence:
    """The strongest pairs of tokens over the whole vocabulary."""
    *_, found = find_pairs(view, circuit)
    left, right = (view.model.tokenizer.strings(ids.tolist()) for ids in (found.left, found.right))
    rows = list(zip(left, right, found.values.tolist()))
    given = "".join(f", {name}={value}" for name, value in options(view).items())
    code = f"""
found = top_pairs(model, {view.layer}, {view.head}, "{circuit}", {PAIRS}, {not LOWEST.of(view.state)}{given})
left, right = (model.tokenizer.strings(ids.tolist()) for ids in (found.left, found.right))
for a, b, value in zip(left, right, found.values.tolist()):
    print(f"{{value:.4f}} {{a!r}} {{b!r}}")
"""
    columns = ("source", "output", "value") if circuit == "OV" else ("query", "key", "value")
    made = script(view, "from interp.weights_pairs import top_pairs", code, run=False)
    more = {"circuit": circuit, "looked_at": found.looked_at, **options(view)}
    return Evidence(f"L{view.layer}H{view.head}-{circuit}-pairs", columns, rows, made, "", facts(view, **more))


def directions_evidence(view: View, circuit: str) -> Evidence:
    """The singular vectors, read through the vocabulary."""
    found, shares = finished(view, directions(view, circuit)), None
    shares = energy(found)
    strings = view.model.tokenizer.strings
    rows = [
        (i + 1, found.singular_values[i].item(), shares[i], " | ".join(strings(r.tolist())), " | ".join(strings(w.tolist())))
        for i, (r, w) in enumerate(zip(found.read.up_ids, found.written.up_ids))
    ]
    given = "".join(f", {name}={value}" for name, value in options(view).items())
    code = f"""
found = singular_vectors(model, {view.layer}, {view.head}, "{circuit}", {DIRECTIONS}, {WORDS}{given})
shares = found.singular_values**2 / (found.singular_values**2).sum()
for value, share, read, written in zip(found.singular_values.tolist(), shares.tolist(), found.read.up_ids, found.written.up_ids):
    print(f"{{value:.4f}} {{share:.4f}}", model.tokenizer.strings(read.tolist()), "->", model.tokenizer.strings(written.tolist()))
"""
    made = script(view, "from interp.weights import singular_vectors", code, run=False)
    columns = ("direction", "singular_value", "share", "reads", "writes")
    more = {"circuit": circuit, **options(view)}
    return Evidence(f"L{view.layer}H{view.head}-{circuit}-directions", columns, rows, made, "", facts(view, **more))


def eigenvalues_evidence(view: View) -> Evidence:
    """The eigenvalues of what the head copies."""
    found = of_head(view, finished(view, eigenvalues(view)))
    rows = [(value.real, value.imag) for value in found.values.tolist()]
    given = "".join(f", {name}={value}" for name, value in options(view).items())
    code = f"""
found = copying(model{given})
print(f"{{found.scores[{view.layer}, {view.head}].item():.4f}}")
for value in found.eigenvalues[{view.layer}, {view.head}].tolist():
    print(f"{{value.real:.4f}} {{value.imag:.4f}}")
"""
    made = script(view, "from interp.weights import copying", code, run=False)
    more = {"score": found.score, **options(view)}
    return Evidence(f"L{view.layer}H{view.head}-copying", ("real", "imaginary"), rows, made, "", facts(view, **more))
