"""The loop: update, look, keep. A run that was stopped or killed goes on from its newest whole checkpoint, bit for bit (on a CPU).

Everything that decides an update is a pure function of (recipe, shards, step) or lies in the checkpoint; what is due at a step
(line, evaluation, snapshot, checkpoint) is done in this order, the checkpoint last, so that repeating it changes nothing.
"""

import math
import sys
import time
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from gpt2_core.runtime import describe_machine, resolve_dtype
from gpt2_core.train import checkpoint
from gpt2_core.train.batches import Batch, Batches, negatives_seed
from gpt2_core.train.distributed import Ranks
from gpt2_core.train.evaluate import Validation, evaluate, validation_windows
from gpt2_core.train.initialise import new_model
from gpt2_core.train.interval import Interval
from gpt2_core.train.log import RunLog, measure_peak, step_flops
from gpt2_core.train.loss import Candidates, choose_candidates
from gpt2_core.train.objective import Objective
from gpt2_core.train.optimizer import make_optimizer, set_learning_rate
from gpt2_core.train.recipe import Recipe
from gpt2_core.train.runfolder import CHECKPOINTS, MODEL, SNAPSHOTS
from gpt2_core.train.schedule import learning_rate, snapshot_steps, trains_sampled
from gpt2_core.train.shards import Shards
from gpt2_core.train.snapshot import write_snapshot
from gpt2_core.train.stopping import Stop, TrainingStopped


