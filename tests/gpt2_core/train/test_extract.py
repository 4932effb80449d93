"""Plain text from each kind of record, against what a reader of the file would write down."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt2_core.train.documents import Record
from gpt2_core.train.extract import Unusable, cut, extract, is_wikipedia, markdown_text, normalise
from gpt2_core.train.settings import Settings

MARKDOWN = {
    "# Title #": "Title",
    "###  CHAPTER I - The Thing ": "CHAPTER I - The Thing",
    "#hashtag": "#hashtag",
    "a **bold** and *light* and ***both*** word": "a bold and light and both word",
    "an _old_ and __strong__ snake_case_name": "an old and strong snake_case_name",
    "_over two\nlines_": "over two\nlines",
    "2 * 3 * 4": "2 * 3 * 4",
    "one\n\n-------\n\ntwo": "one\n\n\n\ntwo",
    "one\n* * *\ntwo": "one\n\ntwo",
    "Title\n=====": "Title\n",
    "[text](http://example.org) and ![picture](a.png)": "text and picture",
    "> quoted\n> > twice": "quoted\ntwice",
    "an \\*escaped\\* star": "an *escaped* star",
    "Tom &amp; Jerry": "Tom & Jerry",
    "`code` here": "code here",
    "```python\na = **b**\n# c\n```\n*d*": "a = **b**\n# c\nd",
    "---\ntitle: x\ntags:\n  - y\n---\nText": "Text",
    "a <!-- hidden\n --> b": "a  b",
    "- item": "- item",
    "| a | b |\n|---|---|\n| c | d |": "| a | b |\n| c | d |",
    "[see note] and (this)": "[see note] and (this)",
}


@pytest.mark.parametrize("marked", MARKDOWN)
def test_markdown_loses_its_marks(marked):
    assert markdown_text(marked) == MARKDOWN[marked]


@given(st.text(alphabet="*_#>-`[]()!\\ \nab~=<", max_size=60))
@settings(max_examples=300, deadline=None)
def test_markdown_never_loses_letters(text):
    """Comments and addresses aside, what is removed are marks."""
    if "<!--" in text or "](" in text or "```" in text or "~~~" in text:
        return
    assert [c for c in markdown_text(text) if c in "ab"] == [c for c in text if c in "ab"]


@pytest.mark.parametrize(
    "mark", ["*", "**", "_", "[", "`", "<!--", "# ", "> ", "- ", "\\", "![](", "|-", " ", "\n", "=", "~~~"]
)
def test_no_mark_is_slow(mark):
    """Not measured, but plain to see: a quadratic pattern would take minutes for these 300,000 characters."""
    text = mark * (300_000 // len(mark)) + "x"
    assert len(normalise(markdown_text(text))) <= len(text)


def test_quotes_and_white_space_become_even():
    text = "\ufeff“It’s ‘so’”\r\n\r\n\r\n\r\nnext  \t\rlast\x00\x0cpage …—"
    assert normalise(text) == "\"It's 'so'\"\n\nnext\nlast\npage …—"
    assert normalise("“a”", quotes=False) == "“a”"


def test_half_pairs_have_a_utf_8_form_afterwards():
    assert normalise(json.loads('"a\\ud83d\\ude00b\\ud800c"')) == "a😀b\ufffdc"


def record(kind: str, data: bytes | str) -> Record:
    return Record(0, "x", kind, data, "", len(data))


def test_each_kind():
    s = Settings()
    assert extract(record("text", b"\xef\xbb\xbfplain *text*"), s).text == "plain *text*"
    assert extract(record("markdown", b"# *text*"), s).text == "text"
    assert extract(record("plain", "row"), s).text == "row"
    found = extract(record("json", b'{"text": "line", "url": "http://a.org/b"}'), s)
    assert (found.text, found.url) == ("line", "http://a.org/b")
    assert extract(record("json", b'{"text": "t", "meta": {"url": "u"}}'), s).url == "u"
    assert extract(record("json", b'{"body": "other"}'), Settings(text_key="body")).text == "other"


PAGE = """<html><head><title>T</title><link rel="canonical" href="https://example.org/page"></head><body>
<nav><a href="/">Home</a> <a href="/about">About us</a></nav><article><h1>A day at sea</h1>
<p>The caf\u00e9 by the harbour opened early, and the fishermen came in out of the rain to drink their coffee together.</p>
<p>By noon the clouds had gone, and every boat that could float was out beyond the rocks again.</p></article>
<footer>Copyright, cookies, imprint</footer></body></html>"""


def test_html_keeps_the_main_text():
    for data in (PAGE.encode(), PAGE.replace("<head>", '<head><meta charset="latin-1">').encode("latin-1")):
        found = extract(record("html", data), Settings())
        assert "The café by the harbour" in found.text and "By noon" in found.text
        assert "Home" not in found.text and "cookies" not in found.text and "<" not in found.text
        assert found.url == "https://example.org/page"


@pytest.mark.parametrize("kind, data, reason, detail", [
    ("text", b"ab\xffcd", "unreadable", "no UTF-8: byte 0xff at 2"),
    ("json", b"{not json", "unreadable", "no JSON"),
    ("json", b"[" * 100_000, "unreadable", "no JSON"),
    ("json", b"[1]", "unreadable", "no object with a text in 'text'"),
    ("json", b'{"text": 3}', "unreadable", "no object with a text"),
    ("html", b"", "no text", "no main text"),
    ("html", b"<html><body></body></html>", "no text", "no main text"),
    ("html", bytes(range(256)) * 4, "no text", ""),
])  # fmt: skip
def test_what_yields_no_text_says_why(kind, data, reason, detail):
    with pytest.raises(Unusable) as caught:
        extract(record(kind, data), Settings())
    assert caught.value.reason == reason and detail in caught.value.detail


def test_a_file_that_went_away_or_grew(tmp_path):
    with pytest.raises(Unusable, match="No such file"):
        extract(Record(0, "x", "text", tmp_path / "gone.txt"), Settings())
    big = tmp_path / "big.txt"
    big.write_bytes(b"a" * ((1 << 20) + 1))
    with pytest.raises(Unusable, match="more than 1 MiB"):
        extract(Record(0, "x", "text", big), Settings(largest_mib=1))


@pytest.mark.parametrize("url, expected", [
    ("https://en.wikipedia.org/wiki/GPT-2", True), ("http://wikipedia.org", True), ("//ko.m.wikipedia.org/x", True),
    ("en.wikipedia.org/wiki/A", True), ("HTTPS://EN.WIKIPEDIA.ORG:443/", True), ("https://notwikipedia.org/", False),
    ("https://wikipedia.org.example.com/", False), ("https://example.org/?u=wikipedia.org", False), ("", False), ("http://[bad", False),
])  # fmt: skip
def test_wikipedia_by_its_address(url, expected):
    assert is_wikipedia(url) is expected


@given(st.text(alphabet="ab \n", max_size=200).map(normalise), st.integers(1, 40))
@settings(deadline=None)
def test_cut_loses_only_white_space_at_the_cuts(text, longest):
    pieces = cut(text, longest)
    assert all(len(piece) <= longest for piece in pieces)
    assert "".join("".join(pieces).split()) == "".join(text.split())


def test_cut_prefers_the_ends_of_paragraphs():
    assert cut("aaaa aaaa\n\nbbbb bbbb\n\ncc", 16) == ["aaaa aaaa", "bbbb bbbb\n\ncc"]
    assert cut("whole", 0) == ["whole"] and cut("", 0) == []
