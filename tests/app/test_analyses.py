"""The analyses as plain data: equal to the libraries below them, bounded, and free of anything JSON cannot carry."""

import inspect
import json
import math
import types

import gradio as gr
import pytest
import torch

from app import api
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
def store():
    return ModelStore(Settings(device="cpu"))


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


def test_work_over_the_network_is_bounded(store):
    score = endpoints(store)["score"]
    with pytest.raises(
        gr.Error, match=r"With a stride of 1, [\d,]+ tokens would be read and 500,000 is the most; use a larger"
    ):
        score(LONG, MODEL, 1)
    assert score(PROMPT, MODEL, 1, False)["n_scored"] > 5  # one window, whatever the stride
    n = len(store.model(MODEL).tokenizer.encode(LONG)) + 1
    windows = 1 + math.ceil((n - N_CTX) / 400)
    read = (windows - 1) * N_CTX + n - (windows - 1) * 400
    assert analyses.score(store, MODEL, LONG, stride=400, tokens=False, most_read=read)["stride"] == 400
    with pytest.raises(ValueError, match=f"{read:,} tokens would be read and {read - 1:,} is the most"):
        analyses.score(store, MODEL, LONG, stride=400, most_read=read - 1)


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


NEVER = [
    ("generate", {"prompt": PROMPT, "max_new_tokens": 1001}, "max_new_tokens must be a whole number from 1 to 1000"),
    ("generate", {"prompt": PROMPT, "n": 9}, "n must be a whole number from 1 to 8"),
    ("generate", {"prompt": PROMPT, "seed": -1}, "seed must be"),
    ("generate", {"prompt": PROMPT, "stop": ["x"] * 17}, "stop is up to 16 texts"),
    ("generate", {"prompt": PROMPT, "stop": [3]}, "stop is up to 16 texts"),
    ("generate", {"prompt": PROMPT, "temperature": -1}, "temperature must be"),
    ("generate", {"prompt": "x" * 20_001}, "20,001 characters"),
    ("score", {"prompt": PROMPT, "stride": 0}, "stride must be"),
    ("score", {"prompt": ""}, "nothing to score"),
    ("score", {"prompt": 17}, "prompt must be a text"),
    ("score", {"prompt": PROMPT, "bos": 10**9}, "bos must be true or false"),
    ("next_tokens", {"prompt": PROMPT, "k": 101}, "k must be a whole number from 1 to 100"),
    ("next_tokens", {"prompt": PROMPT, "k": True}, "k must be a whole number"),
    ("next_tokens", {"prompt": PROMPT, "position": 99}, "position must be a whole number from"),
    ("next_tokens", {"prompt": "word " * 2000}, f"reads {N_CTX}"),
    ("attention", {"prompt": PROMPT, "head": 1}, "Give the layer too"),
    ("attention", {"prompt": PROMPT, "layer": 4}, "layer must be a whole number from 0 to 3"),
    ("attention", {"prompt": PROMPT, "layer": 0, "head": -1}, "head must be a whole number from 0 to 3"),
    ("attention", {"prompt": "word " * (N_CTX - 10), "layer": 0}, "ask for one head or a shorter prompt"),
    ("lens", {"prompt": "word " * (N_CTX - 10), "k": 100, "mid": True}, "ask for a smaller k or a shorter prompt"),
    ("lens", {"prompt": PROMPT, "target": " two words"}, "expected one"),
    ("heads", {"length": 129}, "length must be"),
    ("heads", {"batch": 0}, "batch must be"),
    ("heads", {"plan": "{"}, "not JSON"),
    ("heads", {"plan": Plan((Edit.zero("z", layer=9),)).to_json()}, "layer 9 does not exist"),
]


@pytest.mark.parametrize("name, options, sentence", NEVER, ids=lambda v: v if isinstance(v, str) else "")
def test_what_cannot_be_done_is_one_sentence(store, name, options, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        getattr(analyses, name)(store, MODEL, **options)
    assert "\n" not in str(caught.value)


HUGE = 10**400
OF_ANOTHER_TYPE = {
    str: [17, True, ["a"], {"a": 1}],
    bool: [2_000_000_000, 0, 1.0, "yes", []],
    int: ["3", 1.5, True, [1], HUGE, -HUGE],
    float: ["warm", True, [0.5], HUGE, math.nan, math.inf],
    list[str]: [17, 0, True, [3], {"a": 1}, [["a"]]],
}


def endpoints(store):
    functions = (*api._of_texts(store), *api._of_insides(store))
    return {function.__name__: api._one_sentence(function) for function in functions}


def parameters():
    """Every parameter of every endpoint, with values of another type than it has."""
    for name, function in endpoints(ModelStore(Settings(device="cpu"))).items():
        for parameter in inspect.signature(function).parameters.values():
            kind, optional = parameter.annotation, isinstance(parameter.annotation, types.UnionType)
            kind = kind.__args__[0] if optional else kind
            wrong = OF_ANOTHER_TYPE[kind] + [None] * (not optional)
            yield from (
                pytest.param(name, parameter.name, value, id=f"{name}-{parameter.name}-{i}") for i, value in enumerate(wrong)
            )


@pytest.mark.parametrize("name, parameter, value", list(parameters()))
def test_an_argument_of_another_type_is_one_sentence(store, name, parameter, value):
    function = endpoints(store)[name]
    signature = inspect.signature(function)
    usual = {key: p.default for key, p in signature.parameters.items()} | {"prompt": PROMPT, "max_new_tokens": 1, "layer": 0}
    arguments = [value if key == parameter else usual[key] for key in signature.parameters]
    with pytest.raises(gr.Error) as caught:
        function(*arguments)
    said = caught.value.message
    assert said.startswith(f"{parameter} ") and said.endswith(".") and "\n" not in said and len(said) < 160


def test_too_little_memory_reaches_the_caller_as_a_sentence(store, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")

    monkeypatch.setattr(analyses, "trace", fail)
    with pytest.raises(gr.Error, match=f"not enough memory for {MODEL} here"):
        endpoints(store)["next_tokens"](PROMPT, MODEL)


@pytest.mark.parametrize("name", ["/etc", "../glass-7m", "no-such-model", "openai-community/gpt2"])
def test_only_offered_models_are_loaded(store, name):
    with pytest.raises(ValueError, match="No model is called"):
        analyses.next_tokens(store, name, PROMPT)


def test_numbers_that_are_not_finite_become_null(store):
    wild = Plan((Edit.scale("resid_pre", layer=1, value=9e5), Edit.scale("mlp_post", layer=1, value=9e5)))
    huge = wild.add(*(Edit.scale("resid_pre", layer=layer, value=8e5) for layer in (2, 3)))
    for name, options in ASKED[1:]:
        json.dumps(getattr(analyses, name)(store, MODEL, **options, plan=huge.to_json()), allow_nan=False)
