"""What cannot be done over the network is one sentence, before anything is loaded or computed."""

import inspect
import math
import types

import gradio as gr
import pytest

from app import api
from app.service import analyses
from app.settings import Settings
from app.store import ModelStore
from gpt2_core import SIZES
from interp.edits import Edit, Plan

MODEL, PROMPT = "glass-7m", "When the old clock struck twelve, the old"
N_CTX = SIZES[MODEL].config.n_ctx


LONG = "the old man and the sea went on and on. " * 200


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
