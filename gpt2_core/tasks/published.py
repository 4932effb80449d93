"""The numbers GPT-2's paper published, as data, each with the place it was printed.

Everything is from Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", zero-shot, no fine-tuning.
The paper prints no numbers for the curves of its figures 1 to 4, so none are here. What others measured with the
public weights is in `reproductions.py`; laws that predict a loss from a size are in `scaling.py`.
Models are keys of `gpt2_core.config.SIZES`; "sota" is the best earlier result as the paper gives it.
"""

from dataclasses import dataclass
from statistics import mean
from typing import Literal

from gpt2_core.config import RELEASED, SIZES

PAPER = "Radford et al. 2019"
SOTA = "sota"


@dataclass(frozen=True)
class Metric:
    """What a number measures. unit: "%", "perplexity", "bits per byte", "bits per character", "F1", "BLEU" or "ROUGE F1"."""

    name: str
    dataset: str
    unit: str
    better: Literal["higher", "lower"]
    source: str

    def is_better(self, value: float, than: float) -> bool:
        return value > than if self.better == "higher" else value < than


@dataclass(frozen=True)
class Published:
    """One printed number: `model` is a key of SIZES, "sota", or the name of another system."""

    metric: str
    model: str
    value: float
    source: str


@dataclass(frozen=True)
class Size2:
    """One row of table 2: the label the paper printed, and the layers and width behind it."""

    model: str
    printed_label: str
    n_layers: int
    d_model: int
    n_params: int  # counted, not printed: the paper's own counts were too low


def _metric(name: str, dataset: str, unit: str, better: str, where: str) -> Metric:
    return Metric(name, dataset, unit, better, f"{PAPER}, {where}")  # type: ignore[arg-type]


_TABLE_3 = (
    _metric("lambada_ppl", "LAMBADA", "perplexity", "lower", "table 3"),
    _metric("lambada_acc", "LAMBADA", "%", "higher", "table 3"),
    _metric("cbt_cn_acc", "CBT common nouns", "%", "higher", "table 3"),
    _metric("cbt_ne_acc", "CBT named entities", "%", "higher", "table 3"),
    _metric("wikitext2_ppl", "WikiText-2", "perplexity", "lower", "table 3"),
    _metric("ptb_ppl", "Penn Treebank", "perplexity", "lower", "table 3"),
    _metric("enwik8_bpb", "enwik8", "bits per byte", "lower", "table 3"),
    _metric("text8_bpc", "text8", "bits per character", "lower", "table 3"),
    _metric("wikitext103_ppl", "WikiText-103", "perplexity", "lower", "table 3"),
    _metric("one_billion_word_ppl", "One Billion Word", "perplexity", "lower", "table 3"),
)
_TABLE_4 = tuple(
    _metric(f"cnn_dailymail_rouge_{kind}", "CNN/Daily Mail", "ROUGE F1", "higher", "table 4") for kind in ("1", "2", "l", "avg")
)
_TEXT = (
    _metric("coqa_f1", "CoQA, development set", "F1", "higher", "section 3.5"),
    _metric("wmt14_en_fr_bleu", "WMT-14 English to French", "BLEU", "higher", "section 3.7"),
    _metric("wmt14_fr_en_bleu", "WMT-14 French to English", "BLEU", "higher", "section 3.7"),
    _metric("winograd_acc", "Winograd Schema Challenge (273)", "%", "higher", "section 3.4"),
    _metric("natural_questions_em", "Natural Questions, exact match", "%", "higher", "section 3.8"),
    _metric("natural_questions_top1_em", "Natural Questions, the 1 % most confident answers", "%", "higher", "section 3.8"),
    _metric("lambada_unfiltered_acc", "LAMBADA, without the stop-word filter", "%", "higher", "section 3.3"),
)
METRICS: dict[str, Metric] = {metric.name: metric for metric in (*_TABLE_3, *_TABLE_4, *_TEXT)}

