"""What the panels about one neuron hand out: tables, and scripts that compute them again."""

from app.evidence import Evidence
from app.service import attribution
from app.service import neurons as service
from app.service.scripts import lens_script, script
from app.service.steering_evidence import MOVED, moved_rows, moved_script
from app.service.view import View
from interp.edits import Plan


def _facts(view: View) -> dict:
    layer, neuron = service.chosen(view)
    return {"layer": layer, "neuron": neuron, "position": view.position, "provenance": view.run.provenance.to_dict()}


def ranked_evidence(view: View) -> Evidence:
    """The list of neurons."""
    found, facts = service.ranked(view), {"position": view.position, "provenance": view.run.provenance.to_dict()}
    if found.token is not None:
        panel = attribution.neurons_evidence(view, attribution.wanted(view, "", ""))
        rows = [(f"L{layer}N{n}", value) for (layer, n), value in zip(found.places, found.values)]
        return Evidence(
            "neurons-effect", ("neuron", "logits"), rows, panel.code, panel.lens_code, facts | {"token": found.token}
        )
    code = f"""
hook = compile_plan(model, plan, bos={view.state.bos})
table = activations_at(model, run.tokens, {view.position}, hook=hook)
top = table.flatten().topk({service.LISTED})
for place, value in zip(top.indices.tolist(), top.values.tolist()):
    print(f"L{{place // table.shape[1]}}N{{place % table.shape[1]}} {{value:.5f}}")
"""
    lens_code = f"""
_, cache = model.run_with_cache(tokens)
table = torch.stack([cache[f"blocks.{{layer}}.mlp.hook_post"][0, {view.position}] for layer in range(model.cfg.n_layers)])
top = table.flatten().topk({service.LISTED})
for place, value in zip(top.indices.tolist(), top.values.tolist()):
    print(f"L{{place // table.shape[1]}}N{{place % table.shape[1]}} {{value:.5f}}")
"""
    imports = "from interp.intervene import compile_plan\nfrom interp.neurons import activations_at"
    rows = [(f"L{layer}N{n}", value) for (layer, n), value in zip(found.places, found.values)]
    made = script(view, imports, code), lens_script(view, "", lens_code)
    return Evidence("neurons-activation", ("neuron", "activation"), rows, *made, facts)


def prompt_evidence(view: View) -> Evidence:
    """The neuron's activation at every position of the prompt, and the tokens that it raises and lowers."""
    (layer, neuron), values, ends = service.chosen(view), service.here(view), service.said(view).ends
    rows = [("prompt", pos, text, value, "activation") for pos, (text, value) in enumerate(zip(view.shown, values))]
    for side, ids, effects in (("raises", ends.up_ids, ends.up_values), ("lowers", ends.down_ids, ends.down_values)):
        told = zip(ids[0].tolist(), effects[0].tolist())
        rows += [
            (side, id, view.show([id])[0], value, "logits per unit of activation at a final LayerNorm scale of 1")
            for id, value in told
        ]
    name = f"blocks.{layer}.mlp.hook_post"
    code = f"""
run = trace(model, {view.state.prompt!r}, plan, bos={view.state.bos}, names_filter=[{name!r}])
for token, value in zip(run.strings, run.activations[{name!r}][:, {neuron}].tolist()):
    print(f"{{token!r:>16}} {{value:.5f}}")
effect = neuron_effect(model, {layer}, {neuron})
for side, ids, values in (("raises", effect.up_ids, effect.up_values), ("lowers", effect.down_ids, effect.down_values)):
    for token, value in zip(model.tokenizer.strings(ids.tolist()), values.tolist()):
        print(f"{{side}} {{token!r}} {{value:.4f}}")
"""
    lens_code = f"""
_, cache = model.run_with_cache(tokens)
for value in cache[{name!r}][0, :, {neuron}].tolist():
    print(f"{{value:.5f}}")
"""
    made = script(view, "from interp import trace\nfrom interp.weights import neuron_effect", code, run=False)
    columns = ("what", "position_or_id", "token", "value", "unit")
    return Evidence("neuron", columns, rows, made, lens_script(view, "", lens_code), _facts(view))


def fired_evidence(view: View, own: str | None) -> Evidence:
    """The contexts of the highest activations, and the histogram. Raises ValueError where the text was not read yet."""
    found = service.fired_at_hand(view, own)
    if found is None:
        raise ValueError("The text is not read yet; press the button first.")
    (layer, neuron), bars = service.chosen(view), service.histogram(view, found.top)
    rows = [("place", c.position, float(c.activations[c.peak]), "".join(c.strings)) for c in found.contexts]
    rows += [("bin", float(edge), int(count), "") for edge, count in zip(bars.edges, bars.counts)]
    sample = service.text_of(own) == service.text_of(None)
    read = 'open("assets/sample.txt", encoding="utf-8").read()' if sample else repr(service.text_of(own))
    code = f"""
text = {read}
top = top_activations(model, text, {layer}, k={service.PLACES}, bos={view.state.bos}, plan=plan)
print(f"mean {{top.mean[{neuron}]:.5f}}, above zero {{top.active[{neuron}]:.5f}}")
for context in contexts(model, top, {neuron}):
    print(f"{{context.activations[context.peak]:.5f}} {{''.join(context.strings)!r}}")
"""
    made = script(view, "from interp.neurons import contexts, top_activations", code, run=False)
    top = found.top
    facts = {"mean": float(top.mean[neuron]), "above_zero": float(top.active[neuron]), "tokens": len(top.tokens)}
    return Evidence("neuron-text", ("what", "where", "value", "text"), rows, made, "", _facts(view) | facts)


def held_evidence(view: View) -> Evidence:
    """The next tokens that move when the neuron is held."""
    found, edit = service.held(view), service.edit_of(view)
    made = f"edit = Plan.from_json({Plan((edit,)).to_json()!r}).edits[0]\nplan = Plan.from_json({service.without_it(view).to_json()!r})"
    lens_code = f"""
def hold(x, hook):
    x = x.clone()
    x[..., {edit.neuron}] = {edit.value}
    return x

before, after = model(tokens), model.run_with_hooks(tokens, fwd_hooks=[({edit.hook_name!r}, hold)])
p, q = (logits[0, {view.position}].float().log_softmax(-1) for logits in (before, after))
print(f"KL {{(p.exp() * (p - q)).sum().item() / 0.6931471805599453:.5f}} bits")
"""
    scripts = moved_script(view, made), lens_script(view, "", lens_code)
    return Evidence("neuron-held", MOVED, moved_rows(view, found), *scripts, _facts(view) | {"kl_bits": found.kl})
