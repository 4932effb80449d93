"""Answers of `app.service.analyses` as text for a terminal: tables, heat maps, and nothing that could drive the terminal."""

from collections.abc import Sequence
from typing import Any, TextIO

SHADES = " ░▒▓█"


def can_shade(out: TextIO) -> bool:
    """Whether this output is a terminal that can print block characters."""
    try:
        SHADES.encode(getattr(out, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return out.isatty()


def harmless(text: str) -> str:
    """Text without control characters, which a model may write and a terminal would obey; lines and tabs stay."""
    return "".join(c if c in "\n\t" or not (ord(c) < 32 or 127 <= ord(c) < 160) else chr(0xFFFD) for c in text)


def shown(text: str) -> str:
    """A token on one line: space as ·, newline as ↵, tab as ⇥."""
    return harmless(text.replace(" ", "·").replace("\n", "↵").replace("\t", "⇥"))


def table(header: Sequence[str], rows: Sequence[Sequence[Any]], left: Sequence[int] = (0,)) -> str:
    """Columns as wide as they need to be; those listed in `left` begin at the same place, the others end there."""
    cells = [[str(h) for h in header], *[[_cell(value) for value in row] for row in rows]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for row in cells:
        padded = (c.ljust(w) if i in left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def heat_map(
    values: Sequence[Sequence[float | None]], rows: Sequence[str], columns: Sequence[str], shades: bool, top: float = 1.0
) -> str:
    """A matrix with a label for each row: two block characters per cell, from 0 (blank) to `top`; else numbers.

    Columns are named above, or by the last digit of their number where names do not fit.
    """
    width = max(map(len, rows), default=0)
    if not shades:
        return table(["", *columns], [[name, *line] for name, line in zip(rows, values, strict=True)])
    header = " " * width + " " + "".join(f"{name[-2:]:>2}" for name in columns)
    lines = [f"{name:>{width}} " + "".join(_shade(v, top) * 2 for v in line) for name, line in zip(rows, values, strict=True)]
    return "\n".join([header, *lines])


def _shade(value: float | None, top: float) -> str:
    level = 0.0 if value is None or top <= 0 else min(1.0, max(0.0, value / top))
    return SHADES[round(level * (len(SHADES) - 1))]


def score_text(answer: dict[str, Any]) -> str:
    """The tokens of a text with their statistics, and the perplexities."""
    lines = []
    if answer.get("tokens"):
        keys = ("position", "logprob_nats", "surprisal_bits", "rank", "entropy_before_bits")
        header = ("token", "position", "logprob/nats", "surprisal/bits", "rank", "entropy/bits")
        lines += [table(header, [[shown(t["text"]), *[t[key] for key in keys]] for t in answer["tokens"]]), ""]
    units = [[unit, p["count"], p["bits"], p["perplexity"]] for unit, p in answer["per"].items()]
    lines.append(table(("per", "count", "bits", "perplexity"), units))
    lines.append(
        f"\n{answer['n_scored']} of {answer['n_tokens']} tokens scored, {answer['nats']:.3f} nats in all; "
        f"windows of {answer['context']} tokens, {answer['stride']} apart."
    )
    return "\n".join([*lines, *answer.get("notices", [])])


def attention_text(answer: dict[str, Any], shades: bool) -> str:
    """A heat map per head of a layer; or, for the whole model, one of each head's weight on a kind of place."""
    if "heads" in answer:
        parts = []
        for key, what in (("first", "the first token"), ("previous", "the token before"), ("self", "itself")):
            values = [[head[key] for head in layer] for layer in answer["heads"]]
            parts.append(f"mean weight on {what}, layer by head\n{heads_map(values, shades)}")
        return "\n\n".join(parts)
    tokens = [f"{i} {shown(token['text'])}" for i, token in enumerate(answer["tokens"])]
    numbers = [str(i) for i in range(len(tokens))]
    first = answer["head"] or 0
    maps = [
        f"L{answer['layer']}H{head}: each row's token looks at the columns' tokens\n{heat_map(values, tokens, numbers, shades)}"
        for head, values in enumerate(answer["patterns"], first)
    ]
    return "\n\n".join(maps)


def heads_map(values: Sequence[Sequence[float | None]], shades: bool) -> str:
    """A heat map of layer by head; the darkest shade is the largest value, which is named."""
    columns = [f"H{head}" for head in range(len(values[0]))]
    top = max((v or 0.0 for row in values for v in row), default=0.0)
    drawn = heat_map(values, [f"L{layer}" for layer in range(len(values))], columns, shades, top)
    return f"{drawn}\n({SHADES[-1]} is {top:.3f})" if shades else drawn


def heads_text(answer: dict[str, Any], shades: bool) -> str:
    """A heat map per role, the best heads of each, and what the repetition was worth."""
    parts = []
    for role in ("previous_token", "duplicate_token", "induction"):
        values = answer[role]
        ranked = sorted(((v or 0.0, f"L{i}H{j}") for i, row in enumerate(values) for j, v in enumerate(row)), reverse=True)
        best = ", ".join(f"{name} {value:.2f}" for value, name in ranked[:5])
        title = f"{role.replace('_', ' ')}: chance is {answer['chance'][role]:.3f}; highest {best}"
        parts.append(f"{title}\n{heads_map(values, shades)}")
    first, second = answer["first_copy_loss_nats"], answer["second_copy_loss_nats"]
    parts.append(
        f"Loss on the first copy {first:.3f}, on the second {second:.3f} nats per token: {answer['gain_nats']:.3f} gained."
    )
    return "\n\n".join(parts)


def lens_text(answer: dict[str, Any], position: int | None, columns: int) -> str:
    """The likeliest token of each layer at the last positions that fit; or everything about one position."""
    tokens, rows = answer["tokens"], answer["rows"]
    if position is None:
        fitting = max(1, (columns - 7) // 14)
        places = range(max(0, len(tokens) - fitting), len(tokens))
        header = ["layer", *[f"{p} {shown(tokens[p]['text'])}"[:12] for p in places]]
        cells = [[name, *[_top(answer, row, p) for p in places]] for row, name in enumerate(rows)]
        return table(header, cells, left=range(len(header)))
    lines = []
    for row, name in enumerate(rows):
        top = zip(answer["top_text"][row][position], answer["top_probabilities"][row][position], strict=True)
        best = "  ".join(f"{shown(text)} {p or 0.0:.1%}" for text, p in top)
        lines.append([name, answer["entropy"][row][position], answer["kl_to_final"][row][position], best])
    title = f"after {shown(tokens[position]['text'])} (position {position})"
    return f"{title}\n" + table(("layer", "entropy/bits", "KL to last/bits", "likeliest"), lines, left=(0, 3))


def _top(answer: dict[str, Any], row: int, position: int) -> str:
    p = answer["top_probabilities"][row][position][0]
    return f"{shown(answer['top_text'][row][position][0])[:8]} {p or 0.0:.0%}"


VERDICTS = {"pass": "PASS", "fail": "FAIL", "none": "----", "refused": "SKIP"}


def literature_text(outcome: dict[str, Any]) -> str:
    """One result of the literature: the verdict, and expected, measured and tolerance of the cells worth reading."""
    about = f"{'folded weights, ' * (outcome['weights'] == 'folded')}{outcome['seconds']:.1f} s"
    lines = [f"{VERDICTS[outcome['status']]}  {outcome['id']}: {outcome['title']} [{about}]"]
    if outcome["reason"]:
        return "\n".join([*lines, f"      {outcome['reason']}"])
    if outcome["compared"]:
        worst = f", largest difference {outcome['largest_difference']:.2g} at {outcome['largest_at']}" * bool(
            outcome["largest_at"]
        )
        met = outcome["compared"] - outcome["missed"]
        lines.append(f"      {met} of {outcome['compared']} numbers {outcome['tolerance'] or 'as expected'}{worst}")
    header = ("", f"measured{'/' + outcome['unit'] if outcome['unit'] else ''}", "expected", "")
    marks = {True: "", False: "<- not met", None: ""}
    rows = [
        (harmless(row["name"]), _number(row["measured"]), row["bound"] or "-", marks[row["met"]]) for row in outcome["rows"]
    ]
    lines += [f"      {line}" for line in table(header, rows, left=(0, 3)).split("\n")]
    notes = {**outcome["facts"], "compared loosely": outcome["approximate"], "source": outcome["source"]}
    lines += [f"      ({what}: {note})" for what, note in notes.items() if note]
    return "\n".join(lines)


def literature_summary(counts: dict[str, int]) -> str:
    """How many checks ended how."""
    named = {"pass": "as expected", "fail": "not as expected", "none": "without an expectation", "refused": "not possible here"}
    return ", ".join(f"{counts[status]} {words}" for status, words in named.items() if counts[status]) + "."


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}" if abs(value) >= 1e-3 or not value else f"{value:.1e}"


def size(n_bytes: int | None) -> str:
    """548 MB, 1.5 GB; "?" where it is not known."""
    if n_bytes is None:
        return "?"
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.0f} MB"


def models_text(answer: dict[str, Any]) -> str:
    """What can be used, and what could be downloaded."""
    header = ("name", "label", "state", "parameters", "layers", "heads", "width", "file", "in memory", "licence")
    rows = [
        (
            m["name"], m["label"], m["state"], f"{m['parameters'] / 1e6:,.1f}M", m["n_layers"], m["n_heads"], m["d_model"],
            size(m["file_bytes"]), size(m["memory_bytes"]), m["licence"],
        )
        for m in answer["models"]
    ]  # fmt: skip
    note = "Downloadable models are fetched with: python -m app models --download NAME"
    return table(header, rows, left=(0, 1, 2, 9)) + f"\n\n{note}"
