"""Lines that the heads tab's scripts share: the prompt up to the selected position, what ablations read, and the metric."""

from app.service.heads_prompt import METHOD, METRIC, REFERENCE, WINDOWS, reference_text, rivals
from app.service.view import View
from interp.run import Run


def prompt_lines(view: View) -> str:
    """`tokens` [1 pos]: the prompt up to where the prediction is read."""
    return f"tokens = torch.tensor([run.tokens[: {view.position + 1}]])\n"


def reference_lines(view: View) -> str:
    """`reference` [8 pos]: what mean and resample read."""
    return (
        f"ids = model.tokenizer.encode({reference_text(REFERENCE.of(view.state))!r})\n"
        f"starts = [i * len(ids) // {WINDOWS} for i in range({WINDOWS})]\n"
        f"first, n = {[view.run.tokens[0]] if view.state.bos else []}, {view.position + 1 - view.state.bos}\n"
        "reference = torch.tensor([first + [ids[(start + j) % len(ids)] for j in range(n)] for start in starts])\n"
    )


ABLATIONS = {"zero": "Ablation.zero()", "mean": "Ablation.mean(reference)", "resample": "Ablation.resample(reference)"}


def ablation_lines(view: View) -> str:
    """`ablation`, with a row of `tokens` for each piece to resample from."""
    method = METHOD.of(view.state)
    lines = prompt_lines(view) + (reference_lines(view) if method != "zero" else "")
    lines += f"tokens = tokens.expand({WINDOWS}, -1)\n" if method == "resample" else ""
    return lines + f"ablation = {ABLATIONS[method]}\n"


def metric_lines(view: View, run: Run) -> str:
    """`metric` of last-position logits."""
    two, names = rivals(view), view.model.tokenizer.strings([rivals(view).first, rivals(view).second])
    if METRIC.of(view.state) == "logit_diff":
        return f"metric = logit_diff({two.first}, {two.second})  # {names[0]!r} against {names[1]!r}\n"
    if METRIC.of(view.state) == "log_probability":
        return f"metric = log_probability({two.first})  # {names[0]!r}\n"
    return f"metric = kl(run.logits[{view.position}])\n"


def metric_import(view: View) -> str:
    return f"from interp.metrics import {METRIC.of(view.state)}"
