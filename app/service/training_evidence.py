"""What the training tab hands out: a film's numbers frame by frame, and the losses of all filmed models."""

from app.evidence import Evidence
from app.service import training as service
from app.service.scripts import script
from app.service.view import View
from interp.film import ROLES

_IMPORTS = "from gpt2_core.checkpoints import locate\nfrom interp import film_store"


def film_evidence(view: View) -> Evidence:
    """Losses and the highest score of each role, frame by frame. Raises ValueError where the page's model has no film."""
    name = service.chosen(view)
    film = service.film_of(view.store, name or view.state.model)
    tables = [film.train_loss, film.validation_loss, film.first_copy_loss, film.second_copy_loss]
    best = [getattr(film, role).max((1, 2)).tolist() for role in ROLES]
    rows = list(zip(film.steps, film.tokens, *tables, *best))
    columns = ("step", "tokens", "train_loss", "validation_loss", "first_copy_loss", "second_copy_loss", *ROLES)
    code = f"""
film = film_store.read(locate({film.model!r}).folder)
for frame, step in enumerate(film.steps):
    scores = [getattr(film, role)[frame].max() for role in {list(ROLES)}]
    print(step, film.tokens[frame], film.validation_loss[frame], *(f"{{score:.4f}}" for score in scores))
"""
    facts = {
        "model": film.model,
        "parameters": film.parameters,
        "induction_bump": film.induction_bump,
        "chance": dict(film.chance),
    }
    return Evidence("training", columns, rows, script(view, _IMPORTS, code, run=False), "", facts)


def family_evidence(view: View) -> Evidence:
    """The validation loss of every filmed model over the tokens read."""
    courses = service.courses(view.store)
    rows = [(c.model, c.parameters, n, loss) for c in courses for n, loss in zip(c.tokens, c.losses)]
    code = f"""
for name in {[c.model for c in courses]}:
    film = film_store.read(locate(name).folder)
    for tokens, loss in zip(film.tokens, film.validation_loss):
        if tokens and loss is not None:
            print(name, film.parameters, tokens, loss)
"""
    columns = ("model", "parameters", "tokens", "validation_loss_nats")
    return Evidence("training-family", columns, rows, script(view, _IMPORTS, code, run=False), "", {})
