"""Text that the page lets the model write: streamed token by token, with and without the edits in force, resumable at any token."""

import codecs
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from app.service.view import View
from app.service.writing import Knobs, Order, Text, Token, Writing
from app.store import ModelStore
from gpt2_core.generate import stream
from gpt2_core.model import GPT2
from gpt2_core.results import Step
from gpt2_core.scoring import score
from gpt2_core.streaming import whole_text
from interp.intervene import compile_plan
from interp.predictions import next_tokens, token_statistics
from interp.run import Run

ALTERNATIVES = 10
INTERVAL = 0.05  # seconds between pictures,
PER_TOKEN = 0.0004  # and more for each token on them: a long text takes a browser longer to draw
PREVIEW_TOKENS = 24
PREVIEW_PARAMETERS = 400e6  # a model larger than this, on a CPU, does not write before it is asked to
GREEDY = Knobs(PREVIEW_TOKENS, temperature=0.0)


def prompt_tokens(run: Run, bos: bool) -> tuple[Token, ...]:
    """The tokens of a run with the log-probability each was given."""
    logprobs = token_statistics(run).logprob.tolist()
    rows = enumerate(zip(run.tokens, logprobs))
    return tuple(Token(id, "bos" if bos and i == 0 else "prompt", lp if i else None) for i, (id, lp) in rows)


# -- writing ------------------------------------------------------------------------------------------------------------------


@dataclass
class _Row:
    """One text while it grows."""

    head: tuple[Token, ...]
    text: str
    tokens: list[Token] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)  # bytes of the new tokens, summed up
    finish: str | None = None

    def snapshot(self, model: GPT2, given: int, knobs: Knobs) -> Text:
        """given: bytes of the text before the first new token. Tokens of an unfinished character, or of a stop string, stay out."""
        n = len(self.tokens)
        if knobs.stop and self.finish in (None, "stop"):
            shown = len(self.text.encode()) - given
            n = sum(start < shown for start in [0, *self.lengths][:n])
        while self.finish is None and n and not _whole(model, [t.id for t in (*self.head[-8:], *self.tokens[:n])[-8:]]):
            n -= 1
        return Text((*self.head, *self.tokens[:n]), self.text, knobs, self.finish)


def _whole(model: GPT2, ids: list[int]) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    decoder.decode(model.tokenizer.decode_bytes(ids))
    return not decoder.getstate()[0]


class _Column:
    """All samples under one plan."""

    def __init__(self, view: View, order: Order, index: int, cancel: Callable[[], bool] | None):
        self.model, self.knobs, plan = view.model, order.knobs, order.plans[index]
        bos = order.state.bos
        hook = compile_plan(self.model, plan, bos)
        head = _head(view, order, index, hook)
        ids = [token.id for token in head][bos:]
        text = whole_text(self.model.tokenizer, ids)
        self.given = len(text.encode())
        arguments = order.knobs.arguments() | ({"n": 1} if order.start is not None else {})
        self.rows = [_Row(head, text) for _ in range(arguments["n"])]
        self._steps = stream(self.model, ids, bos=bos, hook=hook, top=ALTERNATIVES, cancel=cancel, **arguments)
        self.notices: tuple[str, ...] = ()

    def advance(self) -> bool:
        """One token per row. False at the end."""
        step = next(self._steps, None)
        if step is not None:
            self._take(step)
        return step is not None

    def _take(self, step: Step) -> None:
        self.notices = tuple(dict.fromkeys((*self.notices, *step.all_notices)))
        for i, number in enumerate(step.rows):
            row = self.rows[number]
            row.text += step.texts[i]
            row.finish = step.finished[i]
            if step.ids:
                others = tuple((a.id, a.logprob) for a in step.alternatives[i])
                row.tokens.append(Token(step.ids[i], "generated", step.logprobs[i], others))
                row.lengths.append((row.lengths or [0])[-1] + len(self.model.tokenizer.token_bytes(step.ids[i])))

    def snapshot(self) -> tuple[Text, ...]:
        return tuple(row.snapshot(self.model, self.given, self.knobs) for row in self.rows)


