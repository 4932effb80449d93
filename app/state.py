"""The state of the page: what the prompt is, which model reads it, what is changed, and where the reader looks."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import urlencode

from gpt2_core.config import DEFAULT_MODEL
from interp.edits import NO_EDITS, Plan

TABS = ("playground", "probabilities", "attention", "zero_shot", "lens", "training", "scaling")
LANGUAGES = ("en", "ko")
MAX_PROMPT = 20_000  # characters; the context is what really limits


@dataclass(frozen=True)
class PageState:
    """Everything a copied address has to carry. position None is the last token; positions count `<|endoftext|>` where bos.

    film: the model whose training is looked at, "" for the page's own; frame: the moment of it, None for the last.
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
    tab: str = TABS[0]
    lang: str = LANGUAGES[0]

    def __post_init__(self) -> None:
        # Half a surrogate pair is no text and cannot be written into an address.
        text = self.prompt.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        object.__setattr__(self, "prompt", text)
        if len(self.prompt) > MAX_PROMPT:
            raise ValueError(f"The prompt has {len(self.prompt):,} characters; {MAX_PROMPT:,} is the most. Shorten it.")
        if self.tab not in TABS:
            raise ValueError(f"There is no tab {self.tab!r}; expected one of {', '.join(TABS)}.")
        if self.lang not in LANGUAGES:
            raise ValueError(f"There is no language {self.lang!r}; expected one of {', '.join(LANGUAGES)}.")
        for name in ("layer", "head", "position", "frame"):
            if (getattr(self, name) or 0) < 0:
                raise ValueError(f"{name} counts from 0, got {getattr(self, name)}.")

    def but(self, **changes) -> "PageState":
        """This state with some fields changed. Another model brings its own film."""
        if changes.get("model", self.model) != self.model:
            changes = {"film": "", "frame": None} | changes
        return replace(self, **changes)

    def to_query(self) -> str:
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
        return urlencode({"lang": self.lang, "prompt": self.prompt} | {k: v for k, v in plain.items() if v})

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
        return default.but(**asked)


def _whole_number(name: str, text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 6:
        raise ValueError(f"The address says {name}={text[:20]!r}; expected a whole number.")
    return int(text)
