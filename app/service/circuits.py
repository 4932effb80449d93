"""What the circuits tab searches: which prompts, at which level, what it costs, and the search itself, step by step."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from app.service import patching_pair
from app.service.view import View
from app.setting import Setting
from app.state import PageState
from gpt2_core.accounting import forward_flops
from gpt2_core.config import GPT2Config
from interp import prompt_sets
from interp.circuit_graph import reached
from interp.circuits import EMBED, LEVELS, Circuit, Edge, Node, Step, all_edges, all_nodes, circuit_logits, discover, divergence
from interp.metrics import AnswerMetric, answer_metric, evaluate
from interp.sweep_cost import speed

PAIR = "pair"
TASK = Setting(
    "circuits.task", "induction", one_of=("induction", PAIR, *(name for name in prompt_sets.SETS if name != "induction"))
)
PROMPTS = Setting("circuits.prompts", 4, low=1, high=32)
LEVEL = Setting("circuits.level", "node", one_of=LEVELS)
TAU = Setting("circuits.tau", 0.02, low=0.0001, high=10)
CUT = Setting("circuits.cut", 0.0, low=0, high=1000)  # the threshold dragged to; 0 stands for the search's own
OPTIONS = {"induction": {"of": "words", "length": 8}}
DRAWN = 6  # so many times as many pairs are drawn, since only those of one length can be run together
MOST_EDGES = 4000  # beyond, an edge search takes hours
AT_ONCE = 25e9  # FLOPs: less is searched unasked
POINTS = 9  # thresholds at which circuits are run exactly


@dataclass(frozen=True)
class Task:
    """Prompts of one length. clean, corrupted: ids [prompt pos], `<|endoftext|>` included; metric: of last-position logits.

    correct, wrong: answer ids, one tuple a prompt; corruption, source: of the set, "" for a pair of the page's own.
    """

    name: str
    clean: Tensor
    corrupted: Tensor
    metric: AnswerMetric
    measure: str
    correct: tuple[tuple[int, ...], ...]
    wrong: tuple[tuple[int, ...], ...]
    corruption: str
    source: str

    def __len__(self) -> int:
        return len(self.clean)


@dataclass(frozen=True)
class Cost:
    """runs: nodes or edges to try; possible: False where there are too many edges."""

    runs: int
    flops: float
    seconds: float
    possible: bool

    @property
    def small(self) -> bool:
        return self.possible and self.flops <= AT_ONCE


@dataclass(frozen=True)
class Tried:
    """One node or edge, and by how much leaving it out at its turn raised the KL (nats)."""

    thing: Node | Edge
    effect: float
    kept: bool
    kl: float


@dataclass(frozen=True)
class Point:
    """A circuit that was run exactly: what had at least this effect. size: nodes or edges in it; kl: of the whole model from it, nats.

    share: of the metric's way from the corrupted run to the whole model, mean over prompts first.
    """

    threshold: float
    size: int
    kl: float
    share: float


@dataclass(frozen=True)
class Found:
    """A search, running or finished. circuit and curve (largest circuit first): when finished."""

    level: str
    tau: float
    tried: tuple[Tried, ...]
    total: int
    circuit: Circuit | None = None
    curve: tuple[Point, ...] = ()

    @property
    def done(self) -> bool:
        return self.circuit is not None


def task(view: View) -> Task:
    """The prompts of the chosen task. Raises ValueError where the set cannot be built or the pair does not fit together."""
    s, name = view.state, TASK.of(view.state)
    if name == PAIR:
        return _own_pair(view)
    key = (s.model, "circuit task", name, PROMPTS.of(s), s.bos)
    return view.store.result(key, lambda: _drawn(view, name, PROMPTS.of(s)))


def _drawn(view: View, name: str, wanted: int) -> Task:
    """The largest group of one length among pairs drawn with seed 0, at most `wanted` of them."""
    tokenizer, options = view.model.tokenizer, OPTIONS.get(name, {})
    drawn, n = None, DRAWN * wanted
    while drawn is None:  # small sets have not so many different pairs
        try:
            drawn = prompt_sets.build(name, tokenizer, n=n, seed=0, **options)
        except ValueError:
            if n == 1:
                raise
            n = max(1, n // 2)
    whole = max(drawn.batches(bos=view.state.bos), key=len)
    some = replace(drawn, pairs=tuple(whole.pairs[:wanted]))
    (batch,) = some.batches(bos=view.state.bos, device=view.model.wte.weight.device)
    answers = [tuple(pair.correct) for pair in batch.pairs], [tuple(pair.wrong) for pair in batch.pairs]
    return Task(
        name, batch.clean, batch.corrupted, batch.metric, drawn.metric, *map(tuple, answers), drawn.corruption, drawn.source
    )


def _own_pair(view: View) -> Task:
    q = patching_pair.question(view)
    measure = "logit_difference" if q.measure in ("kl", "probability") else q.measure
    device = view.model.wte.weight.device
    clean, corrupted = (torch.tensor([ids], device=device) for ids in (q.clean, q.corrupted))
    wrong = q.wrong or q.correct
    return Task(PAIR, clean, corrupted, answer_metric(measure, [q.correct], [wrong]), measure, (q.correct,), (wrong,), "", "")


def cost(view: View, level: str) -> Cost:
    """What a search takes. An edge's run also carries every writer's change along, about as much again as the run itself."""
    asked, cfg = task(view), view.config
    runs = len(candidates(cfg, level)) if level == "node" or edge_count(cfg) <= MOST_EDGES else edge_count(cfg)
    prompts, length = asked.clean.shape
    one = forward_flops(cfg, length, batch=prompts, logits_positions=1).total
    flops = runs * one * (0.6 if level == "node" else 2.0)  # a run begins at the layer that is tried
    rate = view.store.result((view.state.model, "speed"), lambda: speed(view.model))
    overhead = (0.0003 if level == "node" else 0.001) * cfg.n_layers * runs  # seconds of calls, whatever the width
    return Cost(runs, flops, 1.5 * flops / rate + overhead, level == "node" or runs <= MOST_EDGES)


def candidates(config: GPT2Config, level: str) -> list:
    """Everything a search tries, in the order of the data flow."""
    return all_nodes(config) if level == "node" else all_edges(config)


def edge_count(config: GPT2Config) -> int:
    """How many edges a model has: three ports of each head, each MLP and the output, from every writer before them."""
    H, L = config.n_heads, config.n_layers
    before = [1 + layer * (H + 1) for layer in range(L)]
    return sum(3 * H * n + n + H for n in before) + 1 + L * (H + 1)


def key(view: View) -> tuple:
    """Under which a search is kept: everything it depends on."""
    s, asked = view.state, task(view)
    tokens = tuple(map(tuple, asked.clean.tolist())), tuple(map(tuple, asked.corrupted.tolist()))
    return (s.model, "circuit", *tokens, asked.correct, asked.wrong, asked.measure, LEVEL.of(s), TAU.of(s), s.plan, s.bos)


def known(view: View) -> Found | None:
    """The finished search of this state, if it was made."""
    return view.store.peek(key(view))


def _steps(view: View) -> list[Step]:
    """The steps of this search so far, whoever asked for them; it grows while one runs, and what was stopped goes on behind them."""
    return view.store.result((*key(view), "steps"), list)


def stopped(view: View) -> Found | None:
    """A search of this state that is not finished, as far as it came."""
    steps = view.store.peek((*key(view), "steps"))
    return Found(LEVEL.of(view.state), TAU.of(view.state), _tried(steps), steps[-1].total) if steps else None


def _tried(steps: Sequence[Step]) -> tuple[Tried, ...]:
    return tuple(Tried(step.tried, step.effect, step.kept, step.kl) for step in tuple(steps))


def search(view: View) -> Iterator[Found]:
    """The search, a Found after each node or edge; the last is finished, and kept. A finished one comes at once, and one that was
    stopped goes on."""
    ready = known(view)
    if ready is not None:
        yield ready
        return
    asked, level, tau, shared = task(view), LEVEL.of(view.state), TAU.of(view.state), _steps(view)
    before = tuple(shared)
    tried = list(_tried(before))
    given = view.model, asked.clean, asked.corrupted, asked.metric, tau, level, view.state.plan, view.state.bos
    for step in discover(*given, resume=before):
        tried[step.done - 1 :] = _tried([step])
        if len(shared) == step.done - 1:  # unless another search of the same is ahead
            shared.append(step)
        if step.circuit is None:
            yield Found(level, tau, tuple(tried), step.total)
    found = Found(level, tau, tuple(tried), step.total, step.circuit)
    found = replace(found, curve=tuple(exact(view, found, t) for t in thresholds(found)))
    yield view.store.result(key(view), lambda: found)


def kept_at(found: Found, threshold: float) -> list[Tried]:
    """What the search kept, had at least this effect at its turn, and is reached from the embeddings: all else writes corrupted values."""
    kept = [one for one in found.tried if one.kept and one.effect >= threshold]
    if found.level == "node":
        return kept if any(one.thing == EMBED for one in kept) else []
    alive = reached(one.thing for one in kept)
    return [one for one in kept if one.thing.sender in alive]


def thresholds(found: Found) -> list[float]:
    """Thresholds between all that was kept and the one largest effect, evenly spread over the sizes' logarithms."""
    effects = sorted((one.effect for one in kept_at(found, 0)), reverse=True)
    if not effects:
        return []
    steps = min(POINTS, len(effects))
    sizes = {round(len(effects) ** (i / max(1, steps - 1))) for i in range(steps)} | {len(effects)}
    return [effects[size - 1] for size in sorted(sizes, reverse=True)]


