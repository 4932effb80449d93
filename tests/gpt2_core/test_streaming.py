"""Text cut into pieces that may be shown: against cutting the whole text at once."""

import random

from gpt2_core.streaming import TextStream, recent
from gpt2_core.tokenizer import Tokenizer


def cut_at_once(tokenizer: Tokenizer, ids: list[int], stop: list[str]) -> tuple[str, bool]:
    """The text up to the first stop string in the shortest beginning that contains any."""
    for n in range(1, len(ids) + 1):
        text = tokenizer.decode(ids[:n])
        found = [text.index(s) for s in stop if s in text]
        if found:
            return text[: min(found)], True
    return tokenizer.decode(ids), False


def test_text_stream_never_shows_a_stop_string_nor_half_a_character():
    tokenizer, rng, stops = Tokenizer.load(), random.Random(0), 0
    for _ in range(600):
        words = [rng.choice(["a", "b", "ab", " ", "한", "😀", "é", "\n"]) for _ in range(rng.randint(0, 14))]
        # whole, or word by word: the same text in other tokens
        ids = tokenizer.encode("".join(words)) if rng.random() < 0.5 else [i for w in words for i in tokenizer.encode(w)]
        stop = ["".join(rng.choice("ab 한") for _ in range(rng.randint(1, 4))) for _ in range(rng.randint(0, 2))]
        expected, stopped = cut_at_once(tokenizer, ids, stop)
        row, pieces = TextStream(tokenizer, (), stop), []
        for id in ids:
            pieces.append(row.push(id))
            if row.stopped:
                break
        assert ("".join(pieces) + row.flush(), row.stopped) == (expected, stopped)
        assert not any("\ufffd" in piece for piece in pieces)
        stops += stopped
    assert 100 < stops < 500


def test_text_that_cannot_become_a_stop_string_is_not_held_back():
    tokenizer = Tokenizer.load()
    row = TextStream(tokenizer, (), ["\n\nQ:"])
    assert [row.push(id) for id in tokenizer.encode("yes\n")] == ["yes", ""]
    assert row.push(tokenizer.encode("no")[0]) == "\nno"


def test_a_prompt_that_ends_inside_a_character_is_completed():
    tokenizer = Tokenizer.load()
    first, *rest = tokenizer.encode("😀")
    row = TextStream(tokenizer, [40, first])
    assert "".join(row.push(id) for id in rest) == "😀"


def test_the_first_token_stays_where_there_is_room_for_two():
    ids = [9, 1, 2, 3]
    assert [recent(ids, keep, False) for keep in (1, 2, 3)] == [[3], [2, 3], [1, 2, 3]]
    assert [recent(ids, keep, True) for keep in (1, 2, 3)] == [[3], [9, 3], [9, 2, 3]]
