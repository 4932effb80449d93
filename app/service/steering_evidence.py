"""What the panels of the Steering tab hand out: tables, and scripts that compute them again."""

from app.evidence import Evidence
from app.service import steering, steering_text
from app.service.scripts import lens_script, script
from app.service.view import View
from interp.edits import Edit, Plan
from interp.intervene import paired_texts
from interp.steering_effect import Shift

EDITS = "from interp.edits import Plan"


def _edit(view: View) -> str:
    """The line that makes the edit under trial, and the plan without it."""
    edit, base = steering.tried(view), steering.without_it(view)
    lines = [f"edit = Plan.from_json({Plan((edit,)).to_json()!r}).edits[0]  # {edit.describe()[:80]!r}"]
    if base != view.state.plan:
        lines.append(f"plan = Plan.from_json({base.to_json()!r})  # without it")
    return "\n".join(lines)


def _facts(view: View) -> dict:
    return {
        "edit": steering.tried(view).describe(),
        "plan_before": steering.without_it(view).to_json(),
        "provenance": steering.plain(view).provenance.to_dict(),
    }


def _asked(view: View) -> str:
    return f"{view.state.prompt!r}"


def aim_evidence(view: View) -> Evidence:
    """The tokens that the direction raises and lowers, by row of the direction; where the two texts agree there is no direction."""
    found, show = steering.direction(view), view.show
    sides = (("raised", found.ends.up_ids, found.ends.up_values), ("lowered", found.ends.down_ids, found.ends.down_values))
    rows = [
        (row, side, id, show([id])[0], value)
        for row, norm in enumerate(found.norms.tolist())
        if norm > 0
        for side, ids, values in sides
        for id, value in zip(ids[row].tolist(), values[row].tolist())
    ]
    code = f"""
{_edit(view)}
found = aim(model, {_asked(view)}, edit, plan=plan, bos={view.state.bos})
print(f"length of the activation there: {{found.residual:.4f}}")
ends = found.ends
for row, length in enumerate(found.norms.tolist()):
    print(f"row {{row}}: length {{length:.4f}}")
    for ids, values in ((ends.up_ids, ends.up_values), (ends.down_ids, ends.down_values)) if length > 0 else ():
        for token, value in zip(model.tokenizer.strings(ids[row].tolist()), values[row].tolist()):
            print(f"{{value:+.5f}} {{token!r}}")
"""
    return Evidence(
        "steering-direction",
        ("row", "side", "id", "token", "logit_per_unit"),
        rows,
        script(view, "from interp.steering_effect import aim", code, run=False),
        _lens(view, _AIM),
        _facts(view) | {"lengths": found.norms.tolist(), "length_of_the_activation": found.residual},
    )


def shift_evidence(view: View) -> Evidence:
    """The tokens that moved, with their probabilities."""
    found = steering.moved(view)
    return Evidence(
        "steering-next-token",
        MOVED,
        moved_rows(view, found),
        moved_script(view, _edit(view)),
        _lens(view, _SHIFT.format(position=view.position)),
        _facts(view) | {"kl_bits": found.kl, "position": view.position},
    )


MOVED = ("moved", "id", "token", "probability_before", "probability_after")


def moved_rows(view: View, found: Shift) -> list[tuple]:
    """The tokens that rose and fell, as a table."""
    sides = (
        ("up", found.up_ids, found.up_before, found.up_after),
        ("down", found.down_ids, found.down_before, found.down_after),
    )
    return [
        (side, id, view.show([id])[0], p, q)
        for side, ids, before, after in sides
        for id, p, q in zip(ids.tolist(), before.tolist(), after.tolist())
    ]


def moved_script(view: View, edit: str) -> str:
    """A script that prints them. edit: the lines that make `edit`, and `plan` where that is not the page's."""
    code = f"""
{edit}
before, after = (trace(model, {_asked(view)}, p, bos={view.state.bos}) for p in (plan, plan.add(edit)))
found = shift(before, after, position={view.position})
print(f"KL {{found.kl:.5f}} bits")
for ids, p, q in ((found.up_ids, found.up_before, found.up_after), (found.down_ids, found.down_before, found.down_after)):
    for token, a, b in zip(model.tokenizer.strings(ids.tolist()), p.tolist(), q.tolist()):
        print(f"{{token!r:>16}} {{a:.6f}} -> {{b:.6f}}")
"""
    return script(view, "from interp import trace\nfrom interp.steering_effect import shift", code, run=False)


