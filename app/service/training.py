"""What the training tab shows: the films that lie beside the models, and which one is looked at."""

from dataclasses import dataclass
from pathlib import Path

from app.service.view import View
from app.state import PageState
from app.store import ModelStore
from gpt2_core.checkpoints import ModelEntry, locate
from interp import film_store as films
from interp.film import Film


@dataclass(frozen=True)
class Course:
    """One model's validation loss over training, where it was measured: equally long lists.

    tokens: read so far, never 0 (a logarithmic axis has no place for it); losses: nats per token.
    """

    model: str
    parameters: int
    tokens: tuple[int, ...]
    losses: tuple[float, ...]

    @property
    def final_loss(self) -> float:
        return self.losses[-1]


def film_folder(entry: ModelEntry) -> Path | None:
    """The folder of a model that is on this machine and has a film beside its weights, else None."""
    if entry.state == "downloadable":
        return None
    found = locate(entry.name)
    return found.folder if found is not None and films.has_film(found.folder) else None


def with_film(store: ModelStore) -> list[ModelEntry]:
    """The models whose training was filmed, smallest first."""
    return sorted((e for e in store.entries() if film_folder(e) is not None), key=lambda e: e.config.n_params)


def film_of(store: ModelStore, name: str) -> Film:
    """The film beside a model, read once and kept.

    Raises ValueError, in a sentence, where there is none, where it cannot be read, and where it is of another model.
    """
    entry = store.entry(name)
    folder = film_folder(entry)
    if folder is None:
        names = ", ".join(e.name for e in with_film(store)) or "none yet"
        raise ValueError(f"There is no film of the training of {name}; films there are: {names}.")
    # The name is inside a tuple, so that the film outlives the model in the store.
    return store.result((("film", name, str(folder)),), lambda: _read(entry, folder))


def _read(entry: ModelEntry, folder: Path) -> Film:
    film, config = films.read(folder), entry.config
    shape, expected = film.induction.shape[1:], (config.n_layers, config.n_heads)
    if shape != expected:
        raise ValueError(
            f"The film beside {entry.name} has {shape[0]} x {shape[1]} heads and the model {expected[0]} x {expected[1]}; "
            "make the film again from this model's snapshots."
        )
    return film


def chosen(view: View) -> str | None:
    """The model whose film is looked at: the one asked for, else the page's own; None where that has no film."""
    if view.state.film:
        return view.state.film
    return view.state.model if film_folder(view.entry) is not None else None


def choose(store: ModelStore, state: PageState, name: str) -> PageState:
    """The state with a model's film, from its last frame. Raises ValueError for a model without one."""
    film_of(store, name)
    return state.but(film="" if name == state.model else name, frame=None)


def frame(state: PageState, film: Film) -> int:
    """The frame looked at: the state's where the film has it, else the last."""
    return film.frames - 1 if state.frame is None else min(state.frame, film.frames - 1)


def head(state: PageState, film: Film) -> tuple[int, int]:
    """(layer, head) looked at: the state's where the model has it, else the nearest."""
    _, layers, heads = film.induction.shape
    return min(state.layer, layers - 1), min(state.head, heads - 1)


def courses(store: ModelStore) -> list[Course]:
    """The losses of every filmed model whose tokens and losses are known, smallest model first."""
    found = [course(film_of(store, entry.name), entry.name) for entry in with_film(store)]
    return [c for c in found if c is not None]


def course(film: Film, name: str) -> Course | None:
    """What of a film belongs into a comparison; None where no validation loss was measured after the start."""
    points = [(t, float(loss)) for t, loss in zip(film.tokens, film.validation_loss) if t and loss is not None]
    return Course(name, film.parameters, *(tuple(column) for column in zip(*points))) if points else None
