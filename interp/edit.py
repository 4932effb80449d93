"""One change at one hook of a running model, as data; see `interp.edits`, where plans are made of them."""

from collections.abc import Iterable
from dataclasses import dataclass

from gpt2_core.config import GPT2Config
from interp.edit_rules import EDITABLE, OPERATIONS, check_numbers, check_operation, plain_text, whole


@dataclass(frozen=True)
class Edit:
    """One change at one hook. Made by the class methods, `zero` to `set_cell`.

    component: a key of EDITABLE. head: one head, or None for all. positions: token positions, or None for all.
    value: the factor of `scale`, the coefficient of `add` and `contrast`, what `clamp` holds, the weight of `set`. text: the prompt
    that the activation is read from; minus: the prompt whose activation is subtracted. lines: `text` and `minus` are lists, one text
    per line, whose means are compared. key, renormalise: for `set`. neuron: one neuron of mlp_post, or None for all.
    feature, autoencoder: for `feature`; the name is one of the model's `autoencoders`.
    Raises ValueError, in one sentence, for a combination that means nothing.
    """

    op: str
    component: str
    layer: int
    head: int | None = None
    positions: tuple[int, ...] | None = None
    value: int | float | None = None
    text: str | None = None
    minus: str | None = None
    key: int | None = None
    renormalise: bool = False
    neuron: int | None = None
    lines: bool = False
    feature: int | None = None
    autoencoder: str | None = None

    def __post_init__(self) -> None:
        if self.op not in OPERATIONS:
            raise ValueError(f"No edit is called {self.op!r}; expected one of {', '.join(OPERATIONS)}.")
        if self.component not in EDITABLE:
            raise ValueError(f"{self.component!r} cannot be edited; expected one of {', '.join(EDITABLE)}.")
        for name in ("text", "minus", "autoencoder"):
            object.__setattr__(self, name, None if getattr(self, name) is None else plain_text(getattr(self, name)))
        for name in ("layer", "head", "key", "neuron", "feature"):
            object.__setattr__(self, name, whole(getattr(self, name)))
        if self.positions is not None:
            several = isinstance(self.positions, Iterable)
            object.__setattr__(self, "positions", tuple(map(whole, self.positions if several else (self.positions,))))
        check_numbers(self)
        check_operation(self)

    @classmethod
    def zero(cls, component: str, layer: int, head: int | None = None, positions: tuple[int, ...] | None = None) -> "Edit":
        """The activation becomes 0."""
        return cls("zero", component, layer, head, positions)

    @classmethod
    def mean(
        cls, component: str, layer: int, head: int | None = None, *, text: str, positions: tuple[int, ...] | None = None
    ) -> "Edit":
        """The activation becomes its mean over the positions of another text."""
        return cls("mean", component, layer, head, positions, text=text)

    @classmethod
    def scale(
        cls,
        component: str,
        layer: int,
        head: int | None = None,
        *,
        value: int | float,
        positions: tuple[int, ...] | None = None,
    ) -> "Edit":
        """The activation is multiplied by `value`."""
        return cls("scale", component, layer, head, positions, value=float(value))

    @classmethod
    def patch(
        cls, component: str, layer: int, head: int | None = None, *, text: str, positions: tuple[int, ...] | None = None
    ) -> "Edit":
        """The activation is taken from a run on another text, position by position, where that text has the position."""
        return cls("patch", component, layer, head, positions, text=text)

    @classmethod
    def add(
        cls,
        component: str,
        layer: int,
        head: int | None = None,
        *,
        text: str,
        value: int | float = 1.0,
        minus: str | None = None,
        positions: tuple[int, ...] | None = None,
        lines: bool = False,
    ) -> "Edit":
        """`value` times a direction is added: the activation at the last token of `text`, less that of `minus`."""
        return cls("add", component, layer, head, positions, value=float(value), text=text, minus=minus, lines=lines)

    @classmethod
    def contrast(
        cls, component: str, layer: int, head: int | None = None, *, text: str, minus: str, value: int | float
    ) -> "Edit":
        """`value` times what two texts differ in is added, token by token from the front, the shorter one padded with spaces."""
        return cls("contrast", component, layer, head, value=float(value), text=text, minus=minus)

    @classmethod
    def project(
        cls,
        component: str,
        layer: int,
        head: int | None = None,
        *,
        text: str,
        minus: str | None = None,
        positions: tuple[int, ...] | None = None,
        lines: bool = False,
    ) -> "Edit":
        """What points along the direction of `add` is taken away; everything at right angles to it stays."""
        return cls("project", component, layer, head, positions, text=text, minus=minus, lines=lines)

    @classmethod
    def clamp(
        cls,
        component: str,
        layer: int,
        head: int | None = None,
        *,
        text: str,
        value: int | float,
        minus: str | None = None,
        positions: tuple[int, ...] | None = None,
        lines: bool = False,
    ) -> "Edit":
        """The component along the unit direction of `add` becomes `value`; everything at right angles to it stays."""
        return cls("clamp", component, layer, head, positions, value=float(value), text=text, minus=minus, lines=lines)

    @classmethod
    def clamp_neuron(cls, layer: int, neuron: int, value: int | float, positions: tuple[int, ...] | None = None) -> "Edit":
        """A neuron's activation, after the GELU, becomes `value`."""
        return cls("clamp", "mlp_post", layer, None, positions, value=float(value), neuron=neuron)

    @classmethod
    def set_cell(cls, layer: int, head: int, query: int, key: int, value: int | float, renormalise: bool = False) -> "Edit":
        """One attention weight is set; `renormalise` rescales the rest of its row so that the row sums to 1 again."""
        return cls("set", "pattern", layer, head, (query,), value=float(value), key=key, renormalise=renormalise)

    @classmethod
    def of_feature(
        cls,
        autoencoder: str,
        component: str,
        layer: int,
        feature: int,
        value: int | float,
        positions: tuple[int, ...] | None = None,
    ) -> "Edit":
        """A feature of a sparse autoencoder, which reads this component of this layer, becomes `value`; see `interp.sae`."""
        return cls("feature", component, layer, None, positions, value=float(value), feature=feature, autoencoder=autoencoder)

    @property
    def hook_name(self) -> str:
        return f"blocks.{self.layer}.{EDITABLE[self.component][0]}"

    @property
    def head_axis(self) -> int | None:
        return EDITABLE[self.component][1]

    @property
    def place(self) -> str:
        """L2H1 for a head, L2N17 for a neuron, "resid_pre L3" for the rest."""
        if self.feature is not None:
            return f"{self.component} L{self.layer} F{self.feature}"
        if self.neuron is not None:
            return f"L{self.layer}N{self.neuron}"
        return f"{self.component} L{self.layer}" if self.head is None else f"L{self.layer}H{self.head}"

    def describe(self) -> str:
        """The edit in a few words, for terminals and logs."""
        what = {"zero": "zeroed", "mean": "mean of a text", "patch": "patched from a text", "project": "without"}.get(self.op)
        if what is None:
            sign = {"scale": "x", "add": "+", "contrast": "+"}.get(self.op, "=")
            what = f"{sign} {self.value:g}"
        if self.text and self.op not in ("mean", "patch"):
            what += f" {self.text!r}" + (f" - {self.minus!r}" if self.minus else "")
        what += f" of {self.autoencoder!r}" if self.autoencoder else ""
        part = "" if self.head is None or self.component == "z" else f" {self.component}"
        where = "" if self.positions is None else " at " + ",".join(map(str, self.positions))
        to = f" -> {self.key}" if self.key is not None else ""
        return f"{self.place}{part} {what}{where}{to}"

    def check(self, config: GPT2Config) -> None:
        """Raises ValueError if a model of this shape has no such place."""
        if not 0 <= self.layer < config.n_layers:
            raise ValueError(
                f"{self.describe()}: layer {self.layer} does not exist, {config.model_name} has 0..{config.n_layers - 1}."
            )
        if self.head is not None and not 0 <= self.head < config.n_heads:
            raise ValueError(
                f"{self.describe()}: head {self.head} does not exist, {config.model_name} has 0..{config.n_heads - 1}."
            )
        if self.neuron is not None and not 0 <= self.neuron < config.d_mlp:
            raise ValueError(
                f"{self.describe()}: neuron {self.neuron} does not exist, {config.model_name} has 0..{config.d_mlp - 1}."
            )
