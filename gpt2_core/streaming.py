"""Text on its way into a generation and out of it: prompts as ids, ids as pieces of text that may be shown."""

from collections.abc import Iterable, Sequence

from torch import Tensor

from gpt2_core.model import GPT2
from gpt2_core.results import Prompt, Request
from gpt2_core.tokenizer import Tokenizer

Prompts = str | Sequence[int] | Sequence[str] | Sequence[Sequence[int]] | Tensor


class Ids:
    """Stands in for the tokenizer of a model that has none: a token is written as its number, `<|17|>`."""

    def strings(self, ids: Iterable[int]) -> list[str]:
        return [f"<|{id}|>" for id in ids]

    def stream(self) -> "Ids":
        return self

    def push(self, id: int) -> str:
        return f"<|{id}|>"

    def flush(self) -> str:
        return ""


Words = Tokenizer | Ids


class TextStream:
    """The text of one row as it may be shown: whole characters, never a stop string nor what may become one."""

    def __init__(self, words: Words, prompt_ids: Sequence[int] = (), stop: Sequence[str] = ()):
        self._decoder, self._stop, self._held = words.stream(), tuple(stop), ""
        self.stopped = False
        # A prompt may end inside a character; the bytes that complete it are generated. UTF-8 needs no more to recover.
        for id in prompt_ids[-8:]:
            self._decoder.push(id)

    def push(self, id: int) -> str:
        """The text that this token makes ready to be shown. Sets `stopped` when a stop string is complete."""
        return self._release(self._decoder.push(id))

    def flush(self) -> str:
        """What is still held back, at the end."""
        if self.stopped:
            return ""
        ready = self._release(self._decoder.flush())
        held, self._held = self._held, ""
        return ready + held

    def _release(self, text: str) -> str:
        self._held += text
        found = [at for at in map(self._held.find, self._stop) if at >= 0]
        self.stopped = bool(found)
        cut = min(found) if found else len(self._held) - self._possible_stop()
        ready, self._held = self._held[:cut], "" if found else self._held[cut:]
        return ready

    def _possible_stop(self) -> int:
        """Length of the longest end of the held text with which a stop string begins."""
        longest = max((len(s) for s in self._stop), default=1) - 1
        ends = range(min(longest, len(self._held)), 0, -1)
        return next((n for n in ends if any(s.startswith(self._held[-n:]) for s in self._stop)), 0)


def whole_text(words: Words, ids: Iterable[int]) -> str:
    """The text of ids, without a character that is left unfinished at the end."""
    decoder = words.stream()
    return "".join(decoder.push(id) for id in ids)


def words_of(model: GPT2) -> Words:
    """The model's tokenizer, or its stand-in."""
    return Ids() if model.tokenizer is None else model.tokenizer


def end_id(model: GPT2) -> int:
    """The id of `<|endoftext|>`, which begins and ends texts: the tokenizer's, else the vocabulary's last."""
    return model.config.d_vocab - 1 if model.tokenizer is None else model.tokenizer.eos_id


def read_prompts(model: GPT2, prompt: Prompts, request: Request) -> list[Prompt]:
    """Each prompt as the model will read it: ids, with BOS where asked for, shortened to the context."""
    given = prompt.tolist() if isinstance(prompt, Tensor) else prompt
    one = isinstance(given, str) or not any(isinstance(part, (str, Sequence, Tensor)) for part in given)
    return [_read_prompt(model, part, request) for part in ([given] if one else given)]


def _read_prompt(model: GPT2, prompt: str | Sequence[int], request: Request) -> Prompt:
    if isinstance(prompt, str) and model.tokenizer is None:
        raise ValueError("This model has no tokenizer, so it cannot read text; give the prompt as token ids.")
    is_text = isinstance(prompt, str)
    ids = model.tokenizer.encode(prompt) if is_text else [int(id) for id in prompt]
    text = prompt if is_text else whole_text(words_of(model), ids)
    notices = ()
    if not ids and not request.bos:
        notices = ("The prompt is empty, so the text begins after <|endoftext|>.",)
    if request.bos or not ids:
        ids = [end_id(model), *ids]
    n_ctx = model.config.n_ctx
    if len(ids) > n_ctx:
        # Room for what is generated (the last token is never read back), but never less than what a slide would keep.
        keep = max(1, n_ctx - min(request.max_new_tokens - 1, n_ctx // 2))
        notices += (f"The prompt has {len(ids)} tokens, the context {n_ctx}; the model reads the last {keep}.",)
        ids = recent(ids, keep, request.bos)
    return Prompt(text, tuple(ids), notices)


def recent(ids: list[int], keep: int, keep_first: bool) -> list[int]:
    """The last `keep` ids; with `keep_first` the first of all stays in front of them."""
    return [ids[0], *ids[len(ids) - keep + 1 :]] if keep_first and keep > 1 else ids[-keep:]
