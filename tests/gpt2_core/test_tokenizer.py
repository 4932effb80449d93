"""The tokenizer against Hugging Face's, built from the same files, and against the definition of UTF-8."""

import hashlib
import json
import time

import pytest
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt2_core import tokenizer as module
from gpt2_core import vocabulary
from gpt2_core.tokenizer import StreamDecoder, Tokenizer

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60) | st.text(
    st.sampled_from("aB1 '\n\t\r\u00a0\u3000\x1c\x85st!?é한😀\u0301\u200d👩<|>endoftx"), max_size=60
)
IDS = st.lists(st.integers(0, 50256), max_size=40)
tokenizer = pytest.fixture(scope="module")(lambda: Tokenizer.load())


@pytest.fixture(scope="module")
def reference(tokenizer):
    merges = [tuple(merge.split(" ")) for merge in tokenizer.vocabulary.merges]
    return transformers.GPT2Tokenizer(vocab=json.loads(tokenizer.vocabulary.vocab_json()), merges=merges)


@settings(max_examples=300, deadline=None)
@given(text=TEXTS)
def test_round_trip_on_any_unicode(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text)) == text


@settings(max_examples=300, deadline=None)
@given(text=TEXTS)
def test_ids_equal_hugging_face(tokenizer, reference, text):
    expected = reference.backend_tokenizer.encode(text.replace("<|endoftext|>", "")).ids
    assert tokenizer.encode(text.replace("<|endoftext|>", "")) == expected


def test_published_examples(tokenizer):
    assert tokenizer.encode("Hello world") == [15496, 995]  # openai/gpt-2 and every tutorial since
    assert tokenizer.encode("") == [] and tokenizer.decode([]) == ""
    assert (tokenizer.n_vocab, tokenizer.bos_id, tokenizer.eos_id) == (50257, 50256, 50256)


def test_files_are_rebuilt_byte_exact(tokenizer, tmp_path):
    tokenizer.to_hf_files(tmp_path)
    digests = {name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in ("vocab.json", "merges.txt")}
    assert digests["vocab.json"] == "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783"
    assert digests["merges.txt"] == "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5"


def test_transformers_loads_the_written_files(tokenizer, tmp_path):
    tokenizer.to_hf_files(tmp_path)
    loaded = transformers.GPT2Tokenizer.from_pretrained(tmp_path)
    text = "When the old clock struck twelve, 시계가 😀.\n\n  It's done"
    assert loaded(text)["input_ids"] == tokenizer.encode(text) and loaded.eos_token_id == 50256


def test_end_of_text_is_plain_text_unless_allowed(tokenizer):
    text = "one <|endoftext|>\n\n<|endoftext|>two"
    assert 50256 not in tokenizer.encode(text) and tokenizer.decode(tokenizer.encode(text)) == text
    allowed = tokenizer.encode(text, allow_special=True)
    assert allowed == [505, 220, 50256, 628, 50256, 11545] and tokenizer.decode(allowed) == text
    assert allowed == tokenizer.encoding.encode(text, allowed_special="all")


def test_lone_surrogates_become_the_replacement_character(tokenizer):
    assert tokenizer.decode(tokenizer.encode("a\ud800b")) == "a\ufffdb"
    assert tokenizer.encode("\ud83d\ude00") == tokenizer.encode("😀")


@settings(max_examples=150, deadline=None)
@given(ids=IDS)
def test_spans_cover_the_text(tokenizer, ids):
    spans, text, data = tokenizer.spans(ids), tokenizer.decode(ids), tokenizer.decode_bytes(ids)
    assert [s.id for s in spans] == ids and b"".join(s.bytes for s in spans) == data
    for span, after in zip(spans, spans[1:]):
        assert span.byte_end == after.byte_start
        assert after.char_start in (span.char_end, span.char_end - 1)  # adjoining, or parts of one character
    if spans:
        assert (spans[0].byte_start, spans[0].char_start) == (0, 0)
        assert (spans[-1].byte_end, spans[-1].char_end) == (len(data), len(text))


@settings(max_examples=150, deadline=None)
@given(text=TEXTS)
def test_characters_of_a_span_contain_its_bytes(tokenizer, text):
    data = text.encode()
    for span in tokenizer.spans(tokenizer.encode(text)):
        before = len(text[: span.char_start].encode())
        covered = text[span.char_start : span.char_end].encode()
        assert data[before : before + len(covered)] == covered
        assert before <= span.byte_start < span.byte_end <= before + len(covered)
        assert span.bytes in covered


def test_parts_of_a_character_share_its_span(tokenizer):
    ids = tokenizer.encode("a😀b")
    inner = [span for span in tokenizer.spans(ids) if span.bytes not in (b"a", b"b")]
    assert len(inner) > 1 and {(span.char_start, span.char_end) for span in inner} == {(1, 2)}


@settings(max_examples=200, deadline=None)
@given(ids=IDS)
def test_stream_joined_is_decode(tokenizer, ids):
    stream = tokenizer.stream()
    for _ in range(2):  # flush makes it new
        assert "".join([*map(stream.push, ids), stream.flush()]) == tokenizer.decode(ids)


@settings(max_examples=100, deadline=None)
@given(text=TEXTS)
def test_stream_gives_only_whole_characters(tokenizer, text):
    stream, got = StreamDecoder(tokenizer), ""
    for id in tokenizer.encode(text):
        got += stream.push(id)
        assert text.startswith(got)
    assert got == text and stream.flush() == ""


