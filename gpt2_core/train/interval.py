"""What has happened since the last line of the log; kept in checkpoints, so that a resumed run writes the same lines."""

from dataclasses import dataclass
from typing import Any

from gpt2_core.train.batches import Batch


@dataclass
class Interval:
    """Running sums. Losses in nats, weights are the importances they belong to."""

    steps: int = 0
    tokens: int = 0
    text_loss: float = 0.0
    text_weight: float = 0.0
    repeated_loss: float = 0.0
    repeated_weight: float = 0.0
    grad_norm: float = 0.0
    seconds: float = 0.0
    flops: float = 0.0

    def add(self, batch: Batch, text: float, repeated: float, grad_norm: float, seconds: float, flops: float) -> None:
        """Add a step: its summed losses over text and repetition documents, and what it cost."""
        self.steps += 1
        self.tokens += batch.targets.numel()
        self.text_loss += text
        self.text_weight += batch.text[:, 1:].numel()
        self.repeated_loss += repeated
        self.repeated_weight += batch.importance.sum().item()
        self.grad_norm += grad_norm
        self.seconds += seconds
        self.flops += flops

    def summary(self, peak: float) -> dict[str, Any]:
        """Means for a line of the log: losses in nats per token (None where there was no such row), speed, utilisation."""
        return {
            "loss": _mean(self.text_loss, self.text_weight),
            "repetition_loss": _mean(self.repeated_loss, self.repeated_weight),
            "grad_norm": _mean(self.grad_norm, self.steps),
            "tokens_per_second": _mean(self.tokens, self.seconds),
            "mfu": _mean(self.flops, self.seconds * peak),
        }


def _mean(total: float | int, count: float | int) -> float | None:
    return total / count if count else None
