"""The recipe of a training run: a TOML file, read into frozen dataclasses, every key checked before any work starts.

Each section of the file is one dataclass below, each key one field; a field with a default may be left out. An unknown,
missing or ill-typed key is one sentence that names it. What a key means stands beside it.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from gpt2_core.config import GPT2Config
from gpt2_core.train.sections import build, flatten, spelled

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib


@dataclass(frozen=True)
class Model:
    """The shape; the vocabulary is GPT-2's, the MLP four times as wide, the head tied."""

    n_layers: int
    n_heads: int
    d_model: int
    n_ctx: int = 1024


@dataclass(frozen=True)
class Init:
    """Matrices and token embedding N(0, std), residual projections / sqrt(2 n_layers); positions as named."""

    std: float = 0.02
    positions: Literal["normal", "sinusoidal"] = "normal"
    position_std: float = 0.01  # root mean square of each position's vector


@dataclass(frozen=True)
class Data:
    folder: str  # what `prepare` wrote; relative to the folder the command is started in
    window: int  # predictions in a row


@dataclass(frozen=True)
class Repetition:
    """A share of the rows that repeat a random span, which only an induction head can predict."""

    share: float = 0.0
    final_share: float = -1.0  # reached linearly after `fade` of the steps, and kept; negative: as `share`
    fade: float = 1.0
    length: int = 0  # tokens of a document, each attending only to itself; 0: a whole row
    ids: tuple[int, int] = (0, 50256)  # drawn uniformly from [low, high)
    period: tuple[int, int] = (16, 64)  # length of the span, uniform in [shortest, longest]


@dataclass(frozen=True)
class Batch:
    rows: int  # of one step, all ranks together
    rows_at_once: int  # of one forward pass on one rank


@dataclass(frozen=True)
class Optimizer:
    """AdamW with linear warm-up and a cosine; decay on matrices only."""

    learning_rate: float
    steps: int
    final_learning_rate: float = 0.0
    warmup_steps: int = 0
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8
    weight_decay: float = 0.1
    clip: float = 1.0  # largest norm of the gradient


@dataclass(frozen=True)
class Loss:
    kind: Literal["chunked", "sampled"] = "chunked"
    negatives: int = 4096  # random tokens beside the targets, for "sampled"
    chunk: int = 512  # positions whose logits exist at one time
    exact_last: float = 0.1  # share of the steps, at the end, that "sampled" trains with the exact loss


@dataclass(frozen=True)
class Evaluation:
    every: int  # steps
    tokens: int  # predictions of the fixed validation set, rounded to whole windows
    rows_at_once: int


@dataclass(frozen=True)
class Save:
    every: int  # steps between checkpoints
    keep: int = 2  # checkpoints that stay
    snapshots: int = 40  # models kept for the film of training, at log-spaced steps; 0: none
    dtype: Literal["float32", "bfloat16", "float16"] = "bfloat16"  # of snapshots and of the final model


@dataclass(frozen=True)
class Compute:
    dtype: Literal["float32", "bfloat16"] = "float32"  # of matrix products; weights and moments are float32
    compile: bool = False  # the loss's softmax, and on CUDA the blocks: see `objective`
    threads: int = 0  # 0: what torch chooses


@dataclass(frozen=True)
class Log:
    every: int = 10  # steps between lines
    tensorboard: bool = True
    peak_tflops: float = 0.0  # of one device, for the utilisation; 0: measured at the start by a matrix product


@dataclass(frozen=True)
class Recipe:
    """All sections. Raises ValueError, in one sentence, for values that cannot work together."""

    name: str
    model: Model
    data: Data
    batch: Batch
    optimizer: Optimizer
    evaluation: Evaluation
    save: Save
    seed: int = 0
    init: Init = field(default_factory=Init)
    repetition: Repetition = field(default_factory=Repetition)
    loss: Loss = field(default_factory=Loss)
    compute: Compute = field(default_factory=Compute)
    log: Log = field(default_factory=Log)

    def __post_init__(self) -> None:
        for key, holds, expected in _conditions(self):
            if not holds:
                section, _, name = key.rpartition(".")
                value = getattr(getattr(self, section) if section else self, name)
                raise ValueError(f"{spelled(key)} is {value!r}, expected {expected}.")
        _ = self.config  # heads share the width equally

    @property
    def config(self) -> GPT2Config:
        return GPT2Config(**asdict(self.model), model_name=self.name)

    @property
    def tokens_per_step(self) -> int:
        return self.batch.rows * self.data.window

    def to_dict(self) -> dict[str, Any]:
        """Nested dict, as the TOML file with all defaults written out."""
        return asdict(self)

    def decisive(self) -> dict[str, Any]:
        """What decides the weights and the measured losses, by dotted key; the rest may change when a run goes on.

        `steps` is decisive because the schedule depends on it: a longer run is another run.
        """
        free = {"name", "data.folder", "batch.rows_at_once", "evaluation.every", "evaluation.rows_at_once"}
        free |= {"compute.compile", "compute.threads"}
        flat = flatten(self.to_dict())
        return {key: v for key, v in flat.items() if key not in free and key.split(".")[0] not in ("save", "log")}

    def hash(self) -> str:
        """sha256 of `decisive()`."""
        return hashlib.sha256(json.dumps(self.decisive(), sort_keys=True).encode()).hexdigest()


