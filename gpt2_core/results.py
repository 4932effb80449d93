"""What a generation is asked for and what it gives back, step by step and as a whole."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from gpt2_core.sampling import Sampling


class Alternative(NamedTuple):
    """A token that could have come next; its log-probability in nats."""

    id: int
    text: str
    logprob: float


@dataclass(frozen=True)
class Request:
    """Everything that, with the model, the prompts and the edits, decides what a generation gives.

    stop: text is cut before the first of these strings. stop_ids: a row ends when one of these tokens comes.
    n: samples per prompt. top: alternatives reported per step. bos: begin every prompt with `<|endoftext|>`.
    Raises ValueError for a value outside its range.
    """

    max_new_tokens: int = 20
    sampling: Sampling = field(default_factory=lambda: Sampling(temperature=0.0))
    seed: int = 0
    n: int = 1
    stop: tuple[str, ...] = ()
    stop_ids: tuple[int, ...] = ()
    top: int = 5
    bos: bool = False

    def __post_init__(self) -> None:
        for name, least in (("max_new_tokens", 1), ("n", 1), ("top", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}.")
        if "" in self.stop:
            raise ValueError("A stop string must have at least one character, got an empty one; leave it out instead.")


@dataclass(frozen=True)
class Prompt:
    """A prompt as the model reads it: its text, its ids (after BOS and shortening), and what there is to say about them."""

    text: str
    ids: tuple[int, ...]
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """One new token in every row still being written. The tuples are parallel: entry i belongs to row `rows[i]`.

    texts: what can be shown of the row by now and was not given before: whole characters only, held back while it may be
    the beginning of a stop string. Joined over all steps they are the row's text.
    logprobs (nats), ranks (0 = likeliest), alternatives, entropies (nats): of the model's own distribution, edits included,
    before temperature, penalty and filters.
    finished: "length", "stop", "eos", "cancelled", or None while the row goes on.
    notices: per row, one sentence for each thing the reader should know (a shortened prompt, a slid context).
    The closing step of a cancelled generation has no tokens: its `ids` and all numbers are empty.
    """

    index: int
    rows: tuple[int, ...]
    texts: tuple[str, ...]
    finished: tuple[str | None, ...]
    notices: tuple[tuple[str, ...], ...]
    ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    ranks: tuple[int, ...] = ()
    alternatives: tuple[tuple[Alternative, ...], ...] = ()
    entropies: tuple[float, ...] = ()

    @property
    def text(self) -> str:
        """The new text of the first row of this step."""
        return self.texts[0]

    @property
    def all_notices(self) -> tuple[str, ...]:
        """The notices of all rows, each sentence once."""
        return tuple(dict.fromkeys(notice for row in self.notices for notice in row))


@dataclass(frozen=True)
class Sample:
    """One continuation of one prompt.

    ids: every generated token, a stop token or the tokens of a stop string included. text: without them.
    logprobs, ranks, alternatives, entropies: per generated token, see `Step`.
    """

    row: int
    prompt: Prompt
    ids: tuple[int, ...]
    text: str
    logprobs: tuple[float, ...]
    ranks: tuple[int, ...]
    alternatives: tuple[tuple[Alternative, ...], ...]
    entropies: tuple[float, ...]
    finish_reason: str
    notices: tuple[str, ...]

    @property
    def prompt_ids(self) -> tuple[int, ...]:
        return self.prompt.ids

    @property
    def full_text(self) -> str:
        """The prompt's text followed by the generated text."""
        return self.prompt.text + self.text


@dataclass(frozen=True)
class Generation:
    """All samples of a request: sample j of prompt i is `samples[i * n + j]`. The short properties speak of the first."""

    request: Request
    samples: tuple[Sample, ...]

    text = property(lambda self: self.samples[0].text, doc="Generated text of the first sample.")
    full_text = property(lambda self: self.samples[0].full_text, doc="Prompt and generated text of the first sample.")
    ids = property(lambda self: self.samples[0].ids, doc="Generated ids of the first sample.")
    logprobs = property(lambda self: self.samples[0].logprobs, doc="Log-probabilities (nats) of the first sample's ids.")
    alternatives = property(lambda self: self.samples[0].alternatives, doc="Likeliest tokens per step, first sample.")
    finish_reason = property(lambda self: self.samples[0].finish_reason, doc="Why the first sample ended.")
    texts = property(lambda self: tuple(s.text for s in self.samples), doc="Generated text of every sample.")
    full_texts = property(lambda self: tuple(s.full_text for s in self.samples), doc="Prompt and text of every sample.")

    @property
    def notices(self) -> tuple[str, ...]:
        """The notices of all samples, each sentence once."""
        return tuple(dict.fromkeys(notice for sample in self.samples for notice in sample.notices))


def collect(prompts: Sequence[Prompt], request: Request, steps: Iterable[Step]) -> Generation:
    """The whole generation from its steps."""
    numbers = ("ids", "logprobs", "ranks", "alternatives", "entropies")
    samples = [{"text": "", "notices": (), **dict.fromkeys(numbers, ())} for _ in range(len(prompts) * request.n)]
    for step in steps:
        for i, row in enumerate(step.rows):
            sample = samples[row]
            sample["text"] += step.texts[i]
            sample["notices"] += step.notices[i]
            sample["finish_reason"] = step.finished[i]
            for name in numbers if step.ids else ():
                sample[name] += (getattr(step, name)[i],)
    return Generation(
        request, tuple(Sample(row=i, prompt=prompts[i // request.n], **sample) for i, sample in enumerate(samples))
    )
