"""Text <-> tokens: GPT-2's byte-level BPE, and what is needed to show tokens that are not whole characters.

A text is cut into words by a regular expression, and each word's UTF-8 bytes are merged, most frequent pairs first, into
tokens. Since every byte is a token, every text can be written and nothing is unknown; the price is that a token may be
a part of a character ("😀" is three tokens). Encoding is tiktoken's, with GPT-2's vocabulary from `assets/vocab`.

Sources: Radford et al. 2019, section 2.2; openai/gpt-2 `src/encoder.py`; tiktoken `openai_public.py` (the pattern).
"""

import codecs
import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import tiktoken

from gpt2_core.vocabulary import Vocabulary, read_embedded, read_folder

PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""

# The pattern's `\s+(?!\S)` recurses once per character and fails on a few hundred thousand of them. It takes a run of
# white space up to its last character; cutting the text there beforehand gives the same pieces without the recursion.
_WHITE = r"\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"  # Unicode White_Space, as tiktoken's \s
_LONG_RUN = 10_000


@dataclass(frozen=True)
class TokenSpan:
    """Where a token lies in the decoded text, counted in bytes of UTF-8 and in characters (ends are exclusive).

    Tokens that are parts of one character share that character's span.
    """

    id: int
    bytes: bytes
    byte_start: int
    byte_end: int
    char_start: int
    char_end: int


