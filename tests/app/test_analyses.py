"""The analyses as plain data: equal to the libraries below them, bounded, and free of anything JSON cannot carry."""

import json
import math

import pytest
import torch

from app.service import analyses
from app.settings import Settings
from app.store import ModelStore
from gpt2_core import SIZES
from gpt2_core import generate as core_generate
from gpt2_core.scoring import perplexity
from gpt2_core.scoring import score as core_score
from interp import heads as head_scores
from interp.attention import patterns
from interp.edits import Edit, Plan
from interp.lens import logit_lens
from interp.predictions import next_tokens, probabilities
from interp.run import trace

MODEL, PROMPT = "glass-7m", "When the old clock struck twelve, the old"
N_CTX = SIZES[MODEL].config.n_ctx
PLAN = Plan((Edit.zero("z", layer=2, head=1),))


@pytest.fixture(scope="module")
def model(store):
    return store.model(MODEL)


ASKED = [
    ("generate", {"prompt": PROMPT, "max_new_tokens": 3}),
    ("score", {"prompt": PROMPT}),
    ("next_tokens", {"prompt": PROMPT}),
    ("attention", {"prompt": PROMPT}),
    ("attention", {"prompt": PROMPT, "layer": 1}),
    ("lens", {"prompt": PROMPT}),
    ("heads", {"length": 8, "batch": 1}),
]


@pytest.mark.parametrize("name, options", ASKED)
@pytest.mark.parametrize("plan", ["", PLAN.to_json()])
def test_answers_are_plain_json_and_say_where_they_come_from(store, name, options, plan):
    answer = getattr(analyses, name)(store, MODEL, **options, plan=plan)
    assert json.loads(json.dumps(answer, allow_nan=False)) == answer
    made_by = answer["provenance"]
    assert made_by["model"] == MODEL and len(made_by["weights_sha256"]) == 64
    assert made_by["plan"] == (plan or "[]") and made_by["dtype"] == "float32"


@pytest.mark.parametrize("name, options", ASKED)
def test_a_plan_changes_every_answer(store, name, options):
    options = options | ({"layer": 3} if "layer" in options else {}) | ({"temperature": 0} if name == "generate" else {})
    answers = [getattr(analyses, name)(store, MODEL, **options, plan=plan) for plan in ("", PLAN.to_json())]
    for answer in answers:
        del answer["provenance"]
    assert answers[0] != answers[1]


def test_generate_is_the_core_s(store, model):
    told = []
    answer = analyses.generate(store, MODEL, PROMPT, max_new_tokens=8, temperature=1, seed=3, n=2, on_text=told.append)
    expected = core_generate(model, PROMPT, max_new_tokens=8, temperature=1, top_k=40, seed=3, n=2, bos=True)
    assert [s["text"] for s in answer["samples"]] == list(expected.texts)
    assert "".join(told) == expected.text
    assert [t["id"] for t in answer["samples"][0]["tokens"]] == list(expected.ids)
    assert [t["logprob_nats"] for t in answer["samples"][0]["tokens"]] == list(expected.logprobs)
    assert MODEL in answer["generated_by"]


def test_score_sums_to_its_perplexities(store, model):
    answer = analyses.score(store, MODEL, PROMPT)
    rows, expected = answer["tokens"], core_score(model, PROMPT)
    assert [row["logprob_nats"] for row in rows] == list(expected.logprobs)
    assert [row["rank"] for row in rows] == list(expected.ranks)
    assert answer["nats"] == pytest.approx(-sum(row["logprob_nats"] for row in rows), abs=1e-3)
    assert sum(row["surprisal_bits"] for row in rows) == pytest.approx(answer["nats"] / math.log(2), abs=1e-3)
    counts = {"token": len(rows), "word": len(PROMPT.split()), "byte": len(PROMPT.encode()), "char": len(PROMPT)}
    assert {unit: per["count"] for unit, per in answer["per"].items()} == counts
    for unit, per in answer["per"].items():
        assert per["perplexity"] == pytest.approx(math.exp(answer["nats"] / counts[unit]))


def test_score_without_a_first_token_scores_nothing_of_one_token(store):
    answer = analyses.score(store, MODEL, "a", bos=False)
    assert answer["tokens"][0]["logprob_nats"] is None
    assert answer["per"]["word"] == {"count": 1, "bits": None, "perplexity": None}


def test_score_of_a_long_text_reads_windows(store):
    answer = analyses.score(store, MODEL, "the old man and the sea " * 220, stride=400, tokens=False)
    assert answer["n_scored"] == answer["n_tokens"] > N_CTX and answer["stride"] == 400 and "tokens" not in answer


LONG = "the old man and the sea went on and on. " * 200


