"""What the literature measured on OpenAI's GPT-2 small; runs wherever its weights are in the Hugging Face cache.

Numbers: outputs stored in TransformerLens' demo notebooks (tag v1.14.0, MIT), all of them independent of weight processing.
"""

import pytest
import torch

from gpt2_core import load
from gpt2_core.checkpoints import locate
from interp import heads, trace
from interp.lens import logit_lens
from interp.predictions import probabilities, token_statistics

pytestmark = pytest.mark.weights

# The eight prompts of the demo for indirect object identification: text, the name expected, the other name, logit difference.
IOI = (
    ("When John and Mary went to the shops, John gave the bag to", " Mary", " John", 3.337),
    ("When John and Mary went to the shops, Mary gave the bag to", " John", " Mary", 3.202),
    ("When Tom and James went to the park, James gave the ball to", " Tom", " James", 2.709),
    ("When Tom and James went to the park, Tom gave the ball to", " James", " Tom", 3.797),
    ("When Dan and Sid went to the shops, Sid gave an apple to", " Dan", " Sid", 1.720),
    ("When Dan and Sid went to the shops, Dan gave an apple to", " Sid", " Dan", 5.281),
    ("After Martin and Amy went to the park, Amy gave a drink to", " Martin", " Amy", 2.601),
    ("After Martin and Amy went to the park, Martin gave a drink to", " Amy", " Martin", 5.767),
)
INDUCTION = {(5, 1): 0.931, (6, 9): 0.926, (5, 5): 0.926, (7, 10): 0.904, (7, 2): 0.851, (10, 1): 0.482}
PREVIOUS = {(4, 11): 0.992, (3, 7): 0.529, (6, 8): 0.499, (2, 2): 0.482}
DUPLICATE = {(0, 5): 0.703, (3, 0): 0.678, (0, 1): 0.132}


@pytest.fixture(scope="module")
def gpt2():
    if locate("gpt2") is None:
        pytest.skip("gpt2 is not in the Hugging Face cache")
    return load("gpt2")


def test_loss_of_hello_world(gpt2):
    loss = -token_statistics(trace(gpt2, "Hello world!")).logprob[1:].mean().item()
    assert loss == pytest.approx(5.331855773925781, abs=1e-4)


@pytest.mark.parametrize(("text", "right", "wrong", "difference"), IOI)
def test_indirect_object_logit_difference(gpt2, text, right, wrong, difference):
    logits = trace(gpt2, text).logits[-1]
    measured = logits[gpt2.to_single_token(right)] - logits[gpt2.to_single_token(wrong)]
    assert measured.item() == pytest.approx(difference, abs=2e-3)


def test_mary_gets_the_milk(gpt2):
    run = trace(gpt2, "After John and Mary went to the store, John gave a bottle of milk to")
    assert probabilities(run)[gpt2.to_single_token(" Mary")].item() == pytest.approx(0.7007, abs=1e-3)
    assert logit_lens(gpt2, run).check.holds


@pytest.fixture(scope="module")
def scores(gpt2):
    return heads.scores(gpt2, seed=0, batch=2, length=100)  # the tokens of the demo


@pytest.mark.parametrize(
    ("role", "known"), [("induction", INDUCTION), ("previous_token", PREVIOUS), ("duplicate_token", DUPLICATE)]
)
def test_head_scores(scores, role, known):
    for (layer, head), value in known.items():
        assert getattr(scores, role)[layer, head].item() == pytest.approx(value, abs=5e-3), (layer, head)


def test_the_second_copy_is_nearly_free(scores):
    assert scores.first_copy_loss > 9 and scores.second_copy_loss < 1
    assert torch.isfinite(scores.induction).all()
