"""How the prompt was cut into tokens: words by a pattern, then bytes merged pair by pair, the pair learnt first at each turn.

The merges are those of the vocabulary file; the result is compared with what the tokenizer gives (tiktoken's). Where a pair occurs
twice in a word, the left one is merged first. Source: Sennrich et al. 2016, 1508.07909; Radford et al. 2019, section 2.2.
"""

from dataclasses import dataclass

import regex

from app.evidence import Evidence
from app.service.scripts import script
from app.service.view import View
from gpt2_core.tokenizer import PATTERN, Tokenizer
from interp.run import Check

BYTES = 256  # ranks below are single bytes, so merge number n has rank 255 + n


@dataclass(frozen=True)
class Word:
    """A word of the pattern. stages: its pieces from single bytes to tokens; merges: (which piece each stage made, its number, 1 the
    first that was learnt). first: the position of its first token, without `<|endoftext|>`."""

    text: str
    stages: tuple[tuple[bytes, ...], ...]
    merges: tuple[tuple[int, int], ...]
    ids: tuple[int, ...]
    first: int


def cut(text: str) -> list[str]:
    """The words that are encoded apart from each other."""
    return regex.findall(PATTERN, text)


def merge(word: str, ranks: dict[bytes, int]) -> tuple[list[tuple[bytes, ...]], list[tuple[int, int]]]:
    """The stages of a word and the merges between them."""
    pieces = [bytes([b]) for b in word.encode()]
    stages, merges = [tuple(pieces)], []
    while True:
        pairs = [(ranks[a + b], i) for i, (a, b) in enumerate(zip(pieces, pieces[1:])) if a + b in ranks]
        if not pairs:
            return stages, merges
        rank, i = min(pairs)
        pieces[i : i + 2] = [pieces[i] + pieces[i + 1]]
        stages.append(tuple(pieces))
        merges.append((i, rank - BYTES + 1))


def prompt_words(view: View) -> tuple[tuple[Word, ...], Check]:
    """The words of the page's prompt, and whether their tokens are the tokenizer's."""
    s, tokenizer = view.state, view.model.tokenizer
    return view.store.result((s.model, "anatomy words", s.prompt), lambda: _words(tokenizer, s.prompt))


def _words(tokenizer: Tokenizer, text: str) -> tuple[tuple[Word, ...], Check]:
    ranks, found, first = tokenizer.vocabulary.ranks, [], 0
    for word in cut(text):
        stages, merges = merge(word, ranks)
        ids = tuple(ranks[piece] for piece in stages[-1])
        found.append(Word(word, tuple(stages), tuple(merges), ids, first))
        first += len(ids)
    ours, theirs = [i for word in found for i in word.ids], tokenizer.encode(text)
    wrong = sum(a != b for a, b in zip(ours, theirs)) + abs(len(ours) - len(theirs))
    return tuple(found), Check("tokens", float(wrong), 0.0)


def words_evidence(view: View) -> Evidence:
    """Every merge of the prompt in order, and a script that makes them."""
    found, _ = prompt_words(view)
    rows = [
        (n, word.text, k + 1, number, word.stages[k + 1][i].decode(errors="replace"))
        for n, word in enumerate(found)
        for k, (i, number) in enumerate(word.merges)
    ]
    body = """
ranks = model.tokenizer.vocabulary.ranks
for number, word in enumerate(regex.findall(PATTERN, TEXT)):
    pieces = [bytes([b]) for b in word.encode()]
    while pairs := [(ranks[a + b], i) for i, (a, b) in enumerate(zip(pieces, pieces[1:])) if a + b in ranks]:
        rank, i = min(pairs)  # the pair that was learnt first
        pieces[i : i + 2] = [pieces[i] + pieces[i + 1]]
        print(number, rank - 255, pieces[i])
    print(number, "tokens", [ranks[piece] for piece in pieces])
"""
    code = script(
        view, "import regex\nfrom gpt2_core.tokenizer import PATTERN", f"TEXT = {view.state.prompt!r}{body}", run=False
    )
    columns = ("word", "text", "turn", "merge_number", "made")
    return Evidence("tokens", columns, rows, code, "", {"provenance": view.run.provenance.to_dict()})
