"""Every analysis as plain data: what the command line prints and the API answers.

Each function takes a store of models, a model's name and a prompt, and gives a dict of numbers, strings and lists (no
tensors, no NaN) that says in "provenance" where it comes from. `plan` is the JSON of a plan of edits (`interp.edits`), ""
for none; `bos` puts `<|endoftext|>` in front of the prompt. Positions count that token. Everything that decides how much
work an answer is has a bound. Raises ValueError, in one sentence, for what cannot be done.
"""

import math
from typing import Any

import torch
from torch import Tensor

from app.service.asking import (
    MAX_SEED,
    about_run,
    asked,
    check_bool,
    check_number,
    check_of,
    check_size,
    check_text,
    finite,
    plain,
    tokens_of,
)
from app.service.texts import MAX_NEW_TOKENS, generate, score
from app.store import ModelStore
from gpt2_core.accounting import weight_bytes
from gpt2_core.checkpoints.find import registered
from gpt2_core.hooks import Watch
from interp import heads as head_scores
from interp import predictions
from interp.attention import pattern_names, rows_check
from interp.edits import plain_text
from interp.intervene import compile_plan
from interp.lens import lens_names, logit_lens
from interp.run import prompt_ids, provenance, trace

MAX_K = 100

__all__ = ["MAX_K", "MAX_NEW_TOKENS", "attention", "generate", "heads", "lens", "models", "next_tokens", "score"]


def next_tokens(
    store: ModelStore, model: str, prompt: str, *, plan: str = "", bos: bool = True, k: int = 20, position: int = -1
) -> dict[str, Any]:
    """The k likeliest tokens after a position (negative counts from the end), with probabilities and logits."""
    check_number("k", k, 1, MAX_K)
    prompt, gpt2, edits = asked(store, model, prompt, plan, bos)
    run = trace(gpt2, prompt, edits, bos, ["hook_embed"])
    check_number("position", position, -len(run), len(run) - 1)
    top = predictions.next_tokens(run, position, k)
    ids = top.ids.tolist()
    columns = zip(ids, gpt2.tokenizer.strings(ids), plain(top.probabilities), plain(top.logits), strict=True)
    return {
        **about_run(run),
        "position": top.position,
        "entropy_bits": finite(top.entropy),
        "next": [{"id": id, "text": text, "probability": p, "logit": logit} for id, text, p, logit in columns],
        "check": check_of(top.check),
    }


@torch.no_grad()
def attention(
    store: ModelStore,
    model: str,
    prompt: str,
    *,
    plan: str = "",
    bos: bool = True,
    layer: int | None = None,
    head: int | None = None,
) -> dict[str, Any]:
    """How much each token looks at each earlier one.

    With a layer: "patterns" [head query key] of its heads, or of the one head given. Without: "heads" [layer head], a summary
    of each: its mean weight on the first token, the previous one and itself, its mean distance in tokens and its mean
    entropy in bits. Means are over all queries but the first, which can look at nothing but itself.
    """
    prompt, gpt2, edits = asked(store, model, prompt, plan, bos)
    cfg, ids = gpt2.cfg, prompt_ids(gpt2, prompt, bos)
    if layer is None and head is not None:
        raise ValueError(f"Head {head} of which layer? Give the layer too.")
    if layer is not None:
        check_number("layer", layer, 0, cfg.n_layers - 1)
    if head is not None:
        check_number("head", head, 0, cfg.n_heads - 1)
    check_size(0 if layer is None else len(ids) ** 2 * (cfg.n_heads if head is None else 1), "one head or a shorter prompt")
    names = pattern_names(cfg.n_layers)
    wanted, last = (names, cfg.n_layers) if layer is None else ([names[layer]], layer + 1)
    seen: list[Any] = []
    residuals: list[float] = []

    def read(name: str, pattern: Tensor) -> None:  # one layer at a time, so that they are never all in memory
        rows = pattern[0].float() if head is None else pattern[0, head : head + 1].float()
        residuals.append((rows.sum(-1) - 1).abs().max().item())
        seen.append(_summaries(rows) if layer is None else plain(rows))

    watch = Watch(frozenset(wanted).__contains__, read, compile_plan(gpt2, edits, bos))
    gpt2(torch.tensor([ids]), hook=watch, stop_at_layer=last)
    return {
        "provenance": provenance(gpt2, edits, bos).to_dict(),
        "prompt": prompt,
        "tokens": tokens_of(gpt2, ids),
        **({"heads": seen} if layer is None else {"layer": layer, "head": head, "patterns": seen[0]}),
        "check": check_of(rows_check(max(residuals), cfg.dtype)),
    }


