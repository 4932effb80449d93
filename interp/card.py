"""The model card of an embedded model, written from measured values only: `card(facts)` -> Markdown.

Sentences that praise or excuse have no place here; what the numbers do not show is not claimed.
"""

import html
import math
import re
import textwrap
from dataclasses import dataclass
from typing import Any

from gpt2_core.config import GPT2Config
from interp.film import COPY_GAIN, INDUCTION, Film
from interp.film_store import JSON, TENSORS
from interp.trained import Trained

BOOKS = "public-domain books, from github.com/mlschmitt/classic-books-markdown"
NOT_IN_RECIPE = ("name", "data", "evaluation", "save", "log")  # sections that say nothing about how the weights came to be


@dataclass(frozen=True)
class Sampled:
    """A continuation of a prompt by a seed."""

    prompt: str
    seed: int
    text: str


@dataclass(frozen=True)
class Sampling:
    """How the samples of a card are drawn: every one of them is shown."""

    prompts: tuple[str, ...] = ("The old man", '"I do not know," said', "")
    seeds: tuple[int, ...] = (0, 1, 2)
    temperature: float = 0.8
    top_k: int = 40
    tokens: int = 50


@dataclass(frozen=True, eq=False)
class Facts:
    """Everything a card says. The film's last frame is the published model itself."""

    name: str
    config: GPT2Config
    trained: Trained
    film: Film
    samples: tuple[Sampled, ...]
    sampling: Sampling
    sha256: str


def card(facts: Facts) -> str:
    """README.md of the model's folder."""
    parts = [_head(facts), _abilities(facts), _repetition(facts.trained), _heads(facts.film), _predictions(facts.film)]
    return "\n\n".join([*parts, _samples(facts), _recipe(facts.trained), _film(facts.film), LICENCE]) + "\n"


LICENCE = """Licence: the weights MIT, as this repository; the books are in the public domain; the vocabulary is GPT-2's (see
`assets/vocab/LICENSE`)."""


def _head(facts: Facts) -> str:
    c, t, film = facts.config, facts.trained, facts.film
    embedding = c.d_vocab * c.d_model
    rows: dict[str, str] = {
        "shape": f"{c.n_layers} layers, d_model {c.d_model}, {c.n_heads} heads of {c.d_head}, context {c.n_ctx}",
        "parameters": f"{c.n_params:,}, of which {embedding:,} are the token embedding; stored in bfloat16",
        "vocabulary": f"GPT-2's {c.d_vocab:,} tokens (`assets/vocab`)",
        "trained on": f"{BOOKS}: {t.train_tokens:,} tokens, without the books held out",
        "tokens seen": f"{t.text_tokens:,} of text ({t.epochs:.2f} epochs) and {t.repetition_tokens:,} in repetition documents",
        "trained with": f"{t.machine}; {_duration(t.seconds)}",
        "validation loss": f"{t.validation_loss:.3f} nats per token, {t.bits_per_byte:.3f} bits per byte, perplexity "
        f"{math.exp(t.validation_loss):,.1f}; on {t.validation_tokens:,} tokens of held-out books",
        "random tokens, repeated": f"{film.first_copy_loss[-1]:.2f} nats per token on the first copy, "
        f"{film.second_copy_loss[-1]:.2f} on the second",
        "sha256 of `model.safetensors`": facts.sha256,
    }
    return f"""---
license: mit
language: en
pipeline_tag: text-generation
---
# {facts.name}

A very small GPT-2, made by this repository's trainer so that every view of GPT-2 Glassbox has a real trained network to show
without a download. This card is written by `python -m interp.publish` from what was measured.

{_table([["", ""], *([key, value] for key, value in rows.items())])}"""


