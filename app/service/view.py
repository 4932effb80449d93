"""What the page shows, computed: one `View` per state of the page, shared by every tab."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from app.state import PageState
from app.store import ModelStore
from gpt2_core.checkpoints import ModelEntry
from gpt2_core.config import GPT2Config
from gpt2_core.model import GPT2
from interp import predictions
from interp.attention import pattern_names
from interp.lens import lens_names
from interp.run import Run, trace

PATTERNS_IN_RUN = 256e6  # bytes; beyond this, attention patterns are computed when the attention tab asks for them


@dataclass(frozen=True)
class NextView:
    """The likeliest next tokens at the selected position. before: their probability without the edits, None where nothing is edited."""

    position: int
    ids: list[int]
    shown: list[str]
    p: list[float]
    before: list[float] | None
    entropy: float
    residual: float


@dataclass(frozen=True)
class View:
    """A state of the page and what follows from it. Runs and results are computed when first asked for, and kept in the store."""

    store: ModelStore
    state: PageState

    @cached_property
    def model(self) -> GPT2:
        return self.store.model(self.state.model)

    @cached_property
    def entry(self) -> ModelEntry:
        return self.store.entry(self.state.model)

    @property
    def config(self) -> GPT2Config:
        return self.model.config

    def _trace(self, plan) -> Run:
        s, cfg = self.state, self.config

        def compute() -> Run:
            n = len(self.model.tokenizer.encode(s.prompt)) + s.bos
            names = lens_names(cfg.n_layers, mid=True)
            if 4 * cfg.n_layers * cfg.n_heads * n * n <= PATTERNS_IN_RUN:
                names += pattern_names(cfg.n_layers)
            return trace(self.model, s.prompt, plan, s.bos, names)

        return self.store.result((s.model, "run", s.prompt, s.bos, plan), compute)

    @property
    def run(self) -> Run:
        """The run as edited: what every panel shows."""
        return self._trace(self.state.plan)

    @property
    def before(self) -> Run | None:
        """The run without the edits; None where nothing is edited."""
        return self._trace(type(self.state.plan)()) if self.state.plan else None

    @cached_property
    def shown(self) -> list[str]:
        """Each token as it is printed on the page."""
        return self.model.tokenizer.shown(self.run.tokens)

    def show(self, ids) -> list[str]:
        """Any tokens as they are printed on the page."""
        return self.model.tokenizer.shown([int(i) for i in ids])

    @property
    def position(self) -> int:
        """The selected position: the state's where the prompt has it, else the last."""
        last = len(self.run) - 1
        return last if self.state.position is None else min(self.state.position, last)

    @property
    def layer(self) -> int:
        return min(self.state.layer, self.config.n_layers - 1)

    @property
    def head(self) -> int:
        return min(self.state.head, self.config.n_heads - 1)

    @cached_property
    def next_tokens(self) -> NextView:
        """The 20 likeliest next tokens after the selected position."""
        top = predictions.next_tokens(self.run, self.position)
        ids = top.ids.tolist()
        before = None if self.before is None else predictions.probability_of(self.before, ids, self.position).tolist()
        return NextView(self.position, ids, self.show(ids), top.probabilities.tolist(), before, top.entropy, top.check.residual)

    @cached_property
    def off(self) -> set[tuple[int, int]]:
        """The heads that an edit in force touches."""
        return {(e.layer, e.head) for e in self.state.plan if e.head is not None}


def as_numpy(tensor) -> np.ndarray:
    """A tensor as a float32 (or integer) array on the CPU, for figures and components, which know no torch."""
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()
