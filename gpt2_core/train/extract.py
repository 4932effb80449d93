"""From a file's bytes to plain text: HTML through trafilatura, Markdown without its marks, quotes and white space made even.

WebText was extracted from HTML with Dragnet and Newspaper; trafilatura is the library that is kept today and does best in
the published comparisons of main-text extraction (Barbaresi 2021). Books and notes come in Markdown, whose marks (`#`, `**`)
would teach a model marks instead of prose.

All regular expressions here are bounded, so that no document makes them slow.
"""

import html
import json
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from gpt2_core.train.documents import TOO_LARGE, UNREADABLE, Record
from gpt2_core.train.needs import needed
from gpt2_core.train.settings import Settings


class Unusable(Exception):
    """A document that yields no text: the reason as the report counts it, and what was found."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class Text:
    """A document's plain text, and its address where it has one."""

    text: str
    url: str = ""


def extract(record: Record, settings: Settings) -> Text:
    """The plain text of a record. Raises Unusable where there is none."""
    data, kind, url = _read(record, settings), record.kind, record.url
    if kind == "html":
        page = html_text(data)
        return Text(normalise(page.text, settings.quotes), page.url)
    if kind == "json":
        data, url = _from_json(data, settings)
    text = data if isinstance(data, str) else _decode(data)
    return Text(normalise(markdown_text(text) if kind == "markdown" else text, settings.quotes), url)


def _read(record: Record, settings: Settings) -> bytes | str:
    if isinstance(record.data, bytes | str):
        return record.data
    try:
        with record.data.open("rb") as file:
            data = file.read(settings.largest + 1)
    except OSError as error:
        raise Unusable(UNREADABLE, str(error.strerror)) from error
    if len(data) > settings.largest:
        raise Unusable(TOO_LARGE, f"more than {settings.largest_mib} MiB")
    return data


