"""What is not finite is refused, and the sentence says which run, which part and which place it came from.

`test_public_functions.py` asks the same of every function, with a weight that is NaN.
"""

import pytest
import torch
from helpers import random_model, some_tokens, tiny_config

from interp import circuits, knockout_greedy, patching
from interp.ablation import Ablation, Part, ablate
from interp.edits import Edit, Plan
from interp.finite import last_logits
from interp.knockout import knock_out_search
from interp.metrics import evaluate, logit_diff
from interp.run import trace
from interp.tracing import Noise, causal_trace, draw_noise

CONFIG = tiny_config(n_layers=2, n_heads=2, d_model=16, d_vocab=60, n_ctx=16, tied=False)
MODEL = random_model(CONFIG)
BAD = 59  # a token whose embedding is NaN: only runs that read it go wrong
MODEL.wte.weight.data[BAD] = torch.nan
TOKENS, OTHERS = (some_tokens(CONFIG, 3, 5, seed) % BAD for seed in (1, 2))
SPOILED = OTHERS.clone()
SPOILED[2, 1] = BAD  # the reference of the third prompt
METRIC = logit_diff(3, 5)
ATTN = r"is not finite in torch\.float32, first at blocks\.0\.hook_attn_out; make the edits smaller, or check the weights\."


def test_the_part_that_was_taken_away_and_the_prompt():
    with pytest.raises(ValueError, match=rf"^The model's output without L0H1 \+ MLP L1 for prompt 2 {ATTN}$"):
        ablate(MODEL, TOKENS, [Part.head(0, 1), Part.mlp(1)], Ablation.resample(SPOILED))
    with pytest.raises(ValueError, match=f"without L0H0 for prompt 2 {ATTN}"):
        knock_out_search(MODEL, TOKENS, METRIC, Ablation.resample(SPOILED))
    with pytest.raises(ValueError, match=r"without MLP L0 for prompt 2 is not finite .* first at blocks\.0\.hook_mlp_out"):
        knock_out_search(MODEL, TOKENS, METRIC, Ablation.resample(SPOILED), "mlp")
    assert ablate(MODEL, TOKENS, [Part.head(0, 1)], Ablation.resample(OTHERS)).isfinite().all()


def test_the_run_that_went_wrong():
    with pytest.raises(ValueError, match="output on the corrupted prompts for prompt 2 is not finite .* first at hook_embed"):
        list(circuits.discover(MODEL, TOKENS, SPOILED, METRIC, 0.1))
    with pytest.raises(ValueError, match="for prompt 2 is not finite .* first at hook_embed"):
        list(circuits.discover(MODEL, SPOILED, TOKENS, METRIC, 0.1))
    with pytest.raises(ValueError, match="for prompt 1 is not finite .* first at hook_embed"):
        patching.sweep(MODEL, TOKENS[2], SPOILED[2], METRIC)
    with pytest.raises(ValueError, match="for prompt 2 is not finite"):
        next(knockout_greedy.greedy_knock_out(MODEL, SPOILED, METRIC))


def test_the_noise_that_went_wrong():
    good = draw_noise(MODEL, 1, samples=3, sigma=0.1)
    samples = good.samples.clone()
    samples[1, 0, 4] = torch.inf
    with pytest.raises(ValueError, match="with noise sample 1 is not finite .* first at hook_embed"):
        causal_trace(MODEL, TOKENS[0], (1, 2), METRIC, noise=Noise(samples, 0.1, 3.0, 0))
    assert causal_trace(MODEL, TOKENS[0], (1, 2), METRIC, noise=good).values.isfinite().all()


def test_edits_that_overflow_and_half_precision():
    plan = Plan(tuple(Edit.scale("mlp_out", 1, value=9e5 + n) for n in range(8)))
    with pytest.raises(ValueError, match=r"first at blocks\.1\.hook_mlp_out; make the edits smaller"):
        trace(MODEL, [1, 2, 3], plan, bos=False)
    with pytest.raises(ValueError, match=r"in torch\.bfloat16, .*; use float32, make the edits smaller"):
        ablate(random_model(CONFIG).bfloat16(), TOKENS, [], plan=plan)


def test_a_metric_that_gives_no_number():
    with pytest.raises(ValueError, match="The metric torn gave nan for row 1 of 3; expected finite numbers"):
        evaluate(torn, last_logits(MODEL, TOKENS))
    with pytest.raises(ValueError, match="The metric torn gave nan"):
        patching.sweep(MODEL, TOKENS[0], OTHERS[0], torn)


def torn(logits):
    return torch.where(torch.arange(len(logits)) == 1, torch.nan, logits[:, 3])
