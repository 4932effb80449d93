"""Texts that a model writes (`generate`) and texts that it reads (`score`), as plain data. See `app.service.analyses`."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from app.service.asking import MAX_SEED, asked, check_bool, check_number, check_real, check_stops, finite
from app.state import MAX_PROMPT
from app.store import ModelStore
from gpt2_core import scoring
from gpt2_core.generate import stream
from gpt2_core.model import GPT2
from gpt2_core.results import Request, Sample, Step, collect
from gpt2_core.sampling import Sampling
from gpt2_core.streaming import read_prompts
from interp.intervene import compile_plan
from interp.run import provenance

MAX_NEW_TOKENS = 1000
MAX_SAMPLES = 8
MAX_TOP_K = 1_000_000  # beyond any vocabulary
MAX_ALTERNATIVES = 20
MAX_SCORED = 5_000_000  # characters of a file that the command line scores
MAX_READ = 500_000  # tokens of all windows together that a request over the network may ask for


def generate(
    store: ModelStore,
    model: str,
    prompt: str,
    *,
    plan: str = "",
    bos: bool = True,
    max_new_tokens: int = 40,
    temperature: float | int = 0.8,
    top_k: int | None = 40,
    top_p: float | int | None = None,
    min_p: float | int | None = None,
    repetition_penalty: float | int = 1.0,
    seed: int = 0,
    n: int = 1,
    stop: str | Sequence[str] | None = (),
    top: int = 5,
    on_text: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Continues a prompt `n` times. Settings are those of `gpt2_core.generate`; temperature 0 takes the likeliest token.

    on_text is told the first sample's text as it comes. Per token: log-probability (nats) and rank in the model's own
    distribution, its entropy (bits), and the `top` likeliest tokens.
    """
    check_number("max_new_tokens", max_new_tokens, 1, MAX_NEW_TOKENS)
    check_number("n", n, 1, MAX_SAMPLES)
    check_number("top", top, 0, MAX_ALTERNATIVES)
    check_number("seed", seed, 0, MAX_SEED)
    if top_k is not None:
        check_number("top_k", top_k, 1, MAX_TOP_K)
    check_real("temperature", temperature)
    check_real("repetition_penalty", repetition_penalty)
    for name, value in (("top_p", top_p), ("min_p", min_p)):
        if value is not None:
            check_real(name, value)
    stop = check_stops(stop)
    prompt, gpt2, edits = asked(store, model, prompt, plan, bos)
    sampling = Sampling(temperature, top_k, top_p, min_p, repetition_penalty)
    request = Request(max_new_tokens, sampling, seed, n, stop, (), top, bos)
    settings = {**asdict(sampling), "max_new_tokens": max_new_tokens, "seed": seed, "n": n, "stop": stop, "top": top}
    steps = stream(gpt2, prompt, hook=compile_plan(gpt2, edits, bos), bos=bos, **settings)
    generation = collect(read_prompts(gpt2, prompt, request), request, _told(steps, on_text))
    return {
        "provenance": provenance(gpt2, edits, bos).to_dict(),
        "prompt": prompt,
        "settings": {**settings, "stop": list(stop)},
        "generated_by": f"{gpt2.config.model_name}, a language model; what it writes may be false",
        "samples": [_sample(gpt2, sample) for sample in generation.samples],
    }


def _told(steps: Iterable[Step], on_text: Callable[[str], None] | None) -> Iterator[Step]:
    for step in steps:
        if on_text is not None and 0 in step.rows:
            on_text(step.texts[step.rows.index(0)])
        yield step


def _sample(model: GPT2, sample: Sample) -> dict[str, Any]:
    strings = model.tokenizer.strings(sample.ids)
    columns = zip(sample.ids, strings, sample.logprobs, sample.ranks, sample.entropies, sample.alternatives, strict=True)
    return {
        "text": sample.text,
        "finish_reason": sample.finish_reason,
        "notices": list(sample.notices),
        "tokens": [
            {
                "id": id,
                "text": text,
                "logprob_nats": logprob,
                "rank": rank,
                "entropy_before_bits": entropy / math.log(2),
                "alternatives": [{"id": a.id, "text": a.text, "logprob_nats": finite(a.logprob)} for a in alternatives],
            }
            for id, text, logprob, rank, entropy, alternatives in columns
        ],
    }


def score(
    store: ModelStore,
    model: str,
    prompt: str,
    *,
    plan: str = "",
    bos: bool = True,
    stride: int | None = None,
    tokens: bool = True,
    longest: int = MAX_PROMPT,
    most_read: int | None = None,
) -> dict[str, Any]:
    """How probable a text is: per token, and as perplexity per token, word, byte and character.

    A text longer than the context is read in windows of a full context, `stride` tokens apart (half a context where None).
    tokens: whether to list every token (its numbers are None where nothing came before it). longest: in characters.
    most_read: the most tokens that all windows together may have, None for any number; a small stride reads a token many times.
    """
    check_bool("tokens", tokens)
    prompt, gpt2, edits = asked(store, model, prompt, plan, bos, longest)
    hook = compile_plan(gpt2, edits, bos)
    stride = max(1, gpt2.config.n_ctx // 2) if stride is None else stride
    check_number("stride", stride, 1, gpt2.config.n_ctx)
    if most_read is not None:
        _check_work(gpt2, prompt, bos, stride, most_read)
    listed: dict[str, Any] = {}
    if tokens:
        scores = scoring.score(gpt2, prompt, bos=bos, hook=hook, top=1, stride=stride)
        whole, listed = scoring.perplexity_of(gpt2, scores), _listed(scores)
    else:
        whole = scoring.perplexity(gpt2, prompt, stride=stride, bos=bos, hook=hook)
    return {
        "provenance": provenance(gpt2, edits, bos).to_dict(),
        "n_tokens": whole.n_tokens,
        "n_scored": whole.n_scored,
        "nats": whole.nats,
        "stride": whole.stride,
        "context": whole.context,
        "per": {unit: _per(whole.per(unit)) for unit in whole.units},
        **listed,
    }


def _check_work(model: GPT2, prompt: str, bos: bool, stride: int, most: int) -> None:
    n = len(model.tokenizer.encode(prompt)) + bos
    read = sum(window.end - window.begin for window in scoring.windows(n, model.config.n_ctx, stride))
    if read > most:
        raise ValueError(
            f"With a stride of {stride}, {read:,} tokens would be read and {most:,} is the most; use a larger stride."
        )


def _per(measured: scoring.Perplexity) -> dict[str, Any]:
    known = measured.n_scored > 0
    return {
        "count": measured.n_units,
        "bits": finite(measured.bits_per_unit) if known else None,
        "perplexity": finite(measured.perplexity) if known else None,
    }


def _listed(scores: scoring.TokenScores) -> dict[str, Any]:
    columns = zip(scores.ids, scores.strings, scores.logprobs, scores.surprisals_bits, scores.ranks, scores.entropies)
    rows = [
        {
            "position": position,
            "id": id,
            "text": text,
            "logprob_nats": logprob,
            "surprisal_bits": bits,
            "rank": rank,
            "entropy_before_bits": None if entropy is None else entropy / math.log(2),
        }
        for position, (id, text, logprob, bits, rank, entropy) in enumerate(columns, int(scores.bos))
    ]
    return {"tokens": rows, "notices": list(scores.notices)}