def _head(view: View, order: Order, index: int, hook) -> tuple[Token, ...]:
    """What this column starts from, with this column's own probabilities."""
    bos = order.state.bos
    if order.start is None:
        return prompt_tokens(view.run if index == 0 else view.before, bos)
    if index == order.column:
        return order.start
    scored = score(view.model, [t.id for t in order.start][bos:], bos=bos, hook=hook, top=ALTERNATIVES)
    own = [
        replace(t, logprob=lp, alternatives=tuple((a.id, a.logprob) for a in others) if t.written else ())
        for t, lp, others in zip(order.start[bos:], scored.logprobs, scored.alternatives)
    ]
    return (*order.start[:bos], *own)


def write(store: ModelStore, order: Order, cancel: Callable[[], bool] | None = None) -> Iterator[Writing]:
    """Writes what is ordered, with the edits and, where there are any, without; a picture of it at most 20 times a second.

    cancel: asked before every token. The last picture is `done`. Raises ValueError for settings out of range.
    """
    view = View(store, order.state)
    columns = [_Column(view, order, index, cancel) for index in range(len(order.plans))]
    drawn, going = 0.0, list(columns)
    while going:
        going = [column for column in going if column.advance()]
        shown = sum(len(row.head) + len(row.tokens) for column in columns for row in column.rows)
        if going and time.monotonic() - drawn >= INTERVAL + PER_TOKEN * shown:
            yield _picture(order, columns, done=False)
            drawn = time.monotonic()
    yield _picture(order, columns, done=True)


def _picture(order: Order, columns: list[_Column], done: bool) -> Writing:
    texts = [column.snapshot() for column in columns]
    if order.start is not None:
        texts = [(*old[: order.row], *new, *old[order.row + 1 :]) for old, new in zip(order.base, texts, strict=True)]
    return Writing(order, tuple(texts), tuple(dict.fromkeys(n for c in columns for n in c.notices)), done)


def preview(view: View) -> Writing:
    """The prompt, and what the model would go on with if it always took the likeliest token.

    A large model on a CPU would keep the page waiting; of that, the prompt only.
    """
    s = view.state
    order = Order(s.but(position=None, layer=0, head=0, tab="playground"), GREEDY)

    def compute() -> Writing:
        if view.store.device.type == "cpu" and view.config.n_params > PREVIEW_PARAMETERS:
            runs = [view.run, *([view.before] if s.plan else [])]
            return Writing(order, tuple((Text(prompt_tokens(run, s.bos), s.prompt, GREEDY),) for run in runs))
        return list(write(view.store, order))[-1]

    return view.store.result((s.model, "preview", s.prompt, s.bos, s.plan), compute)


# -- what else could have come --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Choice:
    """The token at a place, and the likeliest ones there with their log-probabilities, most probable first, itself included."""

    token: Token
    rows: tuple[tuple[int, float], ...]


def choice_at(store: ModelStore, writing: Writing, column: int, row: int, pos: int) -> Choice | None:
    """What could have come at a place of a text; None where nothing came before it. Raises ValueError where there is no such place."""
    text = _text(writing, column, row)
    if not 0 <= pos < len(text.tokens):
        raise ValueError(f"The text has {len(text.tokens)} tokens, there is none at position {pos}; choose one that is shown.")
    token = text.tokens[pos]
    if token.logprob is None:
        return None
    rows = token.alternatives
    if not rows:
        view = View(store, writing.order.state)
        top = next_tokens(view.run if column == 0 else view.before, pos - 1, ALTERNATIVES)
        rows = tuple(zip(top.ids.tolist(), top.probabilities.log().tolist()))
    if token.id not in (id for id, _ in rows):
        rows = (*rows, (token.id, min(token.logprob, rows[-1][1])))
    return Choice(token, rows)


def continued(
    store: ModelStore, writing: Writing, column: int, row: int, pos: int, id: int, knobs: Knobs, serial: str
) -> Order:
    """The order to write another token at a place and to go on from there. Raises ValueError for a token not offered there."""
    choice = choice_at(store, writing, column, row, pos)
    logprob = dict(choice.rows if choice else ()).get(id)
    if logprob is None:
        raise ValueError(f"Token {id} is not among those offered at position {pos}; choose one that is shown.")
    start = (*_text(writing, column, row).tokens[:pos], Token(id, "continued", logprob, choice.rows))
    return Order(writing.order.state, knobs, serial, start, column, row, writing.columns)


def _text(writing: Writing, column: int, row: int) -> Text:
    if not (0 <= column < len(writing.columns) and 0 <= row < len(writing.columns[column])):
        raise ValueError("That text is no longer on the page; choose a token of one that is.")
    return writing.columns[column][row]
