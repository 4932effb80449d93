"""What may be laid over a head's picture in place of its weights: the vectors that the weights carry (`interp.attention_norms`)."""

from dataclasses import dataclass

import numpy as np
import torch

from app.evidence import Evidence
from app.service import attention as service
from app.service import view as limits
from app.service.scripts import lens_script, script
from app.service.view import View, as_numpy
from interp.attention_norms import AttentionNorms, attention_norms, norm_names
from interp.run import Check, Run, trace

KINDS = ("weights", "value_weighted", "norms")
LEAST = 5e-4  # cells of a long prompt below this are left out of the table
EXACT_UP_TO = 256  # tokens from which on they are


@dataclass(frozen=True)
class Thumbnails:
    """All heads, small, of one kind. pooled: [layer head row column], with or without the first token's column; block: cells per
    pixel and axis; largest: the number at the end of the colours; check: the identity that the numbers fulfil."""

    kind: str
    pooled: np.ndarray
    block: int
    largest: float
    check: Check


def possible(view: View, kind: str) -> bool:
    """Whether a kind can be computed for every head of the prompt within the memory that patterns may take."""
    n, cfg = len(view.run), view.config
    return kind == "weights" or 4 * cfg.n_layers * cfg.n_heads * n * n <= limits.PATTERNS_IN_RUN


def norms(view: View, run: Run) -> AttentionNorms:
    """Value-weighted and norm-based attention of every head of a run of the page."""
    s = view.state

    def compute() -> AttentionNorms:
        wide = trace(view.model, s.prompt, run.plan, s.bos, norm_names(view.config.n_layers))
        return attention_norms(view.model, wide)

    return view.store.result((s.model, "attention norms", s.prompt, s.bos, run.plan), compute)


def thumbnails(view: View, kind: str, hide_first: bool) -> Thumbnails:
    """The grid's pictures. A kind that is too large for this prompt is shown as weights; `kind` of the result says so."""
    found = service.pictures(view)
    if kind == "weights" or not possible(view, kind):
        return Thumbnails("weights", found.pooled_rest if hide_first else found.pooled, found.block, 1.0, found.check)
    s = view.state

    def compute() -> tuple[np.ndarray, float]:
        table = getattr(norms(view, view.run), kind)
        if hide_first:
            table = table.clone()
            table[..., 0] = 0
        pooled = torch.nn.functional.max_pool2d(table.flatten(0, 1), found.block, ceil_mode=True)
        return as_numpy(pooled.unflatten(0, table.shape[:2])), float(table.max()) or 1.0

    pooled, largest = view.store.result((s.model, "norm thumbnails", s.prompt, s.bos, s.plan, kind, hide_first), compute)
    return Thumbnails(kind, pooled, found.block, largest, norms(view, view.run).check)


def head_table(view: View, run: Run, kind: str, layer: int, head: int) -> np.ndarray:
    """One head, exactly: [query key] of a kind, in a run of the page."""
    if kind == "weights" or not possible(view, kind):
        return service.head_pattern(view, run, layer, head).clip(0, 1)
    return as_numpy(getattr(norms(view, run), kind)[layer, head])


def largest_of(view: View, kind: str) -> float:
    """The end of the enlarged head's colours: that of all heads of the run, edited or not, so that heads can be compared."""
    if kind == "weights" or not possible(view, kind):
        return 1.0
    runs = [run for run in (view.run, view.before) if run is not None]
    return max(float(getattr(norms(view, run), kind).max()) for run in runs) or 1.0


def grid_evidence(view: View, kind: str) -> Evidence:
    """Every head's numbers on this prompt, and what prints them. Raises ValueError for a text of one token, which has none."""
    if len(view.run) < 2:
        raise ValueError("The text has 1 token, and attention statistics need at least 2; add some text.")
    found, kind = service.pictures(view), kind if possible(view, kind) else "weights"
    columns = ["layer", "head", "entropy_bits", "distance_tokens", "first_token_share"]
    tables = [found.entropy, found.distance, found.sink]
    body = """
found = statistics(patterns(run))
for layer in range(model.cfg.n_layers):
    for head in range(model.cfg.n_heads):
        numbers = [table[layer, head].item() for table in (found.entropy, found.distance, found.sink)]
        print(f"L{layer}H{head}", *(f"{number:.6f}" for number in numbers))
"""
    imports = "from interp.attention import patterns, statistics"
    if kind != "weights":
        columns.append(f"largest_{kind}")
        tables.append(as_numpy(getattr(norms(view, view.run), kind).amax((2, 3))))
        body = body.replace("\nfor", f"\nlengths = attention_norms(model, run).{kind}\nfor", 1)
        body = body.replace("found.sink)]", "found.sink)] + [lengths[layer, head].max().item()]")
        imports += "\nfrom interp.attention_norms import attention_norms"
    rows = [(layer, head, *(t[layer, head] for t in tables)) for layer, head in np.ndindex(found.sink.shape)]
    facts = {"kind": kind, "even": _even(view), "check": found.check.residual, "provenance": view.run.provenance.to_dict()}
    return Evidence("heads", tuple(columns), rows, script(view, imports, body), _lens_grid(view, kind), facts)


