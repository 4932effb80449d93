"""The store: within its budget, from several threads, and for nobody's paths."""

import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import stores
import torch
from helpers import random_model, tiny_config
from stores import a_store

from app import store as store_module
from app.service import analyses
from app.service.view import View
from app.settings import Settings
from app.state import PageState
from app.store import KEPT_RESULTS, ModelStore, n_bytes
from app.tabs import model_picker
from app.text import words
from gpt2_core.checkpoints import CheckpointError
from interp.edits import Edit, Plan

PLAN = Plan((Edit.zero("z", layer=2, head=1),)).to_json()


loads = pytest.fixture(stores.loads)


def test_a_model_is_loaded_once(loads):
    store = a_store()
    assert store.model("a") is store.model("a") and loads == ["a"]
    assert store.in_memory("a") and not store.in_memory("b")


def test_the_least_recently_used_model_leaves_with_its_results(loads):
    store = a_store(models=2)
    store.model("a"), store.model("b")
    for name in "ab":
        store.result((name, "run"), lambda name=name: f"of {name}")
    store.model("a")  # b is now the least recently used
    store.model("c")
    assert [store.in_memory(name) for name in "abc"] == [True, False, True]
    assert store.result(("a", "run"), lambda: "anew") == "of a"
    assert store.result(("b", "run"), lambda: "anew") == "anew"
    assert loads == ["a", "b", "c"]


def test_a_single_model_stays_however_large(loads):
    store = a_store(models=0.1)
    assert store.model("a") is store.model("a") and loads == ["a"]


def test_a_model_beyond_the_budget_is_refused_before_it_is_loaded(loads):
    store = a_store(models=0.1)
    with pytest.raises(ValueError, match="start with --memory-gb"):
        store.model("b")
    assert loads == [] and store.at_hand() == []


def test_a_model_that_is_not_here_is_refused(loads):
    with pytest.raises(ValueError, match=r"e \(548 MB\) is not on this machine"):
        a_store().model("e")
    assert [entry.name for entry in a_store().at_hand()] == list("abcd") and loads == []


@pytest.mark.parametrize("name", ["/etc", "..", "a/../b", "openai-community/gpt2", "", "A"])
def test_names_that_are_not_offered_are_refused(loads, name):
    with pytest.raises(ValueError, match="No model is called"):
        a_store().model(name)
    assert loads == []


def test_real_folders_are_refused_unless_given_at_the_start(tmp_path):
    random_model(tiny_config(n_layers=1, d_model=8, d_vocab=50257)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="No model is called"):
        ModelStore(Settings(device="cpu")).model(str(tmp_path))
    given = ModelStore(Settings(device="cpu", model=str(tmp_path)))
    assert given.model(str(tmp_path)).config.n_layers == 1
    assert given.entry(str(tmp_path)).label == tmp_path.name


def test_a_folder_is_not_called_a_released_model(tmp_path):
    random_model(tiny_config(n_layers=1, d_model=8, d_vocab=50257)).save_pretrained(tmp_path)
    name = str(tmp_path)
    store = ModelStore(Settings(device="cpu", model=name))
    (said,) = model_picker._about(View(store, PageState(model=name)))
    assert "loaded from a folder" in said["what"] and "OpenAI" not in said["what"]
    assert model_picker.entry_text(words("en"), store.entry(name)) == f"{name}, on this machine"


def test_a_folder_that_is_gone_is_one_sentence():
    with pytest.raises(CheckpointError, match="no folder"):
        ModelStore(Settings(device="cpu", model="/no/such/folder")).entries()


def test_threads_share_one_loading(loads):
    store = a_store(models=4)
    with ThreadPoolExecutor(8) as pool:
        models = list(pool.map(store.model, "abcd" * 4))
    assert sorted(loads) == list("abcd")
    assert len({id(model) for model in models}) == 4


def test_threads_within_a_small_budget_get_the_model_they_asked_for(loads):
    store = a_store(models=1)
    with ThreadPoolExecutor(6) as pool:
        names = "abcabcabdcab"
        assert [model.config.model_name for model in pool.map(store.model, names)] == list(names)
    assert sum(store.in_memory(name) for name in "abcd") == 1


