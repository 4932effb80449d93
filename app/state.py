"""The state of the page: what the prompt is, which model reads it, what is changed, and where the reader looks.

All of it is in the address. An address has an end, though: uvicorn reads at most 64 KiB of a request's head and httpx refuses a longer
URL, and Gradio sends the page's query along with every event, so that one byte too many stops the whole page. A character costs one byte
in English and nine in Korean. What does not fit is left out of the address, the longest text first, and named (`Address.left_out`).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import urlencode

from gpt2_core.config import DEFAULT_MODEL
from interp.edits import NO_EDITS, Plan

TABS = (
    "playground",
    "probabilities",
    "attention",
    "heads",
    "neurons",
    "attribution",
    "patching",
    "circuits",
    "steering",
    "anatomy",
    "zero_shot",
    "lens",
    "training",
    "scaling",
    "literature",
)
LANGUAGES = ("en", "ko")
MAX_PROMPT = 20_000  # characters; the context is what really limits
SETTING = "s."  # what the address puts before a setting's name
MAX_SETTINGS, MAX_SETTING = 256, 200_000  # how many, and the characters of one
MAX_ADDRESS = (
    32_000  # bytes of an address's query: half of what uvicorn takes, the rest is for headers and other servers on the way
)


@dataclass(frozen=True)
class Address:
    """query: what stands behind the "?". left_out: what was too long for it, by the names that it has there, with its characters."""

    query: str
    left_out: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class PageState:
    """Everything a copied address has to carry. position None is the last token; positions count `<|endoftext|>` where bos.

    film: the model whose training is looked at, "" for the page's own; frame: the moment of it, None for the last. settings: what
    was chosen inside the tabs, by name ("patching.metric"), as text and sorted; only what differs from a tab's own choice is here
    (`app.setting`).
    """

    model: str = DEFAULT_MODEL
    prompt: str = ""
    bos: bool = True
    plan: Plan = field(default=NO_EDITS)
    position: int | None = None
    layer: int = 0
    head: int = 0
    film: str = ""
    frame: int | None = None
    settings: tuple[tuple[str, str], ...] = ()
    tab: str = TABS[0]
    lang: str = LANGUAGES[0]

    def __post_init__(self) -> None:
        object.__setattr__(self, "prompt", _whole(self.prompt))
        if len(self.prompt) > MAX_PROMPT:
            raise ValueError(f"The prompt has {len(self.prompt):,} characters; {MAX_PROMPT:,} is the most. Shorten it.")
        if self.tab not in TABS:
            raise ValueError(f"There is no tab {self.tab!r}; expected one of {', '.join(TABS)}.")
        if self.lang not in LANGUAGES:
            raise ValueError(f"There is no language {self.lang!r}; expected one of {', '.join(LANGUAGES)}.")
        for name in ("layer", "head", "position", "frame"):
            if (getattr(self, name) or 0) < 0:
                raise ValueError(f"{name} counts from 0, got {getattr(self, name)}.")
        object.__setattr__(self, "settings", tuple(sorted((name, _whole(value)) for name, value in self.settings)))
        if len(self.settings) > MAX_SETTINGS:
            raise ValueError(f"The address has {len(self.settings)} settings of tabs; {MAX_SETTINGS} is the most.")
        for name, value in self.settings:
            if not re.fullmatch(r"[a-z_]{1,30}\.[a-z0-9_]{1,30}", name):
                raise ValueError(f"{name[:40]!r} is no name of a setting; expected something like patching.metric.")
            if len(value) > MAX_SETTING:
                raise ValueError(f"{name} has {len(value):,} characters; {MAX_SETTING:,} is the most. Shorten it.")

    def but(self, **changes) -> "PageState":
        """This state with some fields changed. Another model brings its own film."""
        if changes.get("model", self.model) != self.model:
            changes = {"film": "", "frame": None} | changes
        return replace(self, **changes)

    def settings_of(self, tab: str | None) -> "PageState":
        """This state with the settings of one tab only."""
        return self.but(settings=tuple(s for s in self.settings if s[0].split(".")[0] == tab))

    def address(self) -> Address:
        """The address's query; fields at their default are left out, except those whose default depends on the reader."""
        plain = {
            "model": self.model,
            "bos": "" if self.bos else "0",
            "plan": self.plan.to_json() if self.plan else "",
            "position": "" if self.position is None else str(self.position),
            "layer": str(self.layer or ""),
            "head": str(self.head or ""),
            "film": self.film,
            "frame": "" if self.frame is None else str(self.frame),
            "tab": "" if self.tab == TABS[0] else self.tab,
        }
        chosen = {SETTING + name: value for name, value in self.settings}
        said = {"lang": self.lang, "prompt": self.prompt} | {k: v for k, v in plain.items() if v} | chosen
        left_out = []
        while len(query := urlencode(said)) > MAX_ADDRESS:
            longest = max(said, key=lambda name: len(urlencode({name: said[name]})))
            left_out.append((longest, len(said.pop(longest))))
        return Address(query, tuple(left_out))

    def to_query(self) -> str:
        """The query of `address`."""
        return self.address().query

    @staticmethod
    def from_query(query: Mapping[str, str], default: "PageState") -> "PageState":
        """The state of an address; what it does not say is as in `default`. Raises ValueError, in one sentence."""
        asked = {name: query[name] for name in ("model", "prompt", "film", "tab", "lang") if query.get(name)}
        if "prompt" in query:
            asked["prompt"] = query["prompt"]
        for name in ("position", "layer", "head", "frame"):
            if query.get(name):
                asked[name] = _whole_number(name, query[name])
        if query.get("bos"):
            asked["bos"] = query["bos"] != "0"
        if query.get("plan"):
            asked["plan"] = Plan.from_json(query["plan"])
        asked["settings"] = tuple((k.removeprefix(SETTING), v) for k, v in query.items() if k.startswith(SETTING))
        return default.but(**asked)


def _whole(text: str) -> str:
    """Half a surrogate pair is no text and cannot be written into an address."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _whole_number(name: str, text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 6:
        raise ValueError(f"The address says {name}={text[:20]!r}; expected a whole number.")
    return int(text)
