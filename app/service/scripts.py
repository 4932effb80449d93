"""The two scripts that a panel shows "as code": one with this project's library, one with transformer-lens.

Each is whole: it loads the weights, says the prompt and every choice, computes the panel's numbers and prints them. A panel writes
only the lines in the middle; the weights' sha256 in the first line tells whether another machine runs the same model.
"""

from app.service.view import View
from app.store import AUTOENCODERS
from gpt2_core.config import RELEASED


def script(view: View, imports: str, body: str, run: bool = True) -> str:
    """A script with `model`, `plan` (the edits in force) and, where wanted, `run` (the page's run); imports and body are its lines."""
    s, p = view.state, view.run.provenance
    features = any(edit.op == "feature" for edit in s.plan)
    lines = [
        f'"""Made by GPT-2 Glassbox {p.version}; weights sha256 {p.weights_sha256}."""',
        "",
        *_sorted(
            [
                "from gpt2_core import load",
                *(["from interp.sae import Autoencoders"] if features else []),
                "from interp.edits import Plan",
                *(["from interp import trace"] if run else []),
                imports,
            ]
        ),
        "",
        f"model = load({s.model!r}, device={p.device!r}, dtype={p.dtype!r})",
        *([f"model.autoencoders = Autoencoders({str(view.store.settings.sae or AUTOENCODERS)!r}, model)"] if features else []),
        f"plan = Plan.from_json({s.plan.to_json()!r})",
        *([f"run = trace(model, {s.prompt!r}, plan, bos={s.bos})"] if run else []),
        body.strip("\n"),
    ]
    return "\n".join(lines) + "\n"


def unedited_line(view: View) -> str:
    """The line of a script that makes `unedited`, the run without the edits in force."""
    return f"unedited = trace(model, {view.state.prompt!r}, bos={view.state.bos})"


def lens_script(view: View, imports: str, body: str) -> str:
    """The same with transformer-lens: `model` is its TransformerBridge and `tokens` [1 pos] the page's prompt.

    "" where edits are in force: that library has no plan of edits.
    """
    s, p = view.state, view.run.provenance
    if s.plan:
        return ""
    released = s.model in RELEASED
    source = ["from transformer_lens.model_bridge import TransformerBridge"] if released else ["from gpt2_core import load", "from interp.bridge import to_transformer_lens"]  # fmt: skip
    made = f"TransformerBridge.boot_transformers({s.model!r}, device={p.device!r})" if released else f"to_transformer_lens(load({s.model!r}))"  # fmt: skip
    lines = [
        f'"""Made by GPT-2 Glassbox {p.version}; weights sha256 {p.weights_sha256}."""',
        "",
        *_sorted(["import torch", *source, imports]),
        "",
        f"model = {made}",
        f"tokens = torch.tensor([{list(view.run.tokens)}])",
        body.strip("\n"),
    ]
    return "\n".join(lines) + "\n"


def _sorted(imports: list[str]) -> list[str]:
    """Whole modules first, then names, each once."""
    lines = {line for text in imports for line in text.strip().splitlines() if line}
    return sorted(lines, key=lambda line: (line.startswith("from"), line))