def sweep_evidence(view: View) -> Evidence:
    """The chart by value. Raises ValueError where it is not computed yet."""
    found = steering.sweep_at_hand(view)
    if found is None:
        raise ValueError("The chart is not computed yet; press its button first.")
    tokens = view.show(found.targets)
    names = ("value", *(f"p of {t}" for t in tokens), "surprisal_bits", "kl_bits")
    rows = [(v, *p, s, k) for v, p, s, k in zip(found.values, found.probability.tolist(), found.surprisal, found.kl)]
    if found.control_probability is not None:
        names += (*(f"p of {t}, random direction" for t in tokens), "surprisal_bits, random direction")
        random = zip(found.control_probability.tolist(), found.control_surprisal)
        rows = [(*row, *p, s) for row, (p, s) in zip(rows, random)]
    code = f"""
{_edit(view)}
values, tokens = {[float(v) for v in found.values]}, {list(found.targets)}
found = sweep_values(model, {_asked(view)}, edit, values, tokens, position={view.position}, plan=plan, bos={view.state.bos})
for value, p, bits, kl in zip(values, found.curve.probability.tolist(), found.curve.surprisal.tolist(), found.curve.kl.tolist()):
    print(f"{{value:8.3f}} loss {{bits:.5f}} kl {{kl:.5f}} p {{[round(x, 6) for x in p]}}")
"""
    facts = {"base_surprisal_bits": found.base_surprisal, "base_probability": found.base_probability.tolist()}
    made = script(view, "from interp.steering_effect import sweep_values", code, run=False)
    return Evidence("steering-by-value", names, rows, made, "", _facts(view) | facts)


def text_evidence(view: View) -> Evidence:
    """Both texts, token by token. Raises ValueError where they are not written yet."""
    pair = steering_text.at_hand(view)
    if pair is None:
        raise ValueError("The texts are not written yet; press Write first.")
    sides = (("before", pair.before), ("after", pair.after))
    rows = [(side, i, id, view.show([id])[0], p) for side, text in sides for i, (id, p) in enumerate(zip(text.ids, text.p))]
    asked = ", ".join(f"{name}={value!r}" for name, value in steering_text.settings(view).items())
    code = f"""
{_edit(view)}
for p in (plan, plan.add(edit)):
    hook = compile_plan(model, p, bos={view.state.bos})
    made = generate(model, {_asked(view)}, hook=hook, {asked})
    print(*(f"{{math.exp(logprob):.6f}}" for logprob in made.logprobs))
    print(repr(made.text))
"""
    imports = "import math\nfrom gpt2_core import generate\nfrom interp.intervene import compile_plan"
    made = script(view, imports, code, run=False)
    return Evidence("steering-texts", ("text", "index", "id", "token", "probability"), rows, made, "", _facts(view))


# -- transformer-lens ---------------------------------------------------------------------------------------------------------------

_AIM = """
for row in directions:
    raised = (row * gain) @ (W_U - W_U.mean(-1, keepdim=True)) - row.mean() * (gain @ (W_U - W_U.mean(-1, keepdim=True)))
    print(f"length {row.norm().item():.4f}, raises {raised.topk(10).indices.tolist()}")
"""
_SHIFT = """
before = model(tokens)
after = model.run_with_hooks(tokens, fwd_hooks=[(name, steer)])
p, q = (logits[0, {position}].float().log_softmax(-1) for logits in (before, after))
print(f"KL {{(p.exp() * (p - q)).sum().item() / 0.6931471805599453:.5f}} bits")
moved = q.exp() - p.exp()
for ids in (moved.topk(8).indices, (-moved).topk(8).indices):
    for id in ids.tolist():
        print(f"{{id:>16}} {{p.exp()[id].item():.6f}} -> {{q.exp()[id].item():.6f}}")
"""


def _lens(view: View, body: str) -> str:
    """A transformer-lens script with `name`, `directions` [row d_model] and `steer`; "" where another edit is in force."""
    if steering.without_it(view):
        return ""
    edit = steering.tried(view)
    made = _neuron(edit) if edit.neuron is not None else _of_texts(view, edit)
    norms = "gain, W_U = model.ln_final.weight, model.W_U\n" if body is _AIM else ""
    return lens_script(View(view.store, view.state.but(plan=Plan())), "", f"torch.set_grad_enabled(False)\n{made}{norms}{body}")


def _neuron(edit: Edit) -> str:
    return f"""
name = {edit.hook_name!r}
directions = model.W_out[{edit.layer}, {edit.neuron}][None]

def steer(x, hook):
    x = x.clone()
    x[..., {edit.neuron}] = {edit.value}
    return x

"""


def _of_texts(view: View, edit: Edit) -> str:
    plus, minus = paired_texts(view.model, edit, view.state.bos)
    read = "[0, -1]" if edit.op != "contrast" else "[0]"
    changes = {
        "add": f"x + {edit.value} * directions[0]",
        "contrast": f"torch.cat([x[:, :len(directions)] + {edit.value} * directions[: x.shape[1]], x[:, len(directions) :]], 1)",
        "project": "x - (x @ unit)[..., None] * unit",
        "clamp": f"x + ({edit.value} - x @ unit)[..., None] * unit",
    }
    less = " - sum(map(at, minus)) / len(minus)" if minus else ""
    return f"""
name = {edit.hook_name!r}
plus, minus = {[list(ids) for ids in plus]}, {[list(ids) for ids in minus]}

def at(ids):
    return model.run_with_cache(torch.tensor([ids]))[1][name]{read}

directions = (sum(map(at, plus)) / len(plus){less}).reshape(-1, model.cfg.d_model)
unit = directions[-1] / directions[-1].norm()

def steer(x, hook):
    return {changes[edit.op]}

"""
