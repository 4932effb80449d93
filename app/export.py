"""A run of the page as data, as a table, or as a script that reproduces it."""

import json
import math

from app import evidence
from app.components.toolbar import Download
from app.service.scripts import script
from app.service.view import View, as_numpy
from interp import predictions

TOP = 5


def run_as_dict(view: View) -> dict:
    """The prompt, each token with its statistics and the top predictions after it, and the provenance."""
    run, stats = view.run, predictions.token_statistics(view.run)
    rows = []
    for position, (token, string) in enumerate(zip(run.tokens, run.strings)):
        top = predictions.next_tokens(run, position, TOP)
        rows.append(
            {
                "position": position,
                "id": token,
                "text": string,
                "logprob_nats": _number(stats.logprob[position]),
                "surprisal_bits": _number(stats.surprisal[position]),
                "entropy_before_bits": _number(stats.entropy[position]),
                "rank": int(stats.rank[position]),
                "next": [
                    {"id": int(i), "text": view.model.tokenizer.strings([int(i)])[0], "probability": _number(p)}
                    for i, p in zip(as_numpy(top.ids), as_numpy(top.probabilities))
                ],
            }
        )
    return {"prompt": run.text, "provenance": run.provenance.to_dict(), "tokens": rows}


def as_json(view: View) -> str:
    """`run_as_dict` as JSON text."""
    return json.dumps(run_as_dict(view), ensure_ascii=False, indent=1)


def as_csv(view: View) -> str:
    """One line per token: position, id, text, statistics, and the likeliest next token."""
    names = ("position", "id", "text", "logprob_nats", "surprisal_bits", "entropy_before_bits", "rank")
    rows = [
        [*(row[name] for name in names), *(row["next"][0][name] for name in ("text", "probability"))]
        for row in run_as_dict(view)["tokens"]
    ]
    return evidence.as_csv(evidence.Evidence("tokens", (*names, "next_text", "next_probability"), rows, code=""))


def as_script(view: View) -> str:
    """A script that loads the same weights, makes the same run under the same plan, and prints the same top predictions."""
    body = f"""
top = next_tokens(run, position={view.position}, k={TOP})
for token, probability in zip(top.ids.tolist(), top.probabilities.tolist()):
    print(f"{{probability:8.4%}}  {{model.tokenizer.strings([token])[0]!r}}")
"""
    return script(view, "from interp.predictions import next_tokens", body)


KINDS = {
    "json": ("glassbox-run.json", "application/json", as_json),
    "csv": ("glassbox-tokens.csv", "text/csv", as_csv),
    "script": ("glassbox_run.py", "text/x-python", as_script),
}


def download(view: View, kind: str, serial: str) -> Download:
    """The file of a kind in KINDS. Raises ValueError for another kind."""
    if kind not in KINDS:
        raise ValueError(f"A run can be saved as {', '.join(KINDS)}; got {kind!r}.")
    name, mime, write = KINDS[kind]
    return Download(serial, name, mime, write(view))


def _number(x) -> float | None:
    x = float(x)
    return x if math.isfinite(x) else None