def _decode(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unusable(UNREADABLE, f"no UTF-8: byte 0x{data[error.start]:02x} at {error.start}") from error


def _from_json(line: bytes, settings: Settings) -> tuple[str, str]:
    try:
        row = json.loads(_decode(line))
    except (ValueError, RecursionError) as error:
        raise Unusable(UNREADABLE, f"no JSON: {error}") from error
    if not isinstance(row, dict) or not isinstance(row.get(settings.text_key), str):
        raise Unusable(UNREADABLE, f"no object with a text in {settings.text_key!r}")
    inner = row.get("meta") if isinstance(row.get("meta"), dict) else {}
    url = row.get(settings.url_key, inner.get(settings.url_key))
    return row[settings.text_key], url if isinstance(url, str) else ""


def html_text(data: bytes) -> Text:
    """The main text of a page, without menus, comments and advertising, and its canonical address.

    Raises Unusable where the page has none. The library's own failures on broken pages are reported, not hidden.
    """
    library = needed("trafilatura", "Reading HTML")
    try:
        tree = library.load_html(data)
        text = library.extract(tree, include_comments=False) if tree is not None else None
        found = tree.xpath("//link[@rel='canonical']/@href | //meta[@property='og:url']/@content") if tree is not None else []
    except Exception as error:  # whatever a parser raises on a malformed page
        raise Unusable(UNREADABLE, f"{type(error).__name__}: {error}"[:300]) from error
    if not text:
        raise Unusable("no text", "no main text found in the page")
    return Text(text, str(found[0]) if found else "")


def is_wikipedia(url: str) -> bool:
    """Whether an address is Wikipedia's, in any language.

    WebText left Wikipedia out, because it is the source of many test sets (Radford et al. 2019, section 2.1).
    """
    try:
        host = (urlsplit(url if "//" in url else f"//{url}").hostname or "").rstrip(".")
    except ValueError:  # not an address
        return False
    return host == "wikipedia.org" or host.endswith(".wikipedia.org")


_QUOTES = str.maketrans({c: "'" for c in "‘’‚‛"} | {c: '"' for c in "“”„‟"})
_CONTROLS = str.maketrans({c: None for c in [*range(9), *range(14, 32), 127, 0xFEFF]} | {11: "\n", 12: "\n", 0x2028: "\n"})


def normalise(text: str, quotes: bool = True) -> str:
    """Text with even white space: line feeds only, no blanks at line ends, one empty line at most, no control characters.

    With `quotes` the curly quotation marks become ' and ", as a byte-level BPE spends three bytes on each of them.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").translate(_CONTROLS)
    text = text.translate(_QUOTES) if quotes else text
    text = "\n".join(line.rstrip() for line in text.split("\n"))
    return _whole(re.sub(r"\n{3,}", "\n\n", text).strip())


def _whole(text: str) -> str:
    """Text that has a UTF-8 form: halves of UTF-16 pairs, which JSON can spell, become U+FFFD."""
    try:
        text.encode()
        return text
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})")
_FRONT = re.compile(r"\A---\n(?:[\w-]+:[^\n]*\n|[ \t-][^\n]*\n){1,100}(?:---|\.\.\.)\n")
_RULE = re.compile(r"^ {0,3}(?:-[ \t]*){3,200}$|^ {0,3}(?:\*[ \t]*){3,200}$|^ {0,3}(?:_[ \t]*){3,200}$|^ {0,3}={3,200}$")
_TABLE = re.compile(r"^\s{0,3}\|[\s:|-]{3,500}$")
_HEADING = re.compile(r"^ {0,3}#{1,6}(?:[ \t]+|$)")
_LINE_MARKS = (">", "#", "-", "*", "_", "=")
_MARKS = (  # what a text must hold for the pattern to be tried, the pattern, what stays
    ("<!--", re.compile(r"<!--.{0,2000}?-->", re.S), ""),
    ("](", re.compile(r"!?\[([^\[\]\n]{0,500})\]\([^()\n]{0,1000}\)"), r"\1"),
    ("***", re.compile(r"(?<![\\*])\*\*\*(?=[^\s*])((?:[^*\n]|\n(?!\n)){1,500})(?<=\S)\*\*\*(?!\*)"), r"\1"),
    ("**", re.compile(r"(?<![\\*])\*\*(?=[^\s*])((?:[^*\n]|\n(?!\n)){1,500})(?<=\S)\*\*(?!\*)"), r"\1"),
    ("*", re.compile(r"(?<![\\*])\*(?=[^\s*])((?:[^*\n]|\n(?!\n)){1,500})(?<=\S)\*(?!\*)"), r"\1"),
    ("__", re.compile(r"(?<![\\\w])__(?=[^\s_])((?:[^_\n]|\n(?!\n)){1,500})(?<=\S)__(?!\w)"), r"\1"),
    ("_", re.compile(r"(?<![\\\w])_(?=[^\s_])((?:[^_\n]|\n(?!\n)){1,500})(?<=\S)_(?!\w)"), r"\1"),
    ("`", re.compile(r"(?<![\\`])`([^`\n]{1,300})`(?!`)"), r"\1"),
    ("\\", re.compile(r"\\([\\`*_{}\[\]()#+.!<>~|-])"), r"\1"),
)


def markdown_text(text: str) -> str:
    """Markdown without its marks: headings, emphasis, links, rules, quotes, front matter. Code blocks lose only their fences."""
    text = _FRONT.sub("", text.replace("\r\n", "\n"))
    prose, out, fence = [], [], ""
    for line in text.split("\n"):
        opening = _FENCE.match(line)
        if fence:
            if opening and opening[1].startswith(fence) and not line.strip().strip(fence[0]):
                fence = ""
            else:
                out.append(line)
        elif opening:
            out += [_prose(prose)] if prose else []
            prose, fence = [], opening[1]
        else:
            prose.append(line)
    return "\n".join([*out, _prose(prose)] if prose else out)


def _prose(lines: list[str]) -> str:
    text = "\n".join(_line(line) for line in lines if not _TABLE.match(line))
    for mark, pattern, replacement in _MARKS:
        text = pattern.sub(replacement, text) if mark in text else text
    return html.unescape(text)


def _line(line: str) -> str:
    if line.lstrip(" ")[:1] not in _LINE_MARKS:
        return line
    line = re.sub(r"^ {0,3}(?:> ?){1,20}", "", line.rstrip())
    if _RULE.match(line):
        return ""
    heading = _HEADING.match(line)
    return re.sub(r"[ \t]+#{1,100}$", "", line[heading.end() :]).strip() if heading else line


def cut(text: str, longest: int) -> list[str]:
    """A text in pieces of about `longest` characters, cut where a paragraph ends (or a line, or a word, where none does).

    0 keeps it whole. Nothing but the white space at the cuts is lost.
    """
    pieces = []
    while longest and len(text) > longest:
        ends = (text.rfind(mark, 1, longest) for mark in ("\n\n", "\n", " "))
        end = next((end for end in ends if end > longest // 2), longest)
        pieces.append(text[:end].rstrip())
        text = text[end:].lstrip()
    return [piece for piece in [*pieces, text] if piece]
