"""Values of the text components, for their tests."""

import re

from app.components import alternatives as alts
from app.components import bundle, edit_chips, next_token, token_strip
from app.components.next_token import NextToken
from app.components.token_strip import Legend, StripToken, token_strip_value

MODULES = (token_strip, next_token, edit_chips, alts)
TEXT = {key: f"<{key}>" for module in MODULES for key in module.TEXT_KEYS} | {
    "was": "was {p}", "remove": "remove {label}", "heading": "at {pos}: {token} {p}", "hover": "logprob {logprob}, id {id}",
}  # fmt: skip
MARKUP = "<img src=x onerror=window.hacked=1>"
WORDS = ["BOS", "When", "·the", "·old", "·clock", MARKUP, "·twelve", "↵"]


def strip_value(selected=None, **kw):
    tokens = [StripToken(i, word, f"token {i}", kind="prompt" if i else "bos") for i, word in enumerate(WORDS)]
    return token_strip_value(tokens, text=TEXT, label="tokens", selected=selected, **kw)


def rows(ps, before=None):
    return [NextToken(f"·w{i}", 10 + i, p, None if before is None else before[i]) for i, p in enumerate(ps)]


def shaded_value(**kw):
    tokens = [StripToken(i, word, shade=i / 10, before=i / 20) for i, word in enumerate(WORDS)]
    return token_strip_value(tokens, text=TEXT, label="shaded", legend=Legend("p", "0", "1"), **kw)


def palettes():
    """The colours of theme.css by name, light and dark."""
    css = (bundle.ASSETS / "theme.css").read_text()
    read = lambda block: dict(re.findall(r"--gb-([\w-]+): (#[0-9a-f]{6})", block))  # noqa: E731
    light = read(css[css.index(":root {") : css.index(".dark {")])
    return {"light": light, "dark": light | read(css[css.index(".dark {") : css.index(":root body")])}
