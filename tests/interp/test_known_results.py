"""What the literature measured on OpenAI's GPT-2 small and XL; runs wherever their weights are in the Hugging Face cache.

The checks, their expected numbers and tolerances are those of `python -m app literature --model gpt2` (`gpt2-xl`) and of the page:
one test for each, here so that a change of the library that moves a published number is seen.
"""

from functools import cache

import pytest

from gpt2_core import load
from gpt2_core.checkpoints import locate
from interp import literature
from interp.folding import fold

pytestmark = pytest.mark.weights


@cache
def _loaded(name: str, folded: bool):
    return fold(_loaded(name, False)) if folded else load(name)


@pytest.mark.parametrize(
    "id", [pytest.param(id, marks=[pytest.mark.slow] * (check.of == "gpt2-xl")) for id, check in literature.BY_ID.items()]
)
def test_the_published_numbers(id):
    check = literature.BY_ID[id]
    if locate(check.of) is None:
        pytest.skip(f"{check.of} is not in the Hugging Face cache")
    model = _loaded(check.of, check.mode == "folded")
    assert literature.is_released(model, check.of)
    outcome = literature.run_one(check, model)
    missed = outcome.comparison.misses[:5] if outcome.comparison else outcome.reason
    assert outcome.status == "pass", missed
