"""The named endpoints, called over the network as another program would."""

import json
import urllib.request

import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from app.service import analyses

pytestmark = pytest.mark.browser  # they need the served page

PROMPT = "When the old clock struck twelve, the old"
PLAN = '[{"op":"zero","component":"z","layer":2,"head":1}]'
NAMES = ["/generate", "/score", "/next_tokens", "/attention", "/lens", "/heads", "/models"]


@pytest.fixture(scope="module")
def client(page_url):
    return Client(page_url, verbose=False)


CALLS = [
    ("generate", {"prompt": PROMPT, "max_new_tokens": 6, "n": 2, "seed": 4, "stop": ["\n\n\n"]}),
    ("score", {"prompt": PROMPT, "bos": False}),
    ("next_tokens", {"prompt": PROMPT, "k": 4, "position": 2}),
    ("attention", {"prompt": PROMPT}),
    ("attention", {"prompt": PROMPT, "layer": 3, "head": 0}),
    ("lens", {"prompt": PROMPT, "k": 2, "target": " man"}),
    ("heads", {"length": 6, "batch": 1}),
]


@pytest.mark.parametrize("plan", ["", PLAN], ids=["plain", "edited"])
@pytest.mark.parametrize("name, options", CALLS, ids=[name for name, _ in CALLS])
def test_an_endpoint_answers_what_the_analysis_says(client, store, name, options, plan):
    answer = client.predict(**options, plan=plan, api_name=f"/{name}")
    assert_same(answer, getattr(analyses, name)(store, "glass-7m", **options, plan=plan))


def assert_same(a, b):
    """Equal but for the last bits, which depend on how many threads a process has."""
    if isinstance(b, dict):
        assert a.keys() == b.keys()
        for key in b:
            assert_same(a[key], b[key])
    elif isinstance(b, list):
        assert len(a) == len(b)
        for x, y in zip(a, b):
            assert_same(x, y)
    else:
        assert a == (pytest.approx(b, rel=1e-3, abs=1e-5) if isinstance(b, float) else b)


def test_models(client, store):
    assert client.predict(api_name="/models") == analyses.models(store)


WRONG = [
    ("next_tokens", {"prompt": PROMPT, "k": 1000}, "k must be a whole number from 1 to 100, got 1000."),
    ("generate", {"prompt": PROMPT, "model": "/etc"}, "No model is called '/etc'"),
    ("attention", {"prompt": PROMPT, "head": 2}, "Head 2 of which layer? Give the layer too."),
    ("score", {"prompt": PROMPT, "plan": "{"}, "The plan of edits is not JSON"),
    ("score", {"prompt": "x" * 20_001}, "The prompt has 20,001 characters"),
]


@pytest.mark.parametrize("name, options, sentence", WRONG, ids=[name for name, _, _ in WRONG])
def test_what_cannot_be_done_comes_back_as_the_sentence(client, name, options, sentence):
    with pytest.raises(AppError) as caught:
        client.predict(**options, api_name=f"/{name}")
    assert str(caught.value).startswith(sentence)


def test_only_the_analyses_are_public(client, page_url):
    info = client.view_api(return_format="dict", print_info=False)
    assert sorted(info["named_endpoints"]) == sorted(NAMES) and not info["unnamed_endpoints"]
    with urllib.request.urlopen(f"{page_url}/config") as config:
        events = json.load(config)["dependencies"]
    public = [event["api_name"] for event in events if event["api_visibility"] != "private" and event["backend_fn"]]
    assert sorted(f"/{name}" for name in public) == sorted(NAMES)


def test_use_via_api_explains_every_endpoint_and_parameter(client):
    info = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    for name, endpoint in info.items():
        description = endpoint["description"]
        assert len(description) > 60, name
        for parameter in endpoint["parameters"]:
            assert f"{parameter['parameter_name']}:" in description or parameter.get("description"), (name, parameter)
