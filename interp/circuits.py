"""Which small part of the network does a task: greedy discovery of circuits in the manner of ACDC, of nodes or of edges.

    for step in discover(model, batch.clean, batch.corrupted, batch.metric, tau=0.05, level="node"):
        print(step.done, step.total, step.kl)                        # stop asking and it stops
    circuit = step.circuit                                           # the last step has it
    discover(model, ..., resume=steps)                               # the steps so far, handed back: it goes on behind them

The network is a graph: embeddings, heads and MLPs write into the residual stream, later ones read the sum. What is left out of a
circuit is not zero but takes its value from the corrupted prompt (resample ablation). From the output back to the input, each
node (or edge) is left out for good if that raises the KL divergence of the next-token distribution from the whole model's,
KL(model || circuit) in nats, by less than tau.

    node level   a left-out node writes its corrupted value, for all its readers; kept nodes recompute from what they then read.
    edge level   a left-out edge hands its one reader (a head's query, key or value input, an MLP, the output) the corrupted value.

What is said of a circuit C with a metric m, empty meaning the corrupted run, and the mean over prompts taken first:
    faithfulness   (m(C) - m(empty)) / (m(model) - m(empty)): 1 if the circuit does what the model does; may pass 1
    ratio          m(C) / m(model), as Wang et al. 2022 report it (0.87 for indirect objects)
    rest           (m(all but C) - m(empty)) / (m(model) - m(empty)): near 0 if the circuit is complete, nothing else does the task

Pitfalls: greedy is not optimal, and the order decides which of two heads that do the same survives; a circuit that is faithful on
average can be wrong prompt by prompt; negative heads (that work against the answer) are kept by KL and lost by a logit difference;
with a large tau everything is left out. All positions are treated alike.

Sources: Conmy et al. 2023, 2304.14997; Wang et al. 2022, 2211.00593; Miller et al. 2024, 2407.08734 (how such scores vary).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gpt2_core import distribution
from gpt2_core.model import GPT2
from interp.circuit_graph import EMBED, LOGITS, Edge, EdgeRuns, Node, NodeRuns, all_edges, all_nodes, reached
from interp.edits import NO_EDITS, Plan
from interp.intervene import compile_plan
from interp.metrics import MetricFunction, evaluate
from interp.run import Check, Provenance, begins_with_end, judged, provenance

LEVELS = ("node", "edge")


@dataclass(frozen=True)
class Circuit:
    """What is left. effects: of each node or edge that was kept, by how much leaving it out would have raised the KL at its turn, nats.

    nodes: for edges, those with an edge. total: how many nodes or edges there were. kl: KL(model || circuit), nats, mean over prompts.
    model, circuit, empty, rest: the metric [prompt] of the whole model, the circuit, the corrupted run, all but the circuit.
    """

    level: str
    tau: float | int
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...] = field(repr=False)
    effects: dict[Node, float] | dict[Edge, float] = field(repr=False)
    total: int
    kl: float
    model: Float[Tensor, " prompt"]
    circuit: Float[Tensor, " prompt"]
    empty: Float[Tensor, " prompt"]
    rest: Float[Tensor, " prompt"]
    check: Check
    provenance: Provenance

    @property
    def size(self) -> int:
        """The number of nodes, or of edges, of `total`."""
        return len(self.effects)

    @property
    def faithfulness(self) -> float:
        """See the module; NaN where model and corrupted run have the same metric."""
        return self._share(self.circuit)

    @property
    def rest_faithfulness(self) -> float:
        return self._share(self.rest)

    @property
    def ratio(self) -> float:
        return (self.circuit.mean() / self.model.mean()).item()

    def _share(self, values: Tensor) -> float:
        empty = self.empty.mean()
        return ((values.mean() - empty) / (self.model.mean() - empty)).item()


@dataclass(frozen=True)
class Step:
    """One node or edge tried. effect: by how much leaving it out raises the KL; kl: after the decision. The last has the circuit."""

    tried: Node | Edge
    effect: float
    kept: bool
    kl: float
    done: int
    total: int
    circuit: Circuit | None = None


@torch.no_grad()
def discover(
    model: GPT2,
    clean: Int[Tensor, "prompt pos"],
    corrupted: Int[Tensor, "other other_pos"],
    metric: MetricFunction,
    tau: float | int,
    level: str = "node",
    plan: Plan = NO_EDITS,
    bos: bool | None = None,
    resume: Sequence[Step] = (),
) -> Iterator[Step]:
    """Greedy discovery, a step for each node or edge, from the output back to the embeddings.

    metric: last-position logits [prompt d_vocab] to [prompt]; it judges the circuit, the search itself goes by KL. plan: edits in force
    in the clean and the corrupted runs; edges allow only edits inside heads and MLPs. bos: for the texts of the plan, None is as the
    prompts have it. resume: the first steps of the same search, as they came: only those behind them are made, and of a whole search
    the last comes again. Raises ValueError for what does not fit, and for steps of another search, which one run tells.
    """
    bos = begins_with_end(model, clean) if bos is None else bos
    if level not in LEVELS or not tau > 0:
        raise ValueError(f"Expected a level of {' or '.join(LEVELS)} and a tau above 0, got {level!r} and {tau}.")
    runs = _runs(model, clean, corrupted, level, plan, bos)
    whole = runs.clean_logits
    candidates = runs.candidates()
    kl, effects = _resumed(runs, candidates, tau, resume)
    if len(resume) == len(candidates):
        yield resume[-1]
    for done, (tried, layer) in list(enumerate(candidates, 1))[len(resume) :]:
        new = kl
        dead = runs.is_dead(tried)
        runs.drop(tried)
        if not dead:
            new = divergence(whole, runs.logits(layer))
        effect = new - kl
        if dead or effect < tau:
            kl = new
        else:
            runs.restore(tried)
            effects[tried] = effect
        last = done == len(candidates)
        found = _circuit(runs, whole, metric, tau, level, effects, provenance(model, plan, bos)) if last else None
        yield Step(tried, effect, tried in effects, kl, done, len(candidates), found)


@torch.no_grad()
def circuit_logits(
    model: GPT2,
    clean: Int[Tensor, "prompt pos"],
    corrupted: Int[Tensor, "other other_pos"],
    kept: Iterable[Node] | Iterable[Edge],
    level: str = "node",
    plan: Plan = NO_EDITS,
    bos: bool | None = None,
) -> Float[Tensor, "prompt d_vocab"]:
    """Last-position logits of any circuit: what is not kept takes its value from the corrupted prompt."""
    bos = begins_with_end(model, clean) if bos is None else bos
    runs, kept = _runs(model, clean, corrupted, level, plan, bos), set(kept)
    unknown = kept - {candidate for candidate, _ in runs.candidates()}
    if unknown:
        raise ValueError(f"{unknown.pop().label} is no {level} of this model.")
    return _logits_of(runs, kept)


def divergence(whole: Float[Tensor, "prompt d_vocab"], part: Float[Tensor, "prompt d_vocab"]) -> float:
    """KL(whole || part) of the next-token distributions, nats, mean over prompts."""
    return distribution.kl(whole.double().log_softmax(-1), part.double().log_softmax(-1)).mean().item()


def _runs(model: GPT2, clean: Tensor, corrupted: Tensor, level: str, plan: Plan, bos: bool) -> NodeRuns | EdgeRuns:
    if clean.shape != corrupted.shape:
        raise ValueError(
            f"Clean prompts {list(clean.shape)} and corrupted ones {list(corrupted.shape)} differ in shape; match their lengths."
        )
    inner = compile_plan(model, plan, bos)
    if level == "node":
        return NodeRuns(model, clean, corrupted, inner)
    outside = [edit for edit in plan if edit.component.startswith("resid") or edit.component == "attn_out"]
    if outside:
        raise ValueError(f"Edges are between heads and MLPs; {outside[0].describe()} lies between them, so remove it.")
    return EdgeRuns(model, clean, corrupted, inner)


def _resumed(
    runs: NodeRuns | EdgeRuns, candidates: list, tau: float | int, steps: Sequence[Step]
) -> tuple[float, dict[Node, float] | dict[Edge, float]]:
    """(KL, effects of what was kept) after steps that were made before; what they left out is left out of the runs.

    Raises ValueError where this search would not have come to the last step's KL, or would have decided otherwise.
    """
    same = [step.tried for step in steps] == [candidate for candidate, _ in candidates[: len(steps)]]
    if not same or any(step.kept != (step.effect >= tau) for step in steps):
        raise ValueError("The steps to resume from are of another search (other parts or another tau); begin anew.")
    for step in steps:
        if not step.kept:
            runs.drop(step.tried)
    if not steps:
        return 0.0, {}
    kl, whole = steps[-1].kl, runs.clean_logits
    check = judged("", abs(divergence(whole, runs.logits(0)) - kl), whole.dtype, kl)
    if not check.holds:
        raise ValueError(
            f"The steps to resume from end at a KL that is {check.residual:.2g} nats off here: they are of another model, plan or "
            "prompts; begin anew."
        )
    return kl, {step.tried: step.effect for step in steps if step.kept}


def _logits_of(runs: NodeRuns | EdgeRuns, kept: set) -> Tensor:
    for candidate, _ in runs.candidates():
        (runs.restore if candidate in kept else runs.drop)(candidate)
    return runs.logits(0)


def _circuit(
    runs: NodeRuns | EdgeRuns,
    whole: Tensor,
    metric: MetricFunction,
    tau: float | int,
    level: str,
    effects: dict,
    origin: Provenance,
) -> Circuit:
    candidates = [candidate for candidate, _ in runs.candidates()]
    # What nothing clean reaches writes its corrupted value, kept or not, and so is no part of the circuit.
    if level == "edge":
        alive = reached(effects)
        effects = {edge: effect for edge, effect in effects.items() if edge.sender in alive}
    elif EMBED not in effects:
        effects = {}
    kept = set(effects)
    circuit, empty = _logits_of(runs, kept), _logits_of(runs, set())
    rest = _logits_of(runs, set(candidates) - kept)
    corrupted = runs.corrupted_logits
    residual, size = (empty - corrupted).abs().max().item(), corrupted.abs().max().item()
    ends = {end for edge in kept for end in (edge.sender, edge.receiver)} if level == "edge" else kept
    nodes = [*all_nodes(runs.config), LOGITS]
    return Circuit(
        level,
        tau,
        tuple(node for node in nodes if node in ends),
        tuple(edge for edge in reversed(candidates) if edge in kept) if level == "edge" else (),
        effects,
        len(candidates),
        divergence(whole, circuit),
        *(evaluate(metric, logits) for logits in (whole, circuit, corrupted, rest)),
        judged("with everything left out it is the corrupted run", residual, whole.dtype, size),
        origin,
    )


__all__ = [
    "EMBED",
    "LOGITS",
    "Circuit",
    "Edge",
    "Node",
    "Step",
    "all_edges",
    "all_nodes",
    "circuit_logits",
    "discover",
    "divergence",
]
