"""How a film and the filmed models are shown."""

from collections.abc import Sequence

import plotly.graph_objects as go

from app.components.film import FilmedPrompt, Reel
from app.components.panel import panel_value
from app.figures.training import Course, family_losses, loss_by_size
from app.service import training as service
from app.service.view import View
from app.text import Words
from gpt2_core.tokenizer import Tokenizer
from interp.film import COPY_GAIN, ROLES, Film, FilmPrompt

NAMED = ("name", "narrative", "random")  # prompts of `interp.dynamics` that have a name in words
CURVES = ("train_loss", "validation_loss", "first_copy_loss", "second_copy_loss")


def reel(t: Words, film: Film, tokenizer: Tokenizer) -> Reel:
    """The film with its tokens as the page prints them."""
    known = None not in film.tokens
    return Reel(
        model=film.model,
        steps=film.steps,
        tokens=film.tokens if known else None,
        curves={name: getattr(film, name) for name in CURVES},
        scores={role: getattr(film, role) for role in ROLES},
        chance=film.chance,
        bump=film.induction_bump,
        threshold=COPY_GAIN,
        prompts=[_prompt(t, prompt, tokenizer) for prompt in film.prompts],
        sample_prompt=film.sample_prompt,
        samples=film.samples,
    )


def _prompt(t: Words, prompt: FilmPrompt, tokenizer: Tokenizer) -> FilmedPrompt:
    label = t(f"training.prompt_{prompt.name}") if prompt.name in NAMED else prompt.name
    strings = {string for row in prompt.top_strings for string in row} | set(prompt.strings)
    shown = {string: printed(tokenizer, string) for string in strings}
    top = [
        [(shown[string], float(p)) for string, p in zip(words, chances, strict=True)]
        for words, chances in zip(prompt.top_strings, prompt.top_probs, strict=True)
    ]
    return FilmedPrompt(label, [shown[string] for string in prompt.strings], prompt.patterns, top)


def printed(tokenizer: Tokenizer, string: str) -> str:
    """A token's text as the page prints it, with a mark for a space. Any text can be cut into tokens, so any vocabulary's can."""
    return "".join(tokenizer.shown(tokenizer.encode(string)))


def count_text(t: Words, n: int) -> str:
    """24.6 million; in Korean 2,460만, which counts in ten thousands."""
    if t.lang == "ko":
        for unit, size in (("억", 10**8), ("만", 10**4)):
            if n >= size:
                return f"{float(f'{n / size:.3g}'):,g}{unit}"
        return f"{n:,}"
    for name, size in (("billion", 10**9), ("million", 10**6), ("thousand", 10**4)):
        if n >= size:
            return t(f"training.{name}", n=f"{n / (10**3 if name == 'thousand' else size):.3g}")
    return f"{n:,}"


def about(t: Words, view: View, film: Film, name: str) -> dict:
    """What is being watched; and that the page's model is another, where it is."""
    numbers = {"params": count_text(t, film.parameters), "steps": f"{film.steps[-1]:,}", "frames": film.frames}
    tokens = film.tokens[-1]
    if tokens is None:
        said = [t("training.about_no_tokens", name=name, **numbers)]
    else:
        said = [t("training.about", name=name, tokens=count_text(t, tokens), **numbers)]
    if name != view.state.model:
        said.append(t("training.other", page_model=view.state.model))
    return panel_value(" ".join(said))


def no_film(t: Words, view: View, others: bool) -> dict:
    """Why the page's model has no film, and what can be done."""
    entry = view.entry
    kind = "embedded" if entry.state == "embedded" else "released" if entry.label != entry.name else "folder"
    said = [t(f"training.none_{kind}", name=entry.label if kind == "folder" else entry.name)]
    return panel_value(" ".join(said if others else [*said, t("training.none_at_all")]))


def family(t: Words, courses: Sequence[service.Course], name: str | None) -> tuple[go.Figure, go.Figure]:
    """Losses while training, and at the end over the size."""
    lines = [Course(c.model, c.parameters, c.tokens, c.losses) for c in courses]
    shown = () if name is None else (name,)
    return family_losses(lines, t.section("family_losses"), shown), loss_by_size(lines, t.section("family_sizes"), shown)
