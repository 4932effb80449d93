"""The tuned lens: a logit lens with a small learned correction per layer.

Layers keep what they know in their own basis; the output head reads the last one's. For each row an affine translator is learned,

    lens_l = unembed(ln_f(h_l + A_l h_l + b_l)),     A_l [d_model d_model], b_l [d_model]

that minimises KL(final || lens_l) over text, from A = 0, b = 0 (the logit lens). The last row is the model's own and has none.

    tuned = train(model, batches, steps=250)
    evaluate(model, held_out, tuned)                 # bits lost per row, beside the logit lens
    logit_lens(model, run, translate=tuned)          # and trajectory(...)
    save(tuned, folder); load(folder, model)

Pitfall: a translator may learn things that the layer does not know but that are often true after it; it lowers KL on text like
its training text, and says less about other text. It belongs to one set of weights: `load` refuses every other.

Command line: python -m interp.tuned_lens --model glass-7m --text book.txt --out lens
Source: Belrose et al. 2023, "Eliciting Latent Predictions from Transformers with the Tuned Lens", 2303.08112.
"""

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from gpt2_core import load as load_model
from gpt2_core.distribution import kl
from gpt2_core.model import GPT2
from gpt2_core.streaming import end_id
from interp.edits import NO_EDITS
from interp.finite import refuse_not_finite
from interp.lens import labels, lens_names
from interp.run import Provenance, begins_with_end, provenance

TENSORS, JSON, FORMAT = "tuned_lens.safetensors", "tuned_lens.json", 1