_TABLE_3_ROWS = {
    SOTA: (99.8, 59.23, 85.7, 82.3, 39.14, 46.54, 0.99, 1.08, 18.3, 21.8),
    "gpt2": (35.13, 45.99, 87.65, 83.4, 29.41, 65.85, 1.16, 1.17, 37.50, 75.20),
    "gpt2-medium": (15.60, 55.48, 92.35, 87.1, 22.76, 47.33, 1.01, 1.06, 26.37, 55.72),
    "gpt2-large": (10.87, 60.12, 93.45, 88.0, 19.93, 40.31, 0.97, 1.02, 22.05, 44.575),
    "gpt2-xl": (8.63, 63.24, 93.30, 89.05, 18.34, 35.76, 0.93, 0.98, 17.48, 42.16),
}
_TABLE_4_ROWS = {
    "Bottom-Up Sum": (41.22, 18.68, 38.34, 32.75),
    "Lede-3": (40.38, 17.66, 36.62, 31.55),
    "Seq2Seq + Attn": (31.33, 11.81, 28.83, 23.99),
    "gpt2-xl": (29.34, 8.27, 26.58, 21.40),
    "Random-3": (28.78, 8.63, 25.52, 20.98),
    "gpt2-xl, no hint": (21.58, 4.03, 19.47, 15.03),
}
_TEXT_ROWS = (
    ("coqa_f1", "gpt2-xl", 55.0),
    ("coqa_f1", "human", 89.0),
    ("wmt14_en_fr_bleu", "gpt2-xl", 5.0),
    ("wmt14_fr_en_bleu", "gpt2-xl", 11.5),
    ("wmt14_fr_en_bleu", "best unsupervised translation", 33.5),
    ("winograd_acc", "gpt2-xl", 70.70),
    ("winograd_acc", SOTA, 63.7),
    ("natural_questions_em", "gpt2-xl", 4.1),
    ("natural_questions_em", "most common answer per question type", 1.0),
    ("natural_questions_top1_em", "gpt2-xl", 63.1),
    ("lambada_unfiltered_acc", "gpt2-xl", 52.66),
)


def _rows(metrics: tuple[Metric, ...], rows: dict[str, tuple[float, ...]]) -> tuple[Published, ...]:
    return tuple(
        Published(metric.name, model, value, metric.source)
        for model, values in rows.items()
        for metric, value in zip(metrics, values, strict=True)
    )


PUBLISHED: tuple[Published, ...] = (
    *_rows(_TABLE_3, _TABLE_3_ROWS),
    *_rows(_TABLE_4, _TABLE_4_ROWS),
    *(Published(name, model, value, METRICS[name].source) for name, model, value in _TEXT_ROWS),
)

# Every size's number is printed for these, so a curve over the sizes can be drawn.
CURVES: tuple[str, ...] = tuple(metric.name for metric in _TABLE_3)

# Table 6: % of the test set's 8-grams that also occur in ... (in the order of OVERLAP_DATASETS)
OVERLAP_DATASETS = ("Penn Treebank", "WikiText-2", "enwik8", "text8", "WikiText-103", "One Billion Word")
OVERLAP = {
    "own training set": (2.67, 0.66, 7.50, 2.34, 9.09, 13.19),
    "WebText": (0.88, 1.63, 6.31, 3.94, 2.42, 3.75),
}
OVERLAP_SOURCE = f"{PAPER}, table 6"


def overlap_means() -> dict[str, float]:
    """The mean over the six test sets, in % (the text of section 4 rounds them to 5.9 and 3.2)."""
    return {name: mean(values) for name, values in OVERLAP.items()}


def results(metric: str) -> dict[str, Published]:
    """Everything printed for one metric, by model or system. Raises ValueError for a metric the paper does not have."""
    if metric not in METRICS:
        raise ValueError(f"The paper has no metric {metric!r}; choose one of {', '.join(METRICS)}.")
    return {row.model: row for row in PUBLISHED if row.metric == metric}


def beats_sota(metric: str, model: str) -> bool | None:
    """Whether a size is better than the best earlier result, as the paper's bold type says; None where none is given."""
    rows = results(metric)
    if SOTA not in rows or model not in rows:
        return None
    return METRICS[metric].is_better(rows[model].value, rows[SOTA].value)


def table_2() -> tuple[Size2, ...]:
    """The four sizes as table 2 lists them, with the parameters they really have."""
    return tuple(
        Size2(name, size.label.split()[0], size.config.n_layers, size.config.d_model, size.config.n_params)
        for name, size in ((name, SIZES[name]) for name in RELEASED)
    )
