"""What the Playground hands out: the texts token by token, and the script that writes them again."""

from app.evidence import Evidence
from app.service.scripts import lens_script, script
from app.service.view import View
from app.service.writing import Writing


def evidence(view: View, made: Writing | None) -> Evidence:
    """Every token of the texts on the page with the probability it was given.

    made: the texts; None before there are any. The script writes the first column (with the edits, where there are any) again.
    """
    if made is None:
        raise ValueError("There is no text yet; press Generate first.")
    tokenizer, order = view.model.tokenizer, made.order
    rows = [
        ("edited" if order.state.plan and c == 0 else "plain", r, pos, tokenizer.strings([token.id])[0], token.id, token.kind, token.logprob)
        for c, texts in enumerate(made.columns)
        for r, text in enumerate(texts)
        for pos, token in enumerate(text.tokens)
    ]  # fmt: skip
    arguments = "".join(f", {name}={value!r}" for name, value in order.knobs.arguments().items() if value not in (None, ()))
    bos = order.state.bos and order.start is None
    prompt = repr(order.state.prompt) if order.start is None else [token.id for token in order.start]
    code = f"""
out = generate(model, {prompt}{arguments}, bos={bos}, hook=compile_plan(model, plan, bos={order.state.bos}))
for text in out.texts:
    print(text)
"""
    facts = {"settings": order.knobs.arguments(), "finish": [[t.finish for t in texts] for texts in made.columns]}
    facts |= {"generated_by": order.state.model, "provenance": view.run.provenance.to_dict()}
    columns = ("column", "sample", "position", "token", "id", "kind", "logprob_nats")
    imports = "from gpt2_core import generate\nfrom interp.intervene import compile_plan"
    at_page = View(view.store, order.state)
    return Evidence("generated", columns, rows, script(at_page, imports, code, run=False), _greedy(at_page, made), facts)


def _greedy(view: View, made: Writing) -> str:
    """The same with transformer-lens, where nothing is drawn at random and nothing is filtered."""
    knobs = made.order.knobs
    if knobs.temperature or knobs.repetition_penalty != 1 or knobs.stop or made.order.start is not None:
        return ""
    body = f"""
with torch.no_grad():
    for _ in range({knobs.max_new_tokens}):
        tokens = torch.cat([tokens, model(tokens)[:, -1:].argmax(-1)], 1)
print(tokens[0, -{knobs.max_new_tokens}:].tolist())
"""
    return lens_script(view, "", body)