@dataclass(frozen=True, eq=False)
class Tokenizer:
    """Turns text into token ids and back. Make one with `Tokenizer.load()`.

    Ids that the vocabulary has no token for (a model's table may be padded) are written as text: `<|50300|>`.
    """

    vocabulary: Vocabulary
    encoding: tiktoken.Encoding

    @staticmethod
    def load(folder: str | Path | None = None) -> "Tokenizer":
        """GPT-2's tokenizer, or the one of a checkpoint folder where that has its own vocabulary files.

        Raises ValueError, in one sentence, where the vocabulary is damaged or is not a byte-level BPE.
        """
        own = read_folder(Path(folder)) if folder is not None else None
        return _embedded() if own is None else _build(own)

    @property
    def n_vocab(self) -> int:
        """Number of ids, special tokens included: 50257 for GPT-2."""
        return self.encoding.n_vocab

    @property
    def bos_id(self) -> int:
        """The id that begins a text: `<|endoftext|>`, 50256 for GPT-2."""
        return self.vocabulary.specials[self.vocabulary.end]

    @property
    def eos_id(self) -> int:
        """The id that ends a text; the same token as `bos_id`."""
        return self.bos_id

    def encode(self, text: str, allow_special: bool = False) -> list[int]:
        """Token ids of a text.

        `<|endoftext|>` in the text is plain text, unless `allow_special`. A lone surrogate (half a UTF-16 pair, which is
        not Unicode text and has no UTF-8 form) is read as U+FFFD; a pair of them as the character they stand for.
        """
        if not allow_special:
            return self._encode_plain(text)
        specials = self.vocabulary.specials
        longest_first = sorted(specials, key=len, reverse=True)
        pieces = re.split("(" + "|".join(map(re.escape, longest_first)) + ")", text)
        return [i for n, p in enumerate(pieces) for i in ([specials[p]] if n % 2 else self._encode_plain(p))]

    def _encode_plain(self, text: str) -> list[int]:
        start, ids = 0, []
        for run in re.finditer(rf"[{_WHITE}]{{{_LONG_RUN},}}(?=[^{_WHITE}])", text) if len(text) > _LONG_RUN else ():
            ids += self.encoding.encode_ordinary(text[start : run.end() - 1])
            start = run.end() - 1
        return ids + self.encoding.encode_ordinary(text[start:])

    def token_bytes(self, id: int) -> bytes:
        """The bytes of one token. Raises ValueError for a negative id."""
        if id < 0:
            raise ValueError(f"Token ids are 0 or more, got {id}.")
        try:
            return self.encoding.decode_single_token_bytes(id)
        except (KeyError, OverflowError):
            return f"<|{id}|>".encode()

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The UTF-8 bytes of a sequence of tokens; they need not be whole characters."""
        return b"".join(self.token_bytes(int(i)) for i in ids)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of a sequence of tokens; bytes that are no character become U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def spans(self, ids: Iterable[int]) -> list[TokenSpan]:
        """Where each token lies in `decode(ids)`, in bytes and in characters."""
        ids = [int(i) for i in ids]
        parts = [self.token_bytes(i) for i in ids]
        char_at = _char_of_each_byte(b"".join(parts))
        spans, start = [], 0
        for id, part in zip(ids, parts):
            end = start + len(part)
            spans.append(TokenSpan(id, part, start, end, char_at[start], char_at[end - 1] + 1))
            start = end
        return spans

    def strings(self, ids: Iterable[int]) -> list[str]:
        """One string per token; bytes that are only a part of a character are named, as in `<0xF09F>`."""
        return [_readable(self.token_bytes(int(i))) for i in ids]

    def shown(self, ids: Iterable[int]) -> list[str]:
        """One string per token with nothing invisible in it, for labels.

        Space is `·`, newline `↵`, tab `⇥`, other control characters their pictures (`␀`), other blanks and invisible
        marks their code (`<U+200B>`), and a mark that combines with a letter before it stands on a dotted circle.
        """
        return [_visible(string) for string in self.strings(ids)]

    def stream(self) -> "StreamDecoder":
        """A decoder for tokens that arrive one at a time."""
        return StreamDecoder(self)

    def to_hf_files(self, folder: str | Path) -> list[Path]:
        """Write `vocab.json`, `merges.txt` and `tokenizer_config.json`, from which transformers builds this tokenizer."""
        end = self.vocabulary.end
        config = {"tokenizer_class": "GPT2Tokenizer", "bos_token": end, "eos_token": end, "unk_token": end}
        files = {
            "vocab.json": self.vocabulary.vocab_json(),
            "merges.txt": self.vocabulary.merges_txt(),
            "tokenizer_config.json": json.dumps(config | {"add_prefix_space": False}, indent=2) + "\n",
        }
        for name, text in files.items():
            (Path(folder) / name).write_bytes(text.encode())
        return [Path(folder) / name for name in files]


class StreamDecoder:
    """Decodes tokens one at a time and gives out only whole characters: `push` each id, `flush` at the end.

    What `push` and `flush` return, joined, is `decode` of the ids.
    """

    def __init__(self, tokenizer: Tokenizer):
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, id: int) -> str:
        """The characters that this token completes; "" while a character is still unfinished."""
        return self._decoder.decode(self._tokenizer.token_bytes(int(id)))

    def flush(self) -> str:
        """U+FFFD if the last character was never finished, else ""; the decoder can then be used again."""
        return self._decoder.decode(b"", final=True)


@lru_cache(maxsize=1)
def _embedded() -> Tokenizer:
    return _build(read_embedded())


def _build(vocabulary: Vocabulary) -> Tokenizer:
    encoding = tiktoken.Encoding("gpt2", pat_str=PATTERN, mergeable_ranks=vocabulary.ranks, special_tokens=vocabulary.specials)
    return Tokenizer(vocabulary, encoding)


def _pieces(data: bytes) -> list[tuple[bytes, str | None]]:
    """Bytes cut into valid text and, with None, the malformed sequences that each become one U+FFFD."""
    pieces, start = [], 0
    while start < len(data):
        try:
            pieces.append((data[start:], data[start:].decode()))
            break
        except UnicodeDecodeError as error:
            bad, after = start + error.start, start + error.end
            if bad > start:
                pieces.append((data[start:bad], data[start:bad].decode()))
            pieces.append((data[bad:after], None))
            start = after
    return pieces


def _char_of_each_byte(data: bytes) -> Sequence[int]:
    chars, count = [], 0
    for raw, text in _pieces(data):
        widths = [len(raw)] if text is None else [len(char.encode()) for char in text]
        for width in widths:
            chars += [count] * width
            count += 1
    return chars


def _readable(data: bytes) -> str:
    strings, bad = [], b""
    for raw, text in [*_pieces(data), (b"", "")]:
        if text is None:
            bad += raw
            continue
        strings.append(f"<0x{bad.hex().upper()}>" * bool(bad) + text)
        bad = b""
    return "".join(strings)


_MARKS = {" ": "·", "\n": "↵", "\t": "⇥", "\x7f": "␡"} | {chr(c): chr(0x2400 + c) for c in range(32) if c not in (9, 10)}


def _visible(string: str) -> str:
    marked = "".join(_MARKS.get(c) or (c if c.isprintable() else f"<U+{ord(c):04X}>") for c in string)
    return "\u25cc" + marked if unicodedata.category(marked[:1] or "x").startswith("M") else marked
