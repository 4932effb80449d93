"""Every sentence of the page, in English and Korean.

One file per part of the page, each with the dicts EN and KO of equal keys ("attention.title"). `words(lang)` gives one
language. Static labels are marked with `app.components.i18n.I18N` and translated by Gradio in the browser.
"""

import string
from collections.abc import Mapping
from functools import cache
from numbers import Real

from app.text import (
    anatomy,
    anatomy_parts,
    anatomy_steps,
    attention,
    attribution,
    checks,
    circuits,
    components,
    edits,
    examples,
    heads,
    heads_card,
    lens,
    literature,
    literature_checks,
    literature_rows,
    neurons,
    page,
    patching,
    playground,
    probabilities,
    scaling,
    steering,
    training,
    zero_shot,
)

PARTS = (
    neurons,
    page,
    checks,
    edits,
    examples,
    components,
    playground,
    probabilities,
    attention,
    heads,
    heads_card,
    attribution,
    circuits,
    anatomy,
    anatomy_steps,
    anatomy_parts,
    patching,
    zero_shot,
    lens,
    training,
    scaling,
    literature,
    literature_checks,
    literature_rows,
    steering,
)
EN: dict[str, str] = {key: text for part in PARTS for key, text in part.EN.items()}
KO: dict[str, str] = {key: text for part in PARTS for key, text in part.KO.items()}


class _Signs(string.Formatter):
    """A negative number in a sentence has a minus sign, as in pictures and tables, and no hyphen."""

    def format_field(self, value: object, format_spec: str) -> str:
        text = super().format_field(value, format_spec)
        return text.replace("-", "\u2212", 1) if isinstance(value, Real) and text.lstrip().startswith("-") else text


class Words:
    """The sentences of one language: `words("attention.hover", head="L2H1")`."""

    def __init__(self, lang: str, sentences: Mapping[str, str]):
        self.lang, self._sentences = lang, sentences

    def __call__(self, key: str, /, **values: object) -> str:
        """One sentence with its places filled in. Raises KeyError for an unknown key or an unfilled place."""
        return _Signs().vformat(self._sentences[key], (), values)

    def lasting(self, seconds: float) -> str:
        """About how long something takes: "0.4 s", "25 s", "7 min", "1.7 h"."""
        if seconds < 100:
            return self("page.seconds", count=f"{max(0.1, seconds):.1f}" if seconds < 9.95 else f"{seconds:.0f}")
        minutes = seconds / 60
        return (
            self("page.minutes", count=f"{minutes:.0f}") if minutes < 100 else self("page.hours", count=f"{minutes / 60:.1f}")
        )

    def section(self, name: str) -> dict[str, str]:
        """All sentences of one part, by the last half of their key, unfilled: what a component prints."""
        return {key.split(".", 1)[1]: text for key, text in self._sentences.items() if key.startswith(f"{name}.")}


@cache
def words(lang: str) -> Words:
    """The sentences of a language, "en" or "ko"."""
    return Words(lang, {"en": EN, "ko": KO}[lang])
