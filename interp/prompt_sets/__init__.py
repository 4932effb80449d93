"""Clean and corrupted prompts from templates, for experiments on what a model does and not on what one prompt did.

    from interp import prompt_sets
    drawn = prompt_sets.build("ioi", model.tokenizer, n=100, seed=0)
    for batch in drawn.batches():                      # one batch a length: tokens [prompt pos], never padded
        metric = batch.metric(model(batch.clean)[:, -1])   # [prompt]

A single prompt can be unlucky or lucky, and a mean hides its tail: `interp.over_set` gives any causal analysis over a set with
intervals, distributions and worst prompts, `interp.statistics.summarise` those of any number a prompt. Each set says
which paper it follows, what its corruption changes, and which metric belongs to it; the sets are small programs, one file each.
"""

from collections.abc import Callable
from typing import Any

from gpt2_core.tokenizer import Tokenizer
from interp.metrics import METRICS, AnswerMetric, answer_metric
from interp.prompt_sets import capitals, docstring, greater_than, induction, ioi, pronoun
from interp.prompt_sets.alignment import AlignedToken, Alignment, Change, length_match
from interp.prompt_sets.pairs import Prompt, PromptBatch, PromptPair, PromptSet

SETS: dict[str, Callable[..., PromptSet]] = {
    "ioi": ioi.build,
    "greater_than": greater_than.build,
    "pronoun": pronoun.build,
    "capitals": capitals.build,
    "induction": induction.build,
    "docstring": docstring.build,
}


def build(name: str, tokenizer: Tokenizer, n: int = 100, seed: int = 0, **options: Any) -> PromptSet:
    """n different pairs of a set in SETS. options: the set's own, such as `corruption`.

    Raises ValueError for an unknown set, and where the tokenizer or the set has not enough words.
    """
    if name not in SETS:
        raise ValueError(f"No prompt set is called {name!r}; expected one of {', '.join(SETS)}.")
    return SETS[name](tokenizer, n, seed, **options)


__all__ = [
    "METRICS",
    "SETS",
    "AlignedToken",
    "Alignment",
    "AnswerMetric",
    "Change",
    "Prompt",
    "PromptBatch",
    "PromptPair",
    "PromptSet",
    "answer_metric",
    "build",
    "length_match",
]
