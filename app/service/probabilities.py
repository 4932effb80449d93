"""How well the model foresaw the prompt: surprisal per token, and the text's mean."""

import math
from dataclasses import dataclass

import numpy as np

from app.evidence import Evidence
from app.service.scripts import lens_script, script, unedited_line
from app.service.view import View, as_numpy
from interp.predictions import token_statistics
from interp.run import Run


@dataclass(frozen=True)
class TextStatistics:
    """Surprisal and entropy in bits, [pos], NaN at the first token; rank from 0. The means are over the tokens that have a surprisal.

    bits_per_byte: all their bits over the UTF-8 bytes they are, which compares texts and tokenisations as per-token means cannot.
    """

    surprisal: np.ndarray
    entropy: np.ndarray
    rank: np.ndarray
    tokens: int
    bits_per_token: float
    perplexity: float
    bits_per_byte: float


def statistics_of(view: View, run: Run) -> TextStatistics:
    """The statistics of a run of the page; means are NaN where no token was predicted."""

    def compute() -> TextStatistics:
        stats = token_statistics(run)
        surprisal = as_numpy(stats.surprisal)
        total, count = float(np.nansum(surprisal, dtype=np.float64)), len(run) - 1
        n_bytes = len(view.model.tokenizer.decode_bytes(run.tokens[1:]))
        mean = total / count if count else math.nan
        return TextStatistics(
            surprisal,
            as_numpy(stats.entropy),
            as_numpy(stats.rank),
            count,
            mean,
            2.0**mean,
            total / n_bytes if n_bytes else math.nan,
        )

    s = view.state
    return view.store.result((s.model, "text statistics", s.prompt, s.bos, run.plan), compute)


@dataclass(frozen=True)
class TextView:
    """The prompt's statistics as edited, and without the edits where there are any."""

    now: TextStatistics
    before: TextStatistics | None
    most_bits: float  # a uniform guess among all tokens: the end of the scale


def text_view(view: View) -> TextView:
    """What the Probabilities tab shows of the text."""
    before = None if view.before is None else statistics_of(view, view.before)
    return TextView(statistics_of(view, view.run), before, math.log2(view.config.d_vocab))


def next_evidence(view: View) -> Evidence:
    """The likeliest next tokens at the selected position, and the scripts that print them."""
    top, at = view.next_tokens, view.position
    before = top.before or [None] * len(top.ids)
    rows = list(zip(range(1, len(top.ids) + 1), view.model.tokenizer.strings(top.ids), top.ids, top.p, before))
    imports, code = (
        "from interp.predictions import next_tokens",
        f"""
top = next_tokens(run, position={at}, k={len(top.ids)})
for i, p in zip(top.ids.tolist(), top.probabilities.tolist()):
    print(f"{{p:.6f}} {{i:6d}} {{model.tokenizer.strings([i])[0]!r}}")
""",
    )
    if view.state.plan:
        imports, code = (
            "from interp.predictions import next_tokens, probability_of",
            f"""
{unedited_line(view)}
top = next_tokens(run, position={at}, k={len(top.ids)})
before = probability_of(unedited, top.ids.tolist(), {at})
for i, p, was in zip(top.ids.tolist(), top.probabilities.tolist(), before.tolist()):
    print(f"{{p:.6f}} {{i:6d}} {{model.tokenizer.strings([i])[0]!r}} without the edits {{was:.6f}}")
""",
        )
    lens_code = f"""
p = model(tokens)[0, {at}].softmax(-1)
top = p.topk({len(top.ids)})
for i, p in zip(top.indices.tolist(), top.values.tolist()):
    print(f"{{p:.6f}} {{i:6d}}")
"""
    facts = {"position": at, "entropy_bits": top.entropy, "check": top.residual, "provenance": view.run.provenance.to_dict()}
    columns = ("rank", "token", "id", "probability", "without_edits")
    return Evidence("next-token", columns, rows, script(view, imports, code), lens_script(view, "", lens_code), facts)


def text_evidence(view: View) -> Evidence:
    """How well each token was foreseen, and the scripts that print it."""
    text, strings = text_view(view), view.run.strings
    before = [math.nan] * len(strings) if text.before is None else text.before.surprisal
    rows = list(zip(range(len(strings)), strings, text.now.surprisal, text.now.entropy, text.now.rank + 1, before))
    code = """
found = token_statistics(run)
for pos in range(1, len(run)):
    bits, entropy, rank = found.surprisal[pos].item(), found.entropy[pos].item(), found.rank[pos].item() + 1
    print(f"{pos:4d} {bits:.5f} {entropy:.5f} {rank} {run.strings[pos]!r}")
print(f"mean {found.mean_surprisal:.5f} bits")
"""
    if view.state.plan:
        code += f"""
{unedited_line(view)}
print("without the edits")
for pos, bits in enumerate(token_statistics(unedited).surprisal.tolist()[1:], start=1):
    print(f"{{pos:4d}} {{bits:.5f}}")
"""
    lens_code = """
logprobs = model(tokens)[0].log_softmax(-1) / 0.6931471805599453
for pos in range(1, tokens.shape[1]):
    row, came = logprobs[pos - 1], tokens[0, pos]
    entropy = -(row * (row * 0.6931471805599453).exp()).sum().item()
    print(f"{pos:4d} {-row[came].item():.5f} {entropy:.5f} {int((row > row[came]).sum()) + 1}")
"""
    facts = {"bits_per_token": text.now.bits_per_token, "perplexity": text.now.perplexity}
    facts |= {"bits_per_byte": text.now.bits_per_byte, "provenance": view.run.provenance.to_dict()}
    columns = ("position", "token", "surprisal_bits", "entropy_bits", "rank", "surprisal_without_edits")
    code = script(view, "from interp.predictions import token_statistics", code)
    return Evidence("surprisal", columns, rows, code, lens_script(view, "", lens_code), facts)
