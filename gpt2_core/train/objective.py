"""What is minimised: the loss of a few rows, summed, from a GPT-2 whose logits are never held."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from gpt2_core.model import GPT2, UNHOOKED
from gpt2_core.train.batches import Batch
from gpt2_core.train.loss import Candidates, chunked_cross_entropy, sampled_cross_entropy


class Objective(nn.Module):
    """The model and its loss as one module, which is what DistributedDataParallel wraps.

    `dtype`: of the matrix products (autocast); weights, residual stream and sums stay float32. `compiled`: the softmax of the
    loss as one kernel and, on CUDA, each block; compiled blocks gain nothing on a CPU (2 % at 4 layers of 128, within noise).
    """

    def __init__(self, model: GPT2, dtype: torch.dtype, chunk: int, compiled: bool = False):
        super().__init__()
        self.model, self.dtype, self.pieces = model, dtype, {"chunk": chunk, "compiled": compiled}
        if compiled and model.wte.weight.is_cuda:
            for block in model.h:
                block.compile()

    def hidden(self, tokens: Int[Tensor, "row pos"]) -> Float[Tensor, "n d_model"]:
        """The final LayerNorm's output at every position, rows joined, in the dtype of the products."""
        model = self.model
        with torch.autocast(tokens.device.type, self.dtype, enabled=self.dtype != torch.float32):
            resid = model(tokens, stop_at_layer=model.config.n_layers)
            return model.ln_f(resid, UNHOOKED, "ln_final").to(self.dtype).flatten(0, 1)

    def forward(self, batch: Batch, candidates: Candidates | None) -> Float[Tensor, " kind"]:
        """The summed loss [text, repetition documents] in nats; sampled where there are candidates, else exact."""
        parts = ((batch.text, None), (batch.repeated, batch.importance.flatten()))
        return torch.stack([self._sum(tokens, importance, candidates) for tokens, importance in parts])

    def _sum(self, tokens: Tensor, importance: Tensor | None, candidates: Candidates | None) -> Float[Tensor, ""]:
        if not len(tokens):
            return torch.zeros((), device=tokens.device)
        given = (self.hidden(tokens[:, :-1]), self.model.wte.weight, tokens[:, 1:].flatten())
        if candidates is None:
            return chunked_cross_entropy(*given, importance, **self.pieces)
        return sampled_cross_entropy(*given, candidates, importance, **self.pieces)

    def exact(self, tokens: Int[Tensor, "row tokens"]) -> Float[Tensor, ""]:
        """The summed exact loss of windows of text."""
        targets = tokens[:, 1:].flatten()
        return chunked_cross_entropy(self.hidden(tokens[:, :-1]), self.model.wte.weight, targets, **self.pieces)