def _abilities(facts: Facts) -> str:
    window, n_ctx = facts.trained.recipe.data.window, facts.config.n_ctx
    paragraphs = [
        "**Expect grammar, not knowledge.** It writes English-looking fragments of old novels. It knows no facts, follows no "
        "instructions, and repeats what public-domain books of past centuries say, their prejudices included. It is for looking "
        "inside, not for use.",
        f"**Short memory.** It was trained on windows of {window} tokens. The positions after that, up to {n_ctx}, exist but were "
        "never trained.",
        _induction(facts.film),
    ]
    return _section("What it can and cannot do", *(p for p in paragraphs if window < n_ctx or p is not paragraphs[1]))


def _induction(film: Film) -> str:
    scores, gain = film.induction[-1], film.copy_gain[-1]
    layer, head = film.best_heads("induction")[-1]
    best = f"the best, L{layer}H{head}, scores {scores[layer, head]:.2f}"
    easier = f"the second copy of a random sequence is {abs(gain):.2f} nats per token {'easier' if gain >= 0 else 'harder'}"
    measure = f"a score of {INDUCTION} or more, and a second copy at least {COPY_GAIN:g} nats easier than the first"
    if film.has_induction:
        count = int((scores >= INDUCTION).sum())
        heads = "1 head has" if count == 1 else f"{count} heads have"
        return (
            f"**It copies: it has induction.** {heads} an induction score of {INDUCTION} or more ({best}), and {easier} than the first. "
            f"The measure used here is both: {measure}."
        )
    return (
        f"**It has no induction head** by the measure used here, which is both: {measure}. Of its heads, {best}, and {easier} than "
        "the first. What its attention shows of repetition should not be taken for copying. Released GPT-2 models do have "
        "induction heads."
    )


def _repetition(trained: Trained) -> str:
    title, r = "Repetition documents", trained.recipe.repetition
    if not trained.repetition_rows:
        return _section(title, "None: it was trained on the books alone.")
    over_all = trained.repetition_tokens / (trained.repetition_tokens + trained.text_tokens)
    last = r.share if r.final_share < 0 else r.final_share
    when = "at the last" if r.fade == 1 else f"after {r.fade:.0%} of the steps"
    course = "" if r.share == last else f" ({r.share:.1%} at the first step, changing evenly to {last:.1%} {when})"
    (shortest, longest), (low, high) = r.period, r.ids
    return _section(
        title,
        f"Of what it was trained on, {over_all:.1%} was not text{course}: {shortest} to {longest} random tokens (ids {low} to "
        f"{high - 1}), repeated to fill {r.length or trained.recipe.data.window} positions. Nothing in them can be predicted but the "
        "repetition, so the first copy was not trained on. They are there so that copying is learnt within the compute at hand. "
        "What this model shows of induction is therefore trained for; that books alone would have brought it about is not shown.",
    )


def _heads(film: Film) -> str:
    how, scores = film.measurement, film.induction[-1]
    rows = [["", *(f"H{head}" for head in range(scores.shape[1]))]]
    for layer, row in enumerate(scores):
        rows.append([f"L{layer}", *(f"**{score:.2f}**" if score >= INDUCTION else f"{score:.2f}" for score in row)])
    return _section(
        "Heads",
        "Induction score of each head: mean attention, from the second copy of random tokens, to the token that followed the same "
        f"token in the first. Evenly spread attention would score {film.chance['induction']:.3f}; {INDUCTION} and more is bold.",
        _table(rows),
        f"Best previous-token head: {_best(film, 'previous_token')}. Best duplicate-token head: {_best(film, 'duplicate_token')}. "
        f"Measured by `interp.heads.scores` on {how.length} random tokens, twice, without `<|endoftext|>`; means over "
        f"{how.sequences} sequences of each of the seeds {', '.join(map(str, how.seeds))}.",
    )


def _best(film: Film, role: str) -> str:
    layer, head = film.best_heads(role)[-1]
    return f"L{layer}H{head}, {getattr(film, role)[-1, layer, head]:.2f} (evenly spread: {film.chance[role]:.3f})"