def _even(view: View) -> dict[str, float]:
    return {name: service.measure(view, name)[1] for name in ("entropy", "distance", "sink")}


def _lens_grid(view: View, kind: str) -> str:
    lengths = {
        "weights": "",
        "value_weighted": 'lengths = pattern * cache["v", layer][0].norm(dim=-1).T[:, None]',
        "norms": 'lengths = pattern * (cache["v", layer][0].transpose(0, 1) @ model.W_O[layer]).norm(dim=-1)[:, None]',
    }[kind]
    more = " + [lengths[head].max().item()]" if lengths else ""
    body = f"""
_, cache = model.run_with_cache(tokens)
at = torch.arange(tokens.shape[1])
for layer in range(model.cfg.n_layers):
    pattern = cache["pattern", layer][0]
{"    " + lengths + chr(10) if lengths else ""}    rows = pattern[:, 1:]
    entropy = torch.special.entr(rows).sum(-1).mean(-1) / torch.log(torch.tensor(2.0))
    distance = (rows * (at[1:, None] - at)).sum(-1).mean(-1)
    sink = rows[..., 0].mean(-1)
    for head in range(model.cfg.n_heads):
        numbers = [table[head].item() for table in (entropy, distance, sink)]{more}
        print(f"L{{layer}}H{{head}}", *(f"{{number:.6f}}" for number in numbers))
"""
    return lens_script(view, "", body)


def head_evidence(view: View, kind: str) -> Evidence:
    """The enlarged head, cell by cell, and what prints it."""
    kind, at = kind if possible(view, kind) else "weights", (view.layer, view.head)
    tables = [head_table(view, run, kind, *at) for run in (view.run, view.before) if run is not None]
    n = len(view.run)
    queries, keys = np.tril_indices(n)
    kept = np.ones(len(queries), bool) if n <= EXACT_UP_TO else np.max([t[queries, keys] for t in tables], 0) >= LEAST
    strings = view.run.strings
    rows = [(q, k, strings[q], strings[k], *(t[q, k] for t in tables)) for q, k in zip(queries[kept], keys[kept])]
    source = {
        "weights": f'run.activations["pattern", {at[0]}][{at[1]}]',
        "value_weighted": f"attention_norms(model, run).value_weighted[{at[0]}, {at[1]}]",
        "norms": f"attention_norms(model, run).norms[{at[0]}, {at[1]}]",
    }[kind]
    code = f"""
table = {source}  # [query key]
for query in range(len(run)):
    for key in range(query + 1):
        print(query, key, repr(run.strings[query]), repr(run.strings[key]), f"{{table[query, key].item():.6f}}")
"""
    lens = {
        "weights": "table = pattern",
        "value_weighted": f'table = pattern * cache["v", {at[0]}][0, :, {at[1]}].norm(dim=-1)',
        "norms": f'table = pattern * (cache["v", {at[0]}][0, :, {at[1]}] @ model.W_O[{at[0]}, {at[1]}]).norm(dim=-1)',
    }[kind]
    lens_code = f"""
_, cache = model.run_with_cache(tokens)
pattern = cache["pattern", {at[0]}][0, {at[1]}]
{lens}
for query in range(tokens.shape[1]):
    for key in range(query + 1):
        print(query, key, f"{{table[query, key].item():.6f}}")
"""
    imports = "" if kind == "weights" else "from interp.attention_norms import attention_norms"
    columns = ("query", "key", "query_token", "key_token", kind, "without_edits")[: 5 + len(tables) - 1]
    facts = {"layer": at[0], "head": at[1], "kind": kind, "least": 0 if kept.all() else LEAST}
    facts |= {"provenance": view.run.provenance.to_dict()}
    return Evidence(f"L{at[0]}H{at[1]}", columns, rows, script(view, imports, code), lens_script(view, "", lens_code), facts)
