"""How well the model foresaw the prompt: surprisal per token, and the text's mean."""

import math
from dataclasses import dataclass

import numpy as np

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