class Trainer:
    """One process of a run in folder `run`; `found` is the checkpoint to go on from.

    Raises ValueError for a recipe that does not fit the data or the number of processes.
    """

    def __init__(self, recipe: Recipe, shards: Shards, run: Path, ranks: Ranks, found: checkpoint.Found | None = None):
        self.recipe, self.shards, self.run, self.ranks = recipe, shards, run, ranks
        self.rows = _rows_per_rank(recipe, ranks.count)
        self.batches, self.windows = Batches(recipe, shards), validation_windows(recipe, shards)
        self.snapshots = frozenset(snapshot_steps(recipe.optimizer.steps, recipe.save.snapshots))
        self.model = new_model(recipe).to(ranks.device).train()
        self.optimizer = make_optimizer(self.model, recipe.optimizer)
        self.step, self.seconds, self.interval = 0, 0.0, Interval()
        self.train_loss: float | None = None
        self.validation: Validation | None = None
        self.last_saved: Path | None = None
        if found is not None:
            self._restore(found)
        compute = recipe.compute
        self.objective = Objective(self.model, resolve_dtype(compute.dtype), recipe.loss.chunk, compute.compile)
        self.parallel = DistributedDataParallel(self.objective) if ranks.count > 1 else self.objective
        self.log = RunLog(run, self.step, recipe.log.tensorboard, quiet=not ranks.first)
        self.peak = (recipe.log.peak_tflops * 1e12 or measure_peak(ranks.device, self.objective.dtype)) * ranks.count

    def train(self, stop: Stop) -> str | None:
        """Train to the last step (None) or until there is a reason to stop, which is returned; the state is saved then.

        Raises TrainingStopped for a loss that is not finite and for a disk that refuses; the last checkpoint stays.
        """
        hidden = None if self.ranks.first else True  # None: shown on a terminal only
        bar = tqdm(total=self.recipe.optimizer.steps, initial=self.step, unit="step", disable=hidden)
        try:
            self._begin()
            if self.step == 0:
                self._look()
            batch = self.batches(self.step) if self.step < self.recipe.optimizer.steps else None
            while self.step < self.recipe.optimizer.steps:
                batch, stopping = self._update(batch, stop.reason is not None)
                bar.update()
                self._due(stopping)
                if stopping and self.step < self.recipe.optimizer.steps:
                    reason = stop.reason or "another process was asked to"
                    self.log.write("stopped", self.step, reason=reason)
                    return reason
            self._finish()
            return None
        except OSError as error:
            raise TrainingStopped(self._refused(error)) from error
        finally:
            bar.close()
            self.log.close()

    # -- one step

    def _update(self, batch: Batch, stopping: bool) -> tuple[Batch | None, bool]:
        """Update the weights; returns the next batch and whether any process wants to stop."""
        start, o = time.perf_counter(), self.recipe.optimizer
        candidates = self._candidates(batch)
        mine = batch.rows(self.ranks.rank * self.rows, self.rows)
        sums = self._backward(mine, candidates, batch.weight)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), o.clip)
        # the next batch is made while an accelerator still computes this one
        upcoming = self.batches(self.step + 1) if self.step + 1 < o.steps else None
        seen = self.ranks.sum(torch.cat([sums.cpu().double(), torch.tensor([float(stopping)], dtype=torch.float64)])).tolist()
        if not (math.isfinite(seen[0]) and math.isfinite(seen[1]) and math.isfinite(norm.item())):
            what = f"The loss is {seen[0] + seen[1]}, the gradient's norm {norm.item()}"
            raise TrainingStopped(self._not_finite(f"{what} in the update after step {self.step}, which was not made"))
        set_learning_rate(self.optimizer, learning_rate(o, self.step))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        flops = step_flops(
            self.recipe.config,
            self.recipe.tokens_per_step,
            self.recipe.data.window,
            None if candidates is None else len(candidates.ids),
        )
        elapsed = time.perf_counter() - start
        self.seconds += elapsed
        self.interval.add(batch, seen[0], seen[1], norm.item(), elapsed, flops)
        return upcoming, seen[2] > 0

    def _backward(self, mine: Batch, candidates: Candidates | None, total: float) -> torch.Tensor:
        """Gradients of this rank's rows, averaged over ranks by DDP; the summed losses [text, repetition documents]."""
        at_once, sums = self.recipe.batch.rows_at_once, torch.zeros(2, device=self.ranks.device)
        for first in range(0, self.rows, at_once):
            waits = self.ranks.count > 1 and first + at_once < self.rows
            with self.parallel.no_sync() if waits else nullcontext():
                parts = self.parallel(mine.rows(first, at_once).to(self.ranks.device), candidates)
                (parts.sum() * (self.ranks.count / total)).backward()
            sums += parts.detach()
        return sums

    def _candidates(self, batch: Batch) -> Candidates | None:
        if not trains_sampled(self.recipe, self.step):
            return None
        r = self.recipe
        chosen = choose_candidates(batch.targets, r.config.d_vocab, r.loss.negatives, negatives_seed(r, self.step))
        return Candidates(chosen.ids.to(self.ranks.device), chosen.log_weight.to(self.ranks.device))

    # -- what is due after a step

    def _due(self, stopping: bool) -> None:
        r, step = self.recipe, self.step
        last = step == r.optimizer.steps
        look = last or step in self.snapshots or step % r.evaluation.every == 0
        if look or step % r.log.every == 0:
            self._line()
        if look:
            self._look()
        if last or stopping or step % r.save.every == 0:
            self._save()

    def _line(self) -> None:
        steps_left = self.recipe.optimizer.steps - self.step
        done = self.step - self._begun_at
        eta = (time.perf_counter() - self._begun) / done * steps_left
        rate = learning_rate(self.recipe.optimizer, self.step - 1)
        line = self.interval.summary(self.peak) | {"lr": rate, "tokens": self.tokens, "epochs": self.batches.epochs(self.step)}
        self.log.write("train", self.step, **line, eta_seconds=eta, seconds=self.seconds)
        self.train_loss, self.interval = line["loss"], Interval()

    def _look(self) -> None:
        """Evaluate, and keep a snapshot if one is due."""
        v = evaluate(self.objective, self.windows, self.recipe, self.shards, self.ranks)
        if not math.isfinite(v.loss):
            raise TrainingStopped(self._not_finite(f"The validation loss is {v.loss} at step {self.step}"))
        self.validation = v
        self.log.write("evaluation", self.step, tokens=self.tokens, validation_loss=v.loss, bits_per_byte=v.bits_per_byte)
        if self.ranks.first:
            trained = "" if self.train_loss is None else f", training {self.train_loss:.4f}"
            tqdm.write(f"step {self.step}: validation {v.loss:.4f} nats/token ({v.bits_per_byte:.4f} bits/byte){trained}")
            sys.stdout.flush()
            if self.step in self.snapshots:
                self._write_model(checkpoint.step_folder(self.run / SNAPSHOTS, self.step))

    def _write_model(self, folder: Path) -> None:
        write_snapshot(folder, self.model, self.recipe.save.dtype, self.training())

    def _finish(self) -> None:
        if self.ranks.first:
            self._write_model(self.run / MODEL)
        self.ranks.wait()

    # -- state

    @property
    def tokens(self) -> int:
        """Predictions trained on so far, repetition documents included."""
        return self.step * self.recipe.tokens_per_step

    def training(self) -> dict[str, Any]:
        """The content of `training.json` now."""
        v, shards = self.validation, self.shards
        return {
            "name": self.recipe.name,
            "step": self.step,
            "steps": self.recipe.optimizer.steps,
            "tokens": self.tokens,
            "train_loss": self.train_loss,
            "validation_loss": v.loss,
            "bits_per_byte": v.bits_per_byte,
            "validation_tokens": v.tokens,
            "seconds": self.seconds,
            "recipe": self.recipe.to_dict(),
            "data": {
                "fingerprint": shards.fingerprint,
                "train_tokens": shards.tokens("train"),
                "validation_tokens": shards.tokens("validation"),
                "validation_bytes": shards.bytes("validation"),
            },
            "machine": machine(self.ranks),
        }

    def _save(self) -> None:
        if not all(bool(p.isfinite().all()) for p in self.model.parameters()):
            raise TrainingStopped(self._not_finite(f"A weight is not finite after step {self.step}, which was not saved"))
        state = {
            "step": self.step,
            "tokens": self.tokens,
            "seconds": self.seconds,
            "recipe": self.recipe.hash(),
            "data": self.shards.fingerprint,
            "train_loss": self.train_loss,
            "validation": None if self.validation is None else asdict(self.validation),
            "interval": asdict(self.interval),
        }
        if self.ranks.first:
            folder = self.run / CHECKPOINTS
            self.last_saved = checkpoint.save(folder, self.model, self.optimizer, state, self.recipe.save.keep)
        self.ranks.wait()

    def _restore(self, found: checkpoint.Found) -> None:
        state = found.state
        checkpoint.restore(found.folder, self.model, self.optimizer, state["step"])
        self.step, self.seconds, self.train_loss = state["step"], state["seconds"], state["train_loss"]
        self.validation = None if state["validation"] is None else Validation(**state["validation"])
        self.interval, self.last_saved = Interval(**state["interval"]), found.folder

    def _begin(self) -> None:
        self._begun, self._begun_at = time.perf_counter(), self.step
        given = "given in the recipe" if self.recipe.log.peak_tflops else "measured by a matrix product"
        self.log.write(
            "start", self.step, machine=machine(self.ranks), peak_flops=self.peak, peak=given, processes=self.ranks.count
        )
        if self.ranks.first:
            c = self.recipe.config
            print(
                f"{self.recipe.name}: {c.n_params:,} parameters, step {self.step} of {self.recipe.optimizer.steps}, "
                f"{self.recipe.tokens_per_step:,} tokens a step, {self.ranks.count} process(es) on {self.ranks.device.type}, "
                f"peak {self.peak / 1e12:.3g} TFLOP/s ({given}).",
                flush=True,
            )

    # -- sentences

    def _kept(self) -> str:
        if self.last_saved is None:
            return "no checkpoint was written yet"
        return f"the last good checkpoint is {self.last_saved}"

    def _not_finite(self, what: str) -> str:
        return f"{what}: {self._kept()}; a lower learning rate or a longer warm-up usually helps (in a new --out)."

    def _refused(self, error: OSError) -> str:
        return f"Writing at step {self.step} failed ({error}): {self._kept()}; make room, then the same command goes on."


def machine(ranks: Ranks) -> str:
    """One line: processor or GPU, processes, threads, PyTorch."""
    about = describe_machine()
    on = about["gpus"][ranks.device.index or 0] if ranks.device.type == "cuda" else about["cpu"]
    return f"{ranks.count} x {on}, {about['threads']} thread(s), torch {about['torch']}"


def _rows_per_rank(recipe: Recipe, count: int) -> int:
    rows, at_once = recipe.batch.rows, recipe.batch.rows_at_once
    if rows % (at_once * count):
        raise ValueError(f"[batch] rows is {rows}, expected a multiple of rows_at_once x processes, {at_once} x {count}.")
    return rows // count