def _summaries(pattern: Tensor) -> list[dict[str, float | None]]:
    """The summary of each head of a pattern [head query key]."""
    n = pattern.shape[-1]
    places = torch.arange(n, device=pattern.device)
    rows = {
        "first": pattern[:, :, 0],
        "previous": torch.nn.functional.pad(pattern.diagonal(-1, -2, -1), (1, 0)),
        "self": pattern.diagonal(0, -2, -1),
        "distance": (pattern * (places[:, None] - places)).sum(-1),
        "entropy_bits": torch.special.entr(pattern).sum(-1) / math.log(2),
    }
    means = {name: values[:, 1:].mean(-1).tolist() for name, values in rows.items()}
    return [{name: finite(values[head]) for name, values in means.items()} for head in range(len(pattern))]


def lens(
    store: ModelStore,
    model: str,
    prompt: str,
    *,
    plan: str = "",
    bos: bool = True,
    k: int = 5,
    target: str | None = None,
    mid: bool = False,
) -> dict[str, Any]:
    """The logit lens: what each layer would predict at each position. See `interp.lens`.

    "top_ids", "top_text", "top_probabilities" are [row pos k], the rest [row pos], rows named by "rows". target: the text of
    one token to track; None tracks the final prediction at each position. mid: rows after each attention too.
    """
    check_number("k", k, 1, MAX_K)
    check_bool("mid", mid)
    if target is not None:
        check_text("target", target)
    prompt, gpt2, edits = asked(store, model, prompt, plan, bos)
    tracked = None if target is None else gpt2.to_single_token(plain_text(target))
    names = lens_names(gpt2.config.n_layers, mid)
    check_size(3 * k * len(prompt_ids(gpt2, prompt, bos)) * len(names), "a smaller k or a shorter prompt")
    run = trace(gpt2, prompt, edits, bos, names)
    table = logit_lens(gpt2, run, k, tracked, mid)
    texts = [[gpt2.tokenizer.strings(ids) for ids in row] for row in table.top_ids.tolist()]
    numbers = ("top_probabilities", "entropy", "target_probability", "target_rank", "kl_to_final")
    return {
        **about_run(run),
        "rows": list(table.labels),
        "top_ids": table.top_ids.tolist(),
        "top_text": texts,
        **{name: plain(getattr(table, name)) for name in numbers},
        "units": {"entropy": "bits", "kl_to_final": "bits"},
        "check": check_of(table.check),
    }


def heads(store: ModelStore, model: str, *, plan: str = "", seed: int = 0, length: int = 50, batch: int = 4) -> dict[str, Any]:
    """Previous-token, duplicate-token and induction scores [layer head] on repeated random tokens. See `interp.heads`."""
    check_number("seed", seed, 0, MAX_SEED)
    check_number("length", length, 2, 128)
    check_number("batch", batch, 1, 8)
    _, gpt2, edits = asked(store, model, "", plan, False)
    found = head_scores.scores(gpt2, seed, batch, length, edits)
    roles = ("previous_token", "duplicate_token", "induction")
    return {
        "provenance": provenance(gpt2, edits, False).to_dict(),
        **{role: plain(getattr(found, role)) for role in roles},
        "chance": found.chance,
        "first_copy_loss_nats": finite(found.first_copy_loss),
        "second_copy_loss_nats": finite(found.second_copy_loss),
        "gain_nats": finite(found.gain),
        "seed": seed,
        "length": length,
        "batch": batch,
    }


def models(store: ModelStore) -> dict[str, Any]:
    """Every model on offer: its shape, its size, whether it is embedded, on this machine, or to be downloaded."""
    rows = []
    for entry in store.entries():
        size, needed = registered(entry.name), weight_bytes(entry.config, store.dtype)
        rows.append(
            {
                "name": entry.name,
                "label": entry.label,
                "state": entry.state,
                "parameters": entry.config.n_params,
                "n_layers": entry.config.n_layers,
                "n_heads": entry.config.n_heads,
                "d_model": entry.config.d_model,
                "n_ctx": entry.config.n_ctx,
                "file_bytes": entry.bytes,
                "memory_bytes": needed,
                "fits": needed <= store.budget,
                "licence": size.licence if size else None,
            }
        )
    return {"device": str(store.device), "dtype": str(store.dtype).removeprefix("torch."), "models": rows}
