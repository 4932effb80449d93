"""The lens tab's patchscopes: what a hidden state says when it is put into another prompt."""

from dataclasses import dataclass

from app.evidence import Evidence
from app.service.scripts import script
from app.service.view import View
from interp.patchscope import IDENTITY, Patchscope, patchscope

BOOKS = "He said to the"  # a target prompt that the embedded models go on with; they cannot follow the paper's
AT_ONCE = 4e9  # parameters times tokens up to which a patchscope is computed without being asked


@dataclass(frozen=True)
class Places:
    """Where a hidden state is taken from and put: layers count the blocks before which it is read, positions the tokens."""

    from_layer: int
    into: str
    into_layer: int
    new_tokens: int


def places(view: View, from_layer: int, into: str, into_layer: int, new_tokens: int) -> Places:
    """The choices as this model has them: "" is a target prompt that suits it, layers stop at its last."""
    n = view.config.n_layers
    suited = BOOKS if view.entry.state == "embedded" else IDENTITY
    return Places(min(from_layer, n), into or suited, min(into_layer, n - 1), new_tokens)


def _key(view: View, at: Places) -> tuple:
    s = view.state
    return s.model, "patchscope", s.prompt, s.bos, s.plan, view.position, at


def put_in(view: View, at: Places) -> Patchscope:
    """What the model writes with the selected position's state in place of the target prompt's last one."""
    s, last = view.state, view.config.n_ctx

    def compute() -> Patchscope:
        tokens = min(at.new_tokens, last)
        where = {"plan": s.plan, "bos": s.bos, "max_new_tokens": tokens}
        return patchscope(view.model, s.prompt, view.position, at.from_layer, at.into, -1, at.into_layer, **where)

    return view.store.result(_key(view, at), compute)


def known(view: View, at: Places) -> bool:
    """Whether a patchscope has been computed, or takes no more than a moment."""
    quick = sum(p.numel() for p in view.model.parameters()) * (len(view.run) + at.new_tokens) <= AT_ONCE
    return quick or view.store.peek(_key(view, at)) is not None


def patchscope_evidence(view: View, at: Places) -> Evidence:
    """The next tokens with and without the state, and what prints them."""
    found, strings, s = put_in(view, at), view.model.tokenizer.strings, view.state
    pairs = (("with", found.top_ids, found.top_probabilities), ("without", found.baseline_ids, found.baseline_probabilities))
    rows = [(name, strings([i])[0], i, p) for name, ids, ps in pairs for i, p in zip(ids.tolist(), ps.tolist())]
    code = f"""
found = patchscope(
    model, {s.prompt!r}, {view.position}, {at.from_layer}, {at.into!r}, -1, {at.into_layer},
    max_new_tokens={at.new_tokens}, plan=plan, bos={s.bos},
)
for ids, ps in ((found.top_ids, found.top_probabilities), (found.baseline_ids, found.baseline_probabilities)):
    for i, p in zip(ids.tolist(), ps.tolist()):
        print(f"{{p:.6f}} {{model.tokenizer.strings([i])[0]!r}}")
print("with the state:", repr(found.text))
print("without:       ", repr(found.baseline))
"""
    facts = {"from": [view.position, at.from_layer], "into": [at.into, at.into_layer], "text": found.text}
    facts |= {"baseline": found.baseline, "check": found.check.residual, "provenance": view.run.provenance.to_dict()}
    columns = ("state", "token", "id", "probability")
    return Evidence(
        "patchscope", columns, rows, script(view, "from interp.patchscope import patchscope", code, run=False), "", facts
    )