def _predictions(film: Film) -> str:
    rows = [["prompt", "induction", "the model"]]
    for prompt in film.prompts:
        top = zip(prompt.top_strings[-1], prompt.top_probs[-1].tolist())
        copied = _copied(prompt.strings)
        said = ", ".join(f"{_code(string)} {_percent(p)}" for string, p in top)
        rows.append([_code(prompt.text), "" if copied is None else _code(copied), said])
    return _section(
        "Next tokens",
        "The likeliest tokens after fixed prompts, each after `<|endoftext|>`. The column in the middle is what copying alone would "
        "say: what followed the last token where it stood before.",
        _table(rows),
    )


def _copied(strings: tuple[str, ...]) -> str | None:
    """The token that followed the last earlier occurrence of the last token."""
    before = [i for i, string in enumerate(strings[:-1]) if string == strings[-1]]
    return strings[before[-1] + 1] if before else None


def _samples(facts: Facts) -> str:
    how, shown = facts.sampling, []
    for sample in facts.samples:
        text = _printable(sample.prompt + sample.text)
        fence = "```"
        while fence in text:
            fence += "`"
        title = f"after {_code(sample.prompt)}" if sample.prompt else "after nothing"
        shown += [f"{title}, seed {sample.seed}:", f"{fence}text\n{text}\n{fence}"]
    return _section(
        "Samples",
        "Not picked: these prompts, these seeds, all of them. Each begins after `<|endoftext|>`; temperature "
        f"{how.temperature:g}, top_k {how.top_k}, at most {how.tokens} tokens.",
        *shown,
    )


def _recipe(trained: Trained) -> str:
    recipe = trained.recipe
    rows = [["", ""], ["seed", _value(recipe.seed)]]
    for section, content in recipe.to_dict().items():
        if section not in NOT_IN_RECIPE and isinstance(content, dict):
            rows.append([section, ", ".join(f"{key} {_value(value)}" for key, value in content.items())])
    return _section(
        "Recipe",
        f"AdamW, {recipe.optimizer.steps:,} steps of {recipe.batch.rows} rows of {recipe.data.window} tokens. The keys are explained "
        "in `gpt2_core/train/recipe.py`.",
        _table(rows),
    )


def _film(film: Film) -> str:
    bump = film.induction_bump
    if bump is None:
        what = f"The second copy never becomes {COPY_GAIN:g} nats easier than the first."
    else:
        what = f"The gain on the second copy grows most between steps {film.steps[bump]:,} and {film.steps[bump + 1]:,}."
    return _section(
        "The film of its training",
        f"`{JSON}` and `{TENSORS}` hold {film.frames} frames, from step {film.steps[0]:,} to {film.steps[-1]:,}: losses, head "
        f"scores, attention, predictions and a sample. {what}",
    )


def _section(title: str, *paragraphs: str) -> str:
    """Prose is wrapped; tables, code and what is one line anyway stay as they are."""
    wrapped = (
        p if p.startswith(("|", "`")) else textwrap.fill(p, 126, break_long_words=False, break_on_hyphens=False)
        for p in paragraphs
    )
    return "\n\n".join([f"## {title}", *wrapped])


def _table(rows: list[list[str]]) -> str:
    first, *rest = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([first, "|---" * len(rows[0]) + "|", *rest])


def _percent(p: float) -> str:
    return f"{p:.1%}" if p >= 0.0005 else "under 0.1%"


def _code(text: str) -> str:
    """A piece of text in a table: nothing in it is markup, and blanks at its ends are seen."""
    marked = re.sub("^ +| +$", lambda blanks: "·" * len(blanks[0]), _printable(text).replace("\n", "↵"))
    escaped = html.escape(marked, quote=False)
    for sign in "|`*_\\[~":
        escaped = escaped.replace(sign, f"&#{ord(sign)};")
    return f"<code>{escaped}</code>"


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def _value(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_value, value))}]"
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def _duration(seconds: float | int) -> str:
    return f"{seconds / 3600:.1f} hours" if seconds >= 3600 else f"{seconds / 60:.0f} minutes"