@torch.no_grad()
def exact(view: View, found: Found, threshold: float) -> Point:
    """The circuit at a threshold, run: everything else takes its value from the corrupted prompts."""
    asked, plan = task(view), view.state.plan
    kept = [one.thing for one in kept_at(found, threshold)]

    def compute() -> Point:
        whole, empty = ends(view)
        logits = circuit_logits(view.model, asked.clean, asked.corrupted, kept, found.level, plan, view.state.bos)
        values = [evaluate(asked.metric, x).mean().item() for x in (logits, whole, empty)]
        share = (values[0] - values[2]) / (values[1] - values[2]) if values[1] != values[2] else float("nan")
        return Point(threshold, len(kept), divergence(whole, logits), share)

    return view.store.result((*key(view), "exact", threshold), compute)


def ends(view: View) -> tuple[Tensor, Tensor]:
    """Last-position logits [prompt d_vocab] of the whole model on the clean and on the corrupted prompts, under the edits in force."""
    asked, level = task(view), LEVEL.of(view.state)

    def compute() -> tuple[Tensor, Tensor]:
        run = lambda kept: circuit_logits(  # noqa: E731
            view.model, asked.clean, asked.corrupted, kept, "node", view.state.plan, view.state.bos
        )
        return run(all_nodes(view.config)), run([])

    return view.store.result((*key(view), "ends", level), compute)


def cut_of(state: PageState, found: Found) -> float:
    """The threshold that is shown: the one dragged to, but never below the search's own."""
    return max(found.tau, CUT.of(state))
