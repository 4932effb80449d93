"""Directions without a prompt: the difference of two tokens, and what a head's matrices read and write, in words of the vocabulary."""

from dataclasses import dataclass

from app.evidence import Evidence
from app.service.lens import one_token
from app.service.scripts import script
from app.service.view import View
from app.setting import Setting
from interp.weights import Ends, SingularVectors, embedding, singular_vectors, vector_effect

KIND = Setting("neurons.direction", "tokens", one_of=("tokens", "OV", "QK"))
PLUS, MINUS = Setting("neurons.plus", " said"), Setting("neurons.minus", " went")
RANK = Setting("neurons.singular", 0, low=0, high=7)
K = 8


@dataclass(frozen=True)
class Directions:
    """Lists of tokens that stand for a direction. size: a length or a singular value; share: of all squared singular values, or None."""

    lists: tuple[tuple[str, Ends], ...]  # the name of a side, and its tokens
    size: float
    share: float | None
    words: tuple[str, ...] = ()


def directions(view: View) -> Directions:
    """The direction that is chosen. Raises ValueError where a token is not one."""
    kind, s = KIND.of(view.state), view.state
    if kind == "tokens":
        ids = tokens(view)
        compute = lambda: _of_tokens(view, ids)  # noqa: E731
        return view.store.result((s.model, "token direction", *ids), compute)
    found = vectors(view, kind)
    rank = min(RANK.of(s), len(found.left) - 1)
    squares = found.singular_values**2
    row = lambda ends: Ends(ends.up_ids[rank], ends.up_values[rank], ends.down_ids[rank], ends.down_values[rank])  # noqa: E731
    sides = (
        (("query", found.read), ("key", found.written)) if kind == "QK" else (("read", found.read), ("written", found.written))
    )
    lists = tuple((name, row(ends)) for name, ends in sides)
    return Directions(lists, found.singular_values[rank].item(), (squares[rank] / squares.sum()).item())


def vectors(view: View, kind: str) -> SingularVectors:
    """The strongest directions of the selected head's W_OV or W_QK, read through the vocabulary."""
    key = (view.state.model, "singular vectors", kind, view.layer, view.head)
    return view.store.result(key, lambda: singular_vectors(view.model, view.layer, view.head, kind, n=8, k=K))


def tokens(view: View) -> tuple[int, int]:
    """The two tokens whose embeddings are compared."""
    return tuple(one_token(view.model.tokenizer, setting.of(view.state)) for setting in (PLUS, MINUS))


def _of_tokens(view: View, ids: tuple[int, int]) -> Directions:
    """The nearest tokens to the difference of two embeddings, and what it would say at the output."""
    table = embedding(view.model)
    difference = table[ids[0]] - table[ids[1]]
    if not difference.norm() > 0:
        raise ValueError("The two tokens are the same, so there is no direction; change one of them.")
    like = table @ difference / table.norm(dim=-1).clamp(min=1e-30) / difference.norm()
    near, far = like.topk(K), like.topk(K, largest=False)
    out = vector_effect(view.model, difference[None], K)
    flat = Ends(out.up_ids[0], out.up_values[0], out.down_ids[0], out.down_values[0])
    lists = (("like", Ends(near.indices, near.values, far.indices, far.values)), ("output", flat))
    return Directions(lists, difference.norm().item(), None, tuple(view.show(ids)))


SHOW = """
def show(name, ids, values):
    for token, value in zip(model.tokenizer.strings(ids.tolist()), values.tolist()):
        print(f"{name} {value:.5f} {token!r}")

"""


def evidence(view: View) -> Evidence:
    """The tokens at both ends of both sides."""
    found, kind = directions(view), KIND.of(view.state)
    says = "logits at a final LayerNorm scale of 1"
    units = {"like": "cosine", "output": says, "written": "product with the embedding" if kind == "QK" else says}
    rows = [
        (side, end, id, view.show([id])[0], value, units.get(side, "product with the embedding"))
        for side, ends in found.lists
        for end, ids, values in (("up", ends.up_ids, ends.up_values), ("down", ends.down_ids, ends.down_values))
        for id, value in zip(ids.tolist(), values.tolist())
    ]
    if kind == "tokens":
        plus, minus = tokens(view)
        imports, code = "from interp.weights import embedding, vector_effect", f"""{SHOW}
table = embedding(model)
difference = table[{plus}] - table[{minus}]
print(f"length {{difference.norm().item():.5f}}")
like = table @ difference / table.norm(dim=-1) / difference.norm()
near, far, out = like.topk({K}), like.topk({K}, largest=False), vector_effect(model, difference[None], {K})
show("like up", near.indices, near.values)
show("like down", far.indices, far.values)
show("output up", out.up_ids[0], out.up_values[0])
show("output down", out.down_ids[0], out.down_values[0])
"""  # fmt: skip
    else:
        rank = min(RANK.of(view.state), view.config.d_head - 1)
        imports, code = "from interp.weights import singular_vectors", f"""{SHOW}
found = singular_vectors(model, {view.layer}, {view.head}, {kind!r}, n=8, k={K})
print(f"length {{found.singular_values[{rank}].item():.5f}}")
for name, ends in (("read", found.read), ("written", found.written)):
    show(f"{{name}} up", ends.up_ids[{rank}], ends.up_values[{rank}])
    show(f"{{name}} down", ends.down_ids[{rank}], ends.down_values[{rank}])
"""  # fmt: skip
    facts = {"kind": kind, "size": found.size, "share": found.share, "layer": view.layer, "head": view.head}
    facts |= {"provenance": view.run.provenance.to_dict()}
    columns = ("side", "end", "id", "token", "value", "unit")
    return Evidence("directions", columns, rows, script(view, imports, code, run=False), "", facts)
