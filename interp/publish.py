"""A finished training run -> the folder of an embedded model: weights, training.json, film, card.

    python -m interp.publish RUN --out assets/models/glass-7m

Everything is made from what lies in RUN and measured on the weights as they are published (bfloat16), so publishing again gives
the same bytes. The folder is changed only when all of it is ready. The registry in `gpt2_core/config.py` holds the checksum of
the weights and must be changed with them; the command says to what.
"""

import argparse
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from gpt2_core.checkpoints import load, save_pretrained
from gpt2_core.checkpoints.export import replace_file
from gpt2_core.checkpoints.find import CONFIG, WEIGHTS
from gpt2_core.generate import generate
from gpt2_core.model import GPT2
from interp.card import Facts, Sampled, Sampling, card
from interp.dynamics import film
from interp.film import Measurement
from interp.film_store import JSON, TENSORS, write
from interp.series import SNAPSHOTS, TRAINING, checkpoints, read_json
from interp.trained import Trained, need

MODEL, CARD = "model", "README.md"
NAME = re.compile(r"glass-([1-9]\d*)m")
FILES = (CARD, CONFIG, WEIGHTS, TRAINING, JSON, TENSORS)


@dataclass(frozen=True)
class Published:
    """Where a model now is, the checksum of its weights, the size of its files in bytes, and whether it has induction."""

    folder: Path
    sha256: str
    bytes: dict[str, int]
    has_induction: bool

    @property
    def total(self) -> int:
        return sum(self.bytes.values())


def publish(
    run: str | Path,
    out: str | Path,
    *,
    sampling: Sampling | None = None,
    measurement: Measurement | None = None,
    progress: bool = False,
) -> Published:
    """Write the embedded model of a finished run. sampling, measurement: other than the usual, for tests.

    Raises ValueError, in one sentence, where the run is not finished or lacks something, and where the name `out` ends in is
    not glass-<millions of parameters>m.
    """
    run, out = Path(run).expanduser(), Path(out).expanduser()
    training = _training(run)
    with tempfile.TemporaryDirectory(prefix="publish-") as scratch:
        staged = Path(scratch) / out.resolve().name
        _write_model(run, staged, training)
        model = load(staged)
        made = film([*_earlier(run, training["step"]), staged], name=staged.name, measurement=measurement, progress=progress)
        write(made, staged)
        drawn = sampling or Sampling()
        samples = _samples(model, drawn)
        text = card(Facts(staged.name, model.config, Trained.read(training), made, samples, drawn, model.weights_sha256))
        (staged / CARD).write_text(text, encoding="utf-8")
        _move(staged, out)
    sizes = {name: (out / name).stat().st_size for name in FILES}
    return Published(out, model.weights_sha256, sizes, made.has_induction)


def check_name(name: str, n_params: int) -> None:
    """Raises ValueError unless the name is glass-<n>m with n the parameter count, rounded to millions."""
    expected = f"glass-{round(n_params / 1e6)}m"
    if NAME.fullmatch(name) is None or name != expected:
        raise ValueError(f"The folder is called {name!r}, but {n_params:,} parameters are {expected!r}; give --out that name.")


def _training(run: Path) -> dict[str, Any]:
    path = run / MODEL / TRAINING
    if not path.is_file():
        raise ValueError(f"{run} has no {MODEL}/{TRAINING}; expected the folder of a run that has come to its end.")
    training = read_json(path)
    step, steps = (need(training, key, (int,)) for key in ("step", "steps"))
    if step != steps:
        raise ValueError(f"{path} is of step {step} of {steps}; let the run come to its end first.")
    return training


def _earlier(run: Path, last: int) -> list[Path]:
    """The snapshots before the last step; the published model itself stands for that one."""
    found = checkpoints(run / SNAPSHOTS)
    if later := [c for c in found if c.step > last]:
        raise ValueError(f"{later[0].folder} is of a later step than the model, {last}; it belongs to another run.")
    return [c.folder for c in found if c.step < last]


def _write_model(run: Path, staged: Path, training: Mapping[str, Any]) -> None:
    model = load((run / MODEL).resolve(), dtype="bfloat16")
    check_name(staged.name, model.config.n_params)
    model.tokenizer = None  # the vocabulary is GPT-2's, which this repository holds once
    save_pretrained(model, staged)
    shown = {**training, "name": staged.name, "recipe": _without_path(need(training, "recipe", (dict,)))}
    (staged / TRAINING).write_text(json.dumps(shown, indent=2) + "\n", encoding="utf-8")


def _without_path(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe with the name of the data's folder in place of its path, which is nobody else's concern."""
    folder = need(recipe, "data.folder", (str,))
    return {**recipe, "data": {**recipe["data"], "folder": Path(folder).name}}


def _samples(model: GPT2, how: Sampling) -> tuple[Sampled, ...]:
    def text(prompt: str, seed: int) -> str:
        drawn = generate(
            model, prompt, max_new_tokens=how.tokens, temperature=how.temperature, top_k=how.top_k, seed=seed, top=1, bos=True
        )
        return drawn.text

    return tuple(Sampled(prompt, seed, text(prompt, seed)) for prompt in how.prompts for seed in how.seeds)


def _move(staged: Path, out: Path) -> None:
    """Replace the files of the embedded model, each whole or not at all, the card last."""
    out.mkdir(parents=True, exist_ok=True)
    for name in reversed(FILES):
        replace_file(out / name, partial(shutil.copyfile, staged / name))


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m interp.publish RUN --out FOLDER`. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m interp.publish", description="Make an embedded model of a finished run.")
    parser.add_argument("run", help="the folder of a finished run: its model/ and its snapshots/")
    parser.add_argument("--out", required=True, help="the folder to write, such as assets/models/glass-7m")
    given = parser.parse_args(arguments)
    try:
        done = publish(given.run, given.out, progress=True)
    except KeyboardInterrupt:
        print("Stopped; the model's folder is as it was.", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    for name, size in done.bytes.items():
        print(f"{size / 1e6:9.3f} MB  {name}")
    print(f"{done.total / 1e6:9.3f} MB  in all, in {done.folder}; it has {'' if done.has_induction else 'no '}induction")
    print(f"In gpt2_core/config.py: sha256={done.sha256!r}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