def test_strings_and_labels(tokenizer):
    ids = [*tokenizer.encode(" old\n\t\x00\u200b\u202e 😀"), 50256, 50300]
    assert tokenizer.strings(ids)[-4:] == [" <0xF09F98>", "<0x80>", "<|endoftext|>", "<|50300|>"]
    shown = "".join(tokenizer.shown(ids))
    assert shown == "·old↵⇥␀<U+200B><0xE280><0xAE>·<0xF09F98><0x80><|endoftext|><|50300|>"
    assert "".join(tokenizer.strings(ids[:3])) == " old\n\t"


@given(ids=IDS)
@settings(max_examples=100, deadline=None)
def test_labels_hold_nothing_invisible(tokenizer, ids):
    assert all(label and label.isprintable() and " " not in label for label in tokenizer.shown(ids))


def test_a_mark_stands_on_a_dotted_circle():
    assert module._visible("\u0301") == "\u25cc\u0301"


def test_negative_ids_are_refused(tokenizer):
    with pytest.raises(ValueError, match="0 or more, got -1"):
        tokenizer.decode([-1])


@settings(max_examples=150, deadline=None)
@given(text=st.text(st.sampled_from(" \n\t\u00a0\x1c\u3000ab!"), max_size=30))
def test_cutting_long_white_space_changes_no_id(tokenizer, text):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_LONG_RUN", 2)
        cut = tokenizer.encode(text)
    assert cut == tokenizer.encoding.encode_ordinary(text)


@pytest.mark.parametrize("unit", [" ", "\n", "a", "!", "한", " \n"])
def test_a_million_of_anything_takes_a_moment(tokenizer, unit):
    text = unit * (1_000_000 // len(unit)) + "x"
    started = time.perf_counter()
    ids = tokenizer.encode(text)
    assert tokenizer.encoding.decode(ids) == text and time.perf_counter() - started < 10


def test_a_damaged_vocabulary_is_named(tmp_path):
    (tmp_path / "vocab.bpe").write_text("#version: 0.2\na b\n")
    with pytest.raises(ValueError, match="damaged: its sha256 is .* expected 1ce16647"):
        vocabulary.read_embedded(tmp_path / "vocab.bpe")
    with pytest.raises(ValueError, match="missing; restore it"):
        vocabulary.read_embedded(tmp_path / "absent.bpe")


def small_vocabulary(first_id: int = 0) -> tuple[dict[str, int], list[str]]:
    """Bytes and three merges, numbered from `first_id`, with the special token in front of them."""
    merges = ["t h", "th e", "Ġ the"]
    tokens = [*vocabulary.byte_letters().values(), *(merge.replace(" ", "") for merge in merges)]
    return {"<|endoftext|>": 0} | {token: n + first_id for n, token in enumerate(tokens)}, merges


def test_a_folder_with_its_own_vocabulary(tmp_path):
    ids, merges = small_vocabulary(first_id=1)
    (tmp_path / "vocab.json").write_text(json.dumps(ids))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    own = Tokenizer.load(tmp_path)
    reference = transformers.GPT2Tokenizer(vocab=ids, merges=[tuple(m.split()) for m in merges])
    assert own.encode("the other the") == reference("the other the")["input_ids"]
    assert (own.n_vocab, own.bos_id) == (260, 0) and own.decode(own.encode("é😀 the")) == "é😀 the"
    reference.save_pretrained(tmp_path / "json")
    (tmp_path / "json" / "vocab.json").unlink(missing_ok=True)
    assert Tokenizer.load(tmp_path / "json").encode("the other the") == own.encode("the other the")
    own.to_hf_files(tmp_path / "json")
    assert Tokenizer.load(tmp_path / "json").vocabulary.ranks == own.vocabulary.ranks


def test_bytes_may_be_numbered_in_any_order(tmp_path):
    ids, merges = small_vocabulary(first_id=1)
    ids |= {"a": ids["b"], "b": ids["a"]}
    (tmp_path / "vocab.json").write_text(json.dumps(ids))
    (tmp_path / "merges.txt").write_text("\n".join(merges))
    assert Tokenizer.load(tmp_path).encode("abthe") == [ids[token] for token in ("a", "b", "the")]


def test_an_added_token_needs_a_whole_number(tmp_path):
    ids, merges = small_vocabulary(first_id=1)
    (tmp_path / "vocab.json").write_text(json.dumps(ids))
    (tmp_path / "merges.txt").write_text("\n".join(merges))
    (tmp_path / "added_tokens.json").write_text('{"<pad>": "last"}')
    with pytest.raises(ValueError, match="gives '<pad>' an id that is not a whole number"):
        Tokenizer.load(tmp_path)


@pytest.mark.parametrize("name", ["vocab.bpe", "merges.txt"])
def test_a_folder_with_a_merges_file_alone(tmp_path, name):
    (tmp_path / name).write_text("#version: 0.2\nt h\nth e\n")
    assert Tokenizer.load(tmp_path).encode("the") == [257] and Tokenizer.load(tmp_path).eos_id == 258


def test_a_folder_without_a_vocabulary_has_gpt2s(tmp_path, tokenizer):
    assert Tokenizer.load(tmp_path) is tokenizer


BROKEN = {
    "vocab.json is not valid JSON": ("{", "t h"),
    "no id for": ('{"a": 1}', "t h"),
    "not a whole number": ('{"a": "x"}', "t h"),
    "holds a list": ("[]", "t h"),
}


@pytest.mark.parametrize("message", BROKEN)
def test_a_broken_folder_is_named(tmp_path, message):
    (tmp_path / "vocab.json").write_text(BROKEN[message][0])
    (tmp_path / "merges.txt").write_text(BROKEN[message][1])
    with pytest.raises(ValueError, match=message):
        Tokenizer.load(tmp_path)


def test_another_kind_of_tokenizer_is_refused(tmp_path):
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"type": "Unigram"}}))
    with pytest.raises(ValueError, match="not a byte-level BPE"):
        Tokenizer.load(tmp_path)
