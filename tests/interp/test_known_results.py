"""What the literature measured on OpenAI's GPT-2 small; runs wherever its weights are in the Hugging Face cache.

The checks, their expected numbers and tolerances are those of `python -m app literature --model gpt2` and of the page: one
test for each, here so that a change of the library that moves a published number is seen.
"""

import pytest

from gpt2_core import load
from gpt2_core.checkpoints import locate
from interp import literature
from interp.folding import fold

pytestmark = pytest.mark.weights


@pytest.fixture(scope="module")
def gpt2():
    if locate("gpt2") is None:
        pytest.skip("gpt2 is not in the Hugging Face cache")
    return load("gpt2")


@pytest.fixture(scope="module")
def folded(gpt2):
    return fold(gpt2)


@pytest.mark.parametrize("id", literature.BY_ID)
def test_the_published_numbers(request, gpt2, id):
    check = literature.BY_ID[id]
    model = request.getfixturevalue("folded") if check.mode == "folded" else gpt2
    assert literature.is_small(model)
    outcome = literature.run_one(check, model)
    missed = outcome.comparison.misses[:5] if outcome.comparison else outcome.reason
    assert outcome.status == "pass", missed