@dataclass(frozen=True)
class TunedLens:
    """Translators by hook name: weights [d_model d_model] (A), biases [d_model]. Called as lens(name, resid) it translates.

    model, weights_sha256, processing: whose they are; processing names the steps of folding, none for raw weights. steps, tokens: of
    the training. losses: mean KL over rows per step, nats.
    """

    weights: dict[str, Float[Tensor, "d_model d_model"]]
    biases: dict[str, Float[Tensor, " d_model"]]
    last: str  # the hook of the last row, which is read as it is
    model: str
    weights_sha256: str | None
    steps: int
    tokens: int
    losses: tuple[float, ...] = ()
    processing: tuple[str, ...] = ()

    def __call__(self, name: str, resid: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        """h + A h + b. Raises ValueError for a row without a translator."""
        if name == self.last:
            return resid
        if name not in self.weights:
            raise ValueError(f"This tuned lens has no translator for {name}; train one with mid=True for rows after attention.")
        return _translated(resid, self.weights[name].to(resid.device), self.biases[name].to(resid.device))


@dataclass(frozen=True)
class LensQuality:
    """Mean KL(final || row) on some text, bits per position, per row: of the logit lens and of the tuned lens."""

    labels: tuple[str, ...]
    logit_lens: tuple[float, ...]
    tuned_lens: tuple[float, ...]
    provenance: Provenance


def _translated(resid: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    x = resid.to(weight.dtype)
    return (x + x @ weight.T + bias).to(resid.dtype)


@torch.inference_mode(False)
def train(
    model: GPT2,
    batches: Iterable[Int[Tensor, "batch pos"]],
    steps: int,
    *,
    lr: float | int = 1e-3,
    mid: bool = False,
    report: Callable[[int, float], None] | None = None,
    cancel: Callable[[], bool] | None = None,
) -> TunedLens:
    """Trains translators with Adam, the learning rate falling linearly to 0.

    batches: token ids, one batch per step. mid: rows after each attention too. report(step, loss): the mean KL over rows in nats,
    after each step. cancel: asked before each step; what was learned by then is returned. The model is not changed.
    Raises ValueError if the batches run out before `steps`.
    """
    *names, last = lens_names(model.config.n_layers, mid)
    d, device = model.config.d_model, model.wte.weight.device
    dtype = torch.promote_types(model.cfg.dtype, torch.float32)
    weights = {name: torch.zeros(d, d, device=device, dtype=dtype, requires_grad=True) for name in names}
    biases = {name: torch.zeros(d, device=device, dtype=dtype, requires_grad=True) for name in names}
    optimizer = torch.optim.Adam([*weights.values(), *biases.values()], lr=lr)
    source, losses, tokens = iter(batches), [], 0
    for step in range(steps):
        if cancel is not None and cancel():
            break
        if (batch := next(source, None)) is None:
            raise ValueError(f"The text gave {step} batches, {steps} steps were asked for; give more text or fewer steps.")
        optimizer.param_groups[0]["lr"] = lr * (1 - step / steps)
        losses.append(_step(model, batch, names, weights, biases, optimizer))
        tokens += batch.numel()
        if report is not None:
            report(step, losses[-1])
    trained = ({name: x.detach() for name, x in table.items()} for table in (weights, biases))
    whose = (model.config.model_name, model.weights_sha256)
    return TunedLens(*trained, last, *whose, len(losses), tokens, tuple(losses), _processing(model))


def _processing(model: GPT2) -> tuple[str, ...]:
    return tuple(getattr(model, "processing", ()))


def _step(model: GPT2, batch: Tensor, names: list[str], weights: dict, biases: dict, optimizer) -> float:
    """One step on one batch, row by row, so that only one row's logits exist at a time. The mean loss over rows."""
    with torch.no_grad():
        logits, cache = model.run_with_cache(batch, names)
        refuse_not_finite(model, logits, batch)
        final = logits.float().log_softmax(-1)
    total = 0.0
    for name in names:
        loss = _divergence(model, _translated(cache[name], weights[name], biases[name]), final)
        # Gradients of the translator alone: the model's own parameters get none.
        weights[name].grad, biases[name].grad = torch.autograd.grad(loss, (weights[name], biases[name]))
        total += loss.item()
    optimizer.step()
    return total / len(names)


def _divergence(model: GPT2, resid: Tensor, final: Tensor) -> Tensor:
    """Mean over positions of KL(final || unembed(resid)), nats."""
    return kl(final, model.unembed(resid).float().log_softmax(-1)).mean()


@torch.no_grad()
def evaluate(model: GPT2, batches: Iterable[Int[Tensor, "batch pos"]], lens: TunedLens, mid: bool = False) -> LensQuality:
    """How much of the final prediction each row misses on some text, with and without the translators."""
    names, sums, count, bos = lens_names(model.config.n_layers, mid), [], 0, True
    for batch in batches:
        bos = bos and begins_with_end(model, batch)
        logits, cache = model.run_with_cache(batch, names)
        refuse_not_finite(model, logits, batch)
        final = logits.float().log_softmax(-1)
        both = [[_divergence(model, x, final).item() for x in (cache[name], lens(name, cache[name]))] for name in names]
        sums.append(batch.numel() * torch.tensor(both, dtype=torch.float64))
        count += batch.numel()
    if not count:
        raise ValueError("No text was given to evaluate the lens on; give at least one batch.")
    means = torch.stack(sums).sum(0) / count / math.log(2)
    columns = (tuple(column) for column in means.T.tolist())
    return LensQuality(labels(model.config.n_layers, mid), *columns, provenance(model, NO_EDITS, bos))


def save(lens: TunedLens, folder: str | Path) -> Path:
    """Writes tuned_lens.safetensors and tuned_lens.json. Raises ValueError for a lens of weights that came from no file."""
    if lens.weights_sha256 is None:
        raise ValueError("These weights have no checksum to tell them by; save the model, load it, and train the lens on that.")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tables = (("weight", lens.weights), ("bias", lens.biases))
    save_file({f"{name}.{part}": x.cpu().contiguous() for part, t in tables for name, x in t.items()}, folder / TENSORS)
    record = {"format": FORMAT, "model": lens.model, "weights_sha256": lens.weights_sha256, "rows": list(lens.weights)}
    record |= {"last": lens.last, "steps": lens.steps, "tokens": lens.tokens, "losses": list(lens.losses)}
    record |= {"processing": list(lens.processing)}
    (folder / JSON).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return folder


def load(folder: str | Path, model: GPT2) -> TunedLens:
    """The lens of `save`, on the model's device. Raises ValueError if it belongs to other weights, or is damaged."""
    folder = Path(folder)
    try:
        record = json.loads((folder / JSON).read_text(encoding="utf-8"))
        tensors = load_file(folder / TENSORS, device=str(model.wte.weight.device))
        rows, sha256 = record["rows"], record["weights_sha256"]
        weights, biases = ({name: tensors[f"{name}.{part}"] for name in rows} for part in ("weight", "bias"))
        rest = (record["last"], record["model"], sha256, record["steps"], record["tokens"], tuple(record["losses"]))
        processing = tuple(record["processing"])
    except (OSError, SafetensorError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{folder} holds no readable tuned lens ({error}); train one with interp.tuned_lens.") from error
    if sha256 != model.weights_sha256:
        raise ValueError(
            f"The tuned lens in {folder} belongs to {record['model']} with weights {str(sha256)[:12]}, not to "
            f"{model.config.model_name} with weights {str(model.weights_sha256)[:12]}; train one for this model."
        )
    if processing != _processing(model):
        raise ValueError(
            f"The tuned lens in {folder} was trained on {_named(processing)} weights and the model has {_named(_processing(model))} "
            "ones, whose residual stream differs; train one for these."
        )
    return TunedLens(weights, biases, *rest, processing)


def _named(processing: tuple[str, ...]) -> str:
    return f"folded ({', '.join(processing)})" if processing else "raw"


def windows(
    ids: Sequence[int], batch: int, length: int, seed: int = 0, first: int | None = None
) -> Iterator[Int[Tensor, "batch pos"]]:
    """Endless batches of random windows of a tokenised text, each with the token `first` in front where one is given.

    Raises ValueError for a text shorter than one window.
    """
    if len(ids) < length:
        raise ValueError(f"The text has {len(ids)} tokens, a window {length}; give more text or a shorter length.")
    tokens, generator = torch.tensor(ids), torch.Generator().manual_seed(seed)
    while True:
        starts = torch.randint(0, len(ids) - length + 1, (batch,), generator=generator).tolist()
        rows = torch.stack([tokens[start : start + length] for start in starts])
        yield rows if first is None else torch.cat([torch.full((batch, 1), first), rows], 1)


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m interp.tuned_lens --model NAME --text FILE... --out FOLDER`. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m interp.tuned_lens", description="Train a tuned lens on text files.")
    parser.add_argument("--model", required=True, help="a registry name or a folder")
    parser.add_argument("--text", required=True, nargs="+", help="text files; the last tenth of each is held out")
    parser.add_argument("--out", required=True, help="the folder to write the lens into")
    for name, default in (("steps", 250), ("batch", 8), ("length", 128), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default, help=f"default {default}")
    parser.add_argument("--lr", type=float, default=1e-3, help="learning rate at the start, default 0.001")
    parser.add_argument("--mid", action="store_true", help="translators after each attention too")
    given = parser.parse_args(arguments)
    try:
        model = load_model(given.model)
        texts = [model.tokenizer.encode(Path(file).read_text(encoding="utf-8")) for file in given.text]
        known = [id for text in texts for id in text[: len(text) * 9 // 10]]
        held = [id for text in texts for id in text[len(text) * 9 // 10 :]]
        batches = windows(known, given.batch, given.length, given.seed, end_id(model))
        lens = train(model, batches, given.steps, lr=given.lr, mid=given.mid, report=_print_loss)
        test = [
            torch.tensor([[end_id(model), *held[i : i + given.length]]])
            for i in range(0, len(held) - given.length + 1, given.length)
        ]
        quality = evaluate(model, test[:64], lens, given.mid)
        save(lens, given.out)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    for row in zip(*(getattr(quality, name) for name in ("labels", "logit_lens", "tuned_lens"))):
        print("{:>8}  logit lens {:7.3f}  tuned lens {:7.3f} bits from the end, held-out text".format(*row))
    return 0


def _print_loss(step: int, loss: float) -> None:
    if step % 10 == 0:
        print(f"step {step:5d}  mean KL over rows {loss:.4f} nats", flush=True)


if __name__ == "__main__":
    sys.exit(main())
