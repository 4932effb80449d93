"""What independent runs with the public weights measured, read in the primary text or code of each source.

A protocol is part of a number: the same model has WikiText perplexity 29.9 per token and 37.4 per word, and joining the
lines with one or two line breaks moves it by half a point. Rows are therefore only comparable within one `protocol`.
Figures known from hearsay only are left out, however plausible.
"""

from dataclasses import dataclass

from gpt2_core.config import RELEASED

_FINE_WEB = "build-nanogpt (A. Karpathy), its README and logs"
_NANO = "nanoGPT (A. Karpathy), README, baselines"
_NOTEBOOK = "stored outputs of a public perplexity notebook over all four sizes"
_HF = "Hugging Face transformers documentation, 'Perplexity of fixed-length models'"
_NEO = "GPT-Neo (EleutherAI), README, model evaluations"
_BFLM = "cybertronai/bflm, headers of its evaluation scripts"
_RELEASED_CODE = "build-nanogpt and llm.c (A. Karpathy)"


@dataclass(frozen=True)
class Reproduction:
    """One measured figure. `low` equals `high` unless the source gives a range. certainty "S": read in the source itself."""

    measure: str
    protocol: str
    unit: str
    model: str
    low: float
    high: float
    source: str
    certainty: str = "S"


def _row(measure: str, protocol: str, unit: str, source: str, **values: float | tuple[float, float]) -> list[Reproduction]:
    names = dict(zip(("small", "medium", "large", "xl"), RELEASED, strict=True))
    rows = []
    for size, value in values.items():
        low, high = value if isinstance(value, tuple) else (value, value)
        rows.append(Reproduction(measure, protocol, unit, names[size], low, high, source))
    return rows


_WT103 = "WikiText-103-raw validation, context 1024, stride 1024"
_PPL = "perplexity per token"
REPRODUCTIONS: tuple[Reproduction, ...] = (
    *_row("wikitext2_ppl", "WikiText-2-raw test, joined by two line breaks, context 1024, stride 1024", _PPL, _HF, large=19.44),
    *_row("wikitext2_ppl", "WikiText-2-raw test, joined by two line breaks, context 1024, stride 512", _PPL, _HF, large=16.44),
    *_row(
        "wikitext103_ppl",
        f"{_WT103}, joined by two line breaks",
        _PPL,
        _NOTEBOOK,
        small=31.04,
        medium=22.51,
        large=20.09,
        xl=17.91,
    ),
    *_row("wikitext103_ppl", f"{_WT103}, joined by nothing", _PPL, _NOTEBOOK, small=30.59, medium=22.35, large=19.33, xl=17.46),
    *_row(
        "wikitext103_ppl",
        f"{_WT103}, <|endoftext|> between articles",
        _PPL,
        _NOTEBOOK,
        small=30.13,
        medium=21.77,
        large=18.74,
        xl=16.91,
    ),
    *_row(
        "wikitext103_ppl",
        f"{_WT103}, <|endoftext|> between articles, cleaned",
        _PPL,
        _NOTEBOOK,
        small=33.19,
        medium=24.31,
        large=21.39,
        xl=19.32,
    ),
    *_row("lambada_ppl", "lm-evaluation-harness, lambada_openai, whole last word", "perplexity per word", _NEO, xl=10.63),
    *_row("lambada_acc", "OpenAI's file, last word, stop-word filter, beam 128", "%", _BFLM, small=(41.98, 42.01)),
    *_row("lambada_acc", "official tokenised file, last word, no filter", "%", _BFLM, small=26.0),
    *_row("lambada_acc", "official tokenised file, last word, stop-word filter", "%", _BFLM, small=31.5),
    *_row("lambada_acc", "official tokenised file, last word, stop-word filter, de-tokenised", "%", _BFLM, small=33.6),
    *_row(
        "hellaswag_acc",
        "completion with the lowest mean loss per token",
        "%",
        _RELEASED_CODE,
        small=(29.45, 29.55),
        medium=37.52,
        large=43.20,
        xl=(48.89, 48.93),
    ),
    *_row("piqa_acc", "lm-evaluation-harness", "%", _NEO, xl=70.78),
    *_row("winogrande_acc", "lm-evaluation-harness of 2021", "%", _NEO, xl=59.4),
    *_row(
        "openwebtext_train_loss",
        "OpenWebText, train split",
        "nats per token",
        _NANO,
        small=3.11,
        medium=2.85,
        large=2.66,
        xl=2.56,
    ),
    *_row(
        "openwebtext_val_loss",
        "OpenWebText, validation split",
        "nats per token",
        _NANO,
        small=3.12,
        medium=2.84,
        large=2.67,
        xl=2.54,
    ),
    *_row("build_nanogpt_val_loss", "build-nanogpt's own validation shard", "nats per token", _FINE_WEB, small=3.2924),
)


def of_protocol(measure: str, protocol: str) -> dict[str, Reproduction]:
    """The rows of one protocol by model. Raises ValueError when there is none."""
    rows = {row.model: row for row in REPRODUCTIONS if row.measure == measure and row.protocol == protocol}
    if not rows:
        known = sorted({row.protocol for row in REPRODUCTIONS if row.measure == measure})
        raise ValueError(
            f"No run of {measure!r} is known under the protocol {protocol!r}; known: {'; '.join(known) or 'none'}."
        )
    return rows