def test_threads_with_different_edits_never_see_each_other():
    store = ModelStore(Settings(device="cpu"))

    def ask(plan):
        answer = analyses.next_tokens(store, "glass-7m", "The old clock", plan=plan)
        return [row["probability"] for row in answer["next"]]

    alone = {plan: ask(plan) for plan in ("", PLAN)}
    assert alone[""] != alone[PLAN]
    plans = ["", PLAN] * 12
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, plans)) == [alone[plan] for plan in plans]


def test_results_are_computed_once_and_the_oldest_leave(loads):
    store, computed = a_store(), []

    def ask(i):
        return store.result(("a", i), lambda: computed.append(i) or i)

    for i in range(KEPT_RESULTS):
        assert ask(i) == i
    ask(0)  # looked at again, so 1 is now the oldest
    ask(KEPT_RESULTS)
    assert computed == [*range(KEPT_RESULTS + 1)]
    ask(0)
    assert len(computed) == KEPT_RESULTS + 1
    ask(1)
    assert computed[-1] == 1


def test_peeking_computes_nothing(loads):
    store = a_store()
    assert store.peek(("a", 1)) is None
    store.result(("a", 1), lambda: "here")
    assert store.peek(("a", 1)) == "here"
    assert store.peek(("a", 2)) is None


def test_a_result_that_was_peeked_at_stays_longest(loads):
    store = a_store()
    for i in range(KEPT_RESULTS):
        store.result(("a", i), lambda i=i: i)
    store.peek(("a", 0))
    store.result(("a", "one more"), lambda: None)
    assert store.peek(("a", 0)) == 0 and store.peek(("a", 1)) is None


def test_the_bytes_of_a_result_are_counted_once(loads, monkeypatch):
    store, counted = a_store(), []
    monkeypatch.setattr(store_module, "n_bytes", lambda value: counted.append(value) or 0)
    for i in range(5):
        store.result(("a", i), lambda i=i: i)
    store.result(("a", 0), lambda: "not asked")
    assert counted == [0, 1, 2, 3, 4]


def test_a_failed_result_is_not_kept(loads):
    store = a_store()
    with pytest.raises(ZeroDivisionError):
        store.result(("a", 1), lambda: 1 // 0)
    assert store.result(("a", 1), lambda: "now") == "now"


def test_naming_the_models_loads_none(tmp_path, monkeypatch):
    random_model(tiny_config(n_layers=1, d_model=8, d_vocab=50257)).save_pretrained(tmp_path)
    monkeypatch.setattr(store_module, "load", lambda *args, **options: pytest.fail("a model was loaded"))
    store = ModelStore(Settings(device="cpu", model=str(tmp_path)))
    entry = store.entry(str(tmp_path))
    assert (entry.label, entry.state, entry.config.n_layers, entry.config.d_model) == (tmp_path.name, "cached", 1, 8)
    assert entry in store.at_hand() and not store.in_memory(str(tmp_path))


def test_device_and_dtype_are_the_settings(loads):
    store = a_store(dtype="bf16")
    assert (store.device, store.dtype) == (torch.device("cpu"), torch.bfloat16)
    with pytest.raises(ValueError, match="Unknown dtype"):
        a_store(dtype="int3")


def test_the_folder_of_the_start_may_have_left_memory(loads, tmp_path):
    """Asking for a third model looks at the entries, and the evicted folder is one of them."""
    random_model(tiny_config(n_layers=1, d_model=8, d_vocab=50257)).save_pretrained(tmp_path)
    store = a_store(models=1, model=str(tmp_path))
    store.model(str(tmp_path)), store.model("a")
    asked = threading.Thread(target=store.model, args=("b",), daemon=True)
    asked.start()
    asked.join(3)
    assert not asked.is_alive() and loads == [str(tmp_path), "a", "b"]


def test_results_are_bounded_by_their_bytes(monkeypatch):
    monkeypatch.setattr("app.store.KEPT_BYTES", 1000)
    store = ModelStore(Settings(device="cpu"))
    for number in range(4):
        store.result(("m", number), lambda: {"a": torch.zeros(100)})  # 400 bytes each
    computed = []
    for number in range(4):
        store.result(("m", number), lambda number=number: computed.append(number))
    assert 0 in computed and 3 not in computed


def test_bytes_of_a_result_are_counted_wherever_they_are():
    @dataclasses.dataclass
    class Result:
        a: torch.Tensor
        b: dict

    assert n_bytes(Result(torch.zeros(10), {"x": [np.zeros(3, np.uint8)], "y": "text"})) == 43