def read(path: str | Path) -> Recipe:
    """The recipe in a TOML file. Raises ValueError, in one sentence, for a file that is not there or not a recipe."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ValueError(f"Cannot read the recipe {path}: {error.strerror or error}.") from error
    try:
        return parse(text)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def parse(text: str) -> Recipe:
    """The recipe in a TOML text; see `read`."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"not valid TOML: {error}") from error
    return from_dict(table)


def from_dict(table: dict[str, Any]) -> Recipe:
    """The recipe in a nested dict such as `Recipe.to_dict` gives, lists for tuples where it went through JSON."""
    return build(Recipe, table)


def difference(given: Recipe, kept: Recipe) -> str | None:
    """The first decisive key in which two recipes differ, as "[section] key is a here and b there"; None if none does."""
    a, b = given.decisive(), kept.decisive()
    for key in a:
        if a[key] != b[key]:
            return f"{spelled(key)} is {a[key]!r} in the given recipe and {b[key]!r} in the run's"
    return None


def _conditions(r: Recipe) -> list[tuple[str, bool, str]]:
    """(key, whether it holds, what is expected instead)."""
    positive = ("batch.rows", "batch.rows_at_once", "optimizer.steps", "evaluation.every", "evaluation.rows_at_once")
    positive += ("save.every", "save.keep", "loss.chunk", "loss.negatives", "log.every", "data.window")
    flat = flatten(asdict(r))
    return [
        ("name", bool(r.name) and "/" not in r.name, "a name without slashes"),
        ("seed", r.seed >= 0, "0 or more"),
        *((key, flat[key] >= 1, "1 or more") for key in positive),
        ("data.window", r.data.window <= r.model.n_ctx, f"at most n_ctx, {r.model.n_ctx}"),
        ("batch.rows", r.batch.rows % r.batch.rows_at_once == 0, f"a multiple of rows_at_once, {r.batch.rows_at_once}"),
        ("init.std", r.init.std > 0, "more than 0"),
        ("init.position_std", r.init.position_std >= 0, "0 or more"),
        *_of_repetition(r),
        ("optimizer.learning_rate", r.optimizer.learning_rate > 0, "more than 0"),
        (
            "optimizer.final_learning_rate",
            0 <= r.optimizer.final_learning_rate <= r.optimizer.learning_rate,
            "0 to learning_rate",
        ),
        ("optimizer.warmup_steps", 0 <= r.optimizer.warmup_steps <= r.optimizer.steps, f"0 to steps, {r.optimizer.steps}"),
        ("optimizer.beta1", 0 <= r.optimizer.beta1 < 1, "at least 0, below 1"),
        ("optimizer.beta2", 0 <= r.optimizer.beta2 < 1, "at least 0, below 1"),
        ("optimizer.eps", r.optimizer.eps > 0, "more than 0"),
        ("optimizer.weight_decay", r.optimizer.weight_decay >= 0, "0 or more"),
        ("optimizer.clip", r.optimizer.clip > 0, "more than 0"),
        ("loss.exact_last", 0 <= r.loss.exact_last <= 1, "a share from 0 to 1"),
        ("evaluation.tokens", r.evaluation.tokens >= r.data.window, f"at least one window, {r.data.window}"),
        ("save.snapshots", r.save.snapshots >= 0 and r.save.snapshots != 1, "0, or 2 or more (the first and the last)"),
        ("compute.threads", r.compute.threads >= 0, "0 or more"),
        ("log.peak_tflops", r.log.peak_tflops >= 0, "0 or more"),
    ]


def _of_repetition(r: Recipe) -> list[tuple[str, bool, str]]:
    """The conditions on how rows repeat; the span matters only where some do."""
    own, window, vocabulary = r.repetition, r.data.window, r.config.d_vocab
    (low, high), (shortest, longest) = own.ids, own.period
    fits, document = own.length >= 0 and (own.length == 0 or window % own.length == 0), own.length or window
    conditions = [
        ("repetition.share", 0 <= own.share <= 1, "a share from 0 to 1"),
        ("repetition.final_share", own.final_share <= 1, "a share from 0 to 1, or a negative number"),
        ("repetition.fade", 0 < own.fade <= 1, "a share of the run above 0, up to 1"),
        ("repetition.length", fits, f"0, or a length that divides the window of {window}"),
        ("repetition.ids", 0 <= low < high <= vocabulary, f"[low, high) within the vocabulary of {vocabulary}"),
    ]
    if own.share > 0 or own.final_share > 0:
        spans = 1 <= shortest <= longest <= document
        conditions.append(("repetition.period", spans, f"[shortest, longest] up to the length of a document, {document}"))
    return conditions
