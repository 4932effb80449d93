"""Text from a model, token by token: each new token is chosen, appended, and read back by the model.

`generate` returns the whole, `stream` yields every step; both run the same code. The prompt is read once, its keys and values
are kept (KV cache), and each step reads one token per row. Prompts of unequal length are padded on the left and the padding
is masked out, so that each row gets what it would get alone. A row's random numbers depend on the seed and on the number of
the sample within its prompt, not on the other rows.

When the context is full, the model forgets: the most recent half is kept and read anew, with a notice. Positions are then
counted from the first token kept, and so are the positions of edits.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gpt2_core.cache import KVCache
from gpt2_core.distribution import entropy, taken
from gpt2_core.hooks import HookFunction
from gpt2_core.model import GPT2
from gpt2_core.results import Alternative, Generation, Prompt, Request, Step, collect
from gpt2_core.sampling import Sampling, generators, sample
from gpt2_core.streaming import Prompts, TextStream, Words, end_id, read_prompts, recent, words_of


def generate(
    model: GPT2,
    prompt: Prompts,
    *,
    max_new_tokens: int = 20,
    temperature: float | int = 0.0,
    top_k: int | None = None,
    top_p: float | int | None = None,
    min_p: float | int | None = None,
    repetition_penalty: float | int = 1.0,
    seed: int = 0,
    n: int = 1,
    stop: str | Sequence[str] = (),
    stop_ids: Sequence[int] | None = None,
    top: int = 5,
    bos: bool = False,
    hook: HookFunction | None = None,
    cancel: Callable[[], bool] | None = None,
) -> Generation:
    """Continue a text, or several.

    prompt: a text, token ids, or a list of either (unequal lengths are fine). Empty means `<|endoftext|>`, with a notice.
    temperature, top_k, top_p, min_p, repetition_penalty: see `Sampling`; temperature 0 takes the likeliest token each time.
    seed, n: `n` samples of each prompt; the same seed gives the same samples, alone or in a batch.
    stop: strings before which the text is cut, wherever they fall across tokens. stop_ids: tokens that end a row; None means
    `<|endoftext|>`, () none. top: alternatives per step. bos: begin with `<|endoftext|>`.
    hook: given to every forward pass, so edits act on what is generated. cancel: asked before every token.

    Log-probabilities are natural logarithms of the model's own distribution, before temperature and filters.
    Raises ValueError for settings or ids out of range.
    """
    sampling = Sampling(temperature, top_k, top_p, min_p, repetition_penalty)
    request = _request(model, max_new_tokens, sampling, seed, n, stop, stop_ids, top, bos)
    prompts = read_prompts(model, prompt, request)
    return collect(prompts, request, _steps(model, prompts, request, hook, cancel))


def stream(
    model: GPT2,
    prompt: Prompts,
    *,
    max_new_tokens: int = 20,
    temperature: float | int = 0.0,
    top_k: int | None = None,
    top_p: float | int | None = None,
    min_p: float | int | None = None,
    repetition_penalty: float | int = 1.0,
    seed: int = 0,
    n: int = 1,
    stop: str | Sequence[str] = (),
    stop_ids: Sequence[int] | None = None,
    top: int = 5,
    bos: bool = False,
    hook: HookFunction | None = None,
    cancel: Callable[[], bool] | None = None,
) -> Iterator[Step]:
    """The same as `generate`, one `Step` as soon as each token is known. Settings are checked at the call."""
    sampling = Sampling(temperature, top_k, top_p, min_p, repetition_penalty)
    request = _request(model, max_new_tokens, sampling, seed, n, stop, stop_ids, top, bos)
    return _steps(model, read_prompts(model, prompt, request), request, hook, cancel)


def _request(model, max_new_tokens, sampling, seed, n, stop, stop_ids, top, bos) -> Request:
    stop = (stop,) if isinstance(stop, str) else tuple(stop)
    stop_ids = (end_id(model),) if stop_ids is None else tuple(int(id) for id in stop_ids)
    return Request(max_new_tokens, sampling, seed, n, stop, stop_ids, min(top, model.config.d_vocab), bos)


# -- the model's side: rows of tokens, their cache, sliding ----------------------------------------------------------------------


class _Reader:
    """The rows in the model's context, and the keys and values of what it has read of them."""

    def __init__(self, model: GPT2, windows: list[list[int]], request: Request, hook: HookFunction | None):
        self.model, self.request, self.hook = model, request, hook
        self.windows = windows
        self.pads: list[int] = []
        self.cache: KVCache | None = None

    @torch.no_grad()
    def read_all(self) -> Tensor:
        """Read every window from its start. Logits [row d_vocab] after each."""
        width = max(map(len, self.windows))
        self.pads = [width - len(window) for window in self.windows]
        capacity = min(self.model.config.n_ctx, width + self.request.max_new_tokens)
        self.cache = KVCache.empty(self.model.cfg, len(self.windows), capacity)
        return self._forward([[0] * pad + window for pad, window in zip(self.pads, self.windows, strict=True)])

    def repeat(self, n: int) -> None:
        """Each row n times, next to each other."""
        self.keep([row for row in range(len(self.windows)) for _ in range(n)])

    def keep(self, rows: list[int]) -> None:
        """Go on with these rows only."""
        if rows != list(range(len(self.windows))):
            self.windows = [list(self.windows[row]) for row in rows]
            self.pads = [self.pads[row] for row in rows]
            self.cache = self.cache.select(rows)

    @torch.no_grad()
    def read(self, ids: list[int]) -> tuple[Tensor, set[int]]:
        """Read one more token per row. Logits [row d_vocab], and the rows whose context had to slide."""
        n_ctx = self.model.config.n_ctx
        for window, id in zip(self.windows, ids, strict=True):
            window.append(id)
        if self.cache.length < n_ctx:
            return self._forward([[id] for id in ids]), set()
        slid = {row for row, window in enumerate(self.windows) if len(window) > n_ctx}
        for row in slid:
            self.windows[row] = recent(self.windows[row], max(1, n_ctx // 2), self.request.bos)
        return self.read_all(), slid

    def _forward(self, tokens: list[list[int]]) -> Tensor:
        total = self.cache.length + len(tokens[0])
        mask = torch.arange(total) >= torch.tensor(self.pads)[:, None] if any(self.pads) else None
        return self.model(torch.tensor(tokens), hook=self.hook, cache=self.cache, mask=mask, logits_at=-1)[:, 0]


# -- the loop ---------------------------------------------------------------------------------------------------------------


@dataclass
class _Row:
    """One sample while it is being written."""

    number: int
    ids: list[int]  # prompt and generated
    random: torch.Generator
    text: TextStream
    notices: tuple[str, ...]  # not yet handed out


def _rows(model: GPT2, prompts: list[Prompt], request: Request) -> list[_Row]:
    rows = []
    for prompt in prompts:
        for random in generators(request.seed, range(request.n)):
            text = TextStream(words_of(model), prompt.ids, request.stop)
            rows.append(_Row(len(rows), list(prompt.ids), random, text, prompt.notices))
    return rows


def _steps(
    model: GPT2,
    prompts: list[Prompt],
    request: Request,
    hook: HookFunction | None,
    cancel: Callable[[], bool] | None,
) -> Iterator[Step]:
    rows, reader = _rows(model, prompts, request), _Reader(model, [list(p.ids) for p in prompts], request, hook)
    ids: list[int] = []
    for index in range(request.max_new_tokens):
        if cancel is not None and cancel():
            yield _cancelled(index, rows)
            return
        logits = _next_logits(reader, rows, ids, request)
        ids = sample(logits, [row.random for row in rows], request.sampling, _previous(rows, request)).tolist()
        step = _step(model, index, rows, ids, logits, request)
        yield step
        going = [i for i, reason in enumerate(step.finished) if reason is None]
        if not going:
            return
        rows, ids = [rows[i] for i in going], [ids[i] for i in going]
        reader.keep(going)


def _next_logits(reader: _Reader, rows: list[_Row], ids: list[int], request: Request) -> Tensor:
    if not ids:  # the prompts, each read once however many samples are wanted
        logits = reader.read_all()
        reader.repeat(request.n)
        return logits.repeat_interleave(request.n, 0)
    logits, slid = reader.read(ids)
    for i in slid:
        kept, n_ctx = len(reader.windows[i]), reader.model.config.n_ctx
        rows[i].notices += (f"The context of {n_ctx} tokens is full; from here on the model reads the last {kept}.",)
    return logits


def _previous(rows: list[_Row], request: Request) -> Tensor | None:
    """The ids of each row for the repetition penalty, padded with -1."""
    if request.sampling.repetition_penalty == 1:
        return None
    width = max(len(row.ids) for row in rows)
    return torch.tensor([[-1] * (width - len(row.ids)) + row.ids for row in rows])


@torch.no_grad()
def _step(model: GPT2, index: int, rows: list[_Row], ids: list[int], logits: Tensor, request: Request) -> Step:
    logprobs = logits.float().log_softmax(-1)
    chosen, ranks = taken(logprobs, torch.tensor(ids, device=logits.device))
    top = logprobs.topk(request.top)
    notices = tuple(row.notices for row in rows)
    texts, finished = [], []
    for row, id in zip(rows, ids, strict=True):
        text, reason = _write(row, id, index, request, end_id(model))
        texts.append(text)
        finished.append(reason)
        row.notices = ()
    return Step(
        index=index,
        rows=tuple(row.number for row in rows),
        texts=tuple(texts),
        finished=tuple(finished),
        notices=notices,
        ids=tuple(ids),
        logprobs=tuple(chosen.tolist()),
        ranks=tuple(ranks.tolist()),
        alternatives=_alternatives(words_of(model), top.indices.tolist(), top.values.tolist()),
        entropies=tuple(entropy(logprobs).tolist()),
    )


def _alternatives(words: Words, ids: list[list[int]], logprobs: list[list[float]]) -> tuple[tuple[Alternative, ...], ...]:
    return tuple(tuple(map(Alternative, row, words.strings(row), values)) for row, values in zip(ids, logprobs, strict=True))


def _write(row: _Row, id: int, index: int, request: Request, eos: int) -> tuple[str, str | None]:
    """Take one token into the row: the text that may now be shown, and the reason if the row ends here."""
    row.ids.append(id)
    if id in request.stop_ids:
        return row.text.flush(), "eos" if id == eos else "stop"
    text = row.text.push(id)
    if row.text.stopped:
        return text, "stop"
    if index == request.max_new_tokens - 1:
        return text + row.text.flush(), "length"
    return text, None


def _cancelled(index: int, rows: list[_Row]) -> Step:
    """The closing step: no tokens, only what was held back."""
    return Step(
        index=index,
        rows=tuple(row.number for row in rows),
        texts=tuple(row.text.flush() for row in rows),
        finished=("cancelled",) * len(rows),
        notices=tuple(row.notices for row in rows),
    )