@pytest.mark.parametrize("stride, bos", [(None, True), (300, False), (N_CTX, True)])
def test_the_tokens_of_a_long_text_add_up_whatever_the_stride(store, model, stride, bos):
    text = LONG[: len(LONG) * 5 // 8]
    answer = analyses.score(store, MODEL, text, stride=stride, bos=bos)
    assert answer["n_tokens"] > N_CTX and answer["stride"] == (stride or N_CTX // 2)
    scored = [row["logprob_nats"] for row in answer["tokens"] if row["logprob_nats"] is not None]
    assert answer["nats"] == pytest.approx(-math.fsum(scored), rel=1e-9) and answer["n_scored"] == len(scored)
    assert answer["nats"] == pytest.approx(perplexity(model, text, stride=stride or N_CTX // 2, bos=bos).nats, rel=1e-5)
    assert f"{answer['stride']} apart" in answer["notices"][0]
    without = analyses.score(store, MODEL, text, stride=stride, bos=bos, tokens=False)
    assert answer["per"].keys() == without["per"].keys()
    for unit, per in without["per"].items():
        assert answer["per"][unit] == pytest.approx(per, rel=1e-5)


def test_half_of_a_surrogate_pair_is_replaced(store):
    for name, options in ASKED:
        if "prompt" in options:
            answer = getattr(analyses, name)(store, MODEL, **options | {"prompt": "The old \ud83d man \ud83d\ude00"})
            json.dumps(answer, ensure_ascii=False).encode()
            if "prompt" in answer:
                assert answer["prompt"] == "The old \ufffd man \U0001f600"
    stopped = analyses.generate(store, MODEL, PROMPT, max_new_tokens=1, stop="\udc00")
    assert stopped["settings"]["stop"] == ["\ufffd"]
    with pytest.raises(ValueError, match="expected one"):
        analyses.lens(store, MODEL, PROMPT, target=" two \ud83d words")


def test_next_tokens_are_the_run_s(store, model):
    run = trace(model, PROMPT)
    answer = analyses.next_tokens(store, MODEL, PROMPT, k=7, position=-2)
    assert answer["position"] == len(run) - 2
    assert [row["id"] for row in answer["next"]] == next_tokens(run, -2, 7).ids.tolist()
    full = probabilities(run, -2)
    assert [row["probability"] for row in answer["next"]] == pytest.approx(
        [full[r["id"]].item() for r in answer["next"]], rel=1e-4
    )
    assert answer["check"]["holds"]


def test_attention_is_the_run_s_whole_layer_or_head(store, model):
    values = patterns(trace(model, PROMPT, PLAN)).values
    layer = analyses.attention(store, MODEL, PROMPT, plan=PLAN.to_json(), layer=3)
    head = analyses.attention(store, MODEL, PROMPT, plan=PLAN.to_json(), layer=3, head=2)
    torch.testing.assert_close(torch.tensor(layer["patterns"]), values[3], atol=1e-6, rtol=0)
    assert head["patterns"] == [layer["patterns"][2]] and layer["check"]["holds"]


def test_attention_summary_by_hand(store, model):
    values = patterns(trace(model, PROMPT)).values
    summary = analyses.attention(store, MODEL, PROMPT)["heads"]
    assert (len(summary), len(summary[0])) == (4, 4)
    n = values.shape[-1]
    for layer, head in ((0, 0), (2, 1)):
        rows = values[layer, head].tolist()
        by_hand = {
            "first": sum(rows[i][0] for i in range(1, n)) / (n - 1),
            "previous": sum(rows[i][i - 1] for i in range(1, n)) / (n - 1),
            "self": sum(rows[i][i] for i in range(1, n)) / (n - 1),
            "distance": sum(rows[i][j] * (i - j) for i in range(1, n) for j in range(i + 1)) / (n - 1),
            "entropy_bits": -sum(p * math.log2(p) for i in range(1, n) for p in rows[i] if p > 0) / (n - 1),
        }
        assert summary[layer][head] == pytest.approx(by_hand, abs=1e-5)


def test_attention_rows_sum_to_1_in_half_precision_too():
    half = ModelStore(Settings(device="cpu", dtype="bfloat16"))
    for options in ({}, {"layer": 1}):
        check = analyses.attention(half, MODEL, PROMPT, **options)["check"]
        assert 1e-4 < check["residual"] and check["holds"]


def test_attention_of_one_token_has_no_summary(store):
    assert analyses.attention(store, MODEL, "")["heads"][0][0]["first"] is None


def test_lens_ends_in_the_model_s_own_prediction(store, model):
    answer = analyses.lens(store, MODEL, PROMPT, k=3, target=" man", mid=True)
    run = trace(model, PROMPT)
    expected = logit_lens(model, run, 3, model.to_single_token(" man"), True)
    assert answer["top_ids"] == expected.top_ids.tolist() and answer["rows"] == list(expected.labels)
    assert answer["target_rank"] == expected.target_rank.tolist()
    assert answer["top_ids"][-1][-1][0] == run.logits[-1].argmax().item() and answer["check"]["holds"]
    assert answer["top_text"][-1][-1] == model.tokenizer.strings(answer["top_ids"][-1][-1])


def test_heads_are_interp_s(store, model):
    answer = analyses.heads(store, MODEL, seed=2, length=8, batch=2)
    expected = head_scores.scores(model, 2, 2, 8)
    assert answer["induction"] == expected.induction.tolist() and answer["chance"] == expected.chance
    assert answer["gain_nats"] == pytest.approx(answer["first_copy_loss_nats"] - answer["second_copy_loss_nats"])


def test_models_lists_every_size(store):
    answer = analyses.models(store)
    rows = {row["name"]: row for row in answer["models"]}
    assert {"glass-7m", "gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl"} <= rows.keys()
    assert rows["glass-7m"]["state"] == "embedded" and rows["glass-7m"]["fits"]
    assert rows["gpt2"]["parameters"] == 124_439_808 and rows["gpt2"]["file_bytes"] == 548_105_171
    assert json.dumps(answer, allow_nan=False)


def test_numbers_that_are_not_finite_become_null(store):
    wild = Plan((Edit.scale("resid_pre", layer=1, value=9e5), Edit.scale("mlp_post", layer=1, value=9e5)))
    huge = wild.add(*(Edit.scale("resid_pre", layer=layer, value=8e5) for layer in (2, 3)))
    for name, options in ASKED[1:]:
        json.dumps(getattr(analyses, name)(store, MODEL, **options, plan=huge.to_json()), allow_nan=False)
