"""The scaling tab: readings against direct calls, costs against the parameters, curves against the paper, and a browser."""

import math

import pytest
import torch

from app.service import scaling as service
from app.service.memory import enough_memory
from app.service.view import View
from app.settings import Settings
from app.state import PageState
from app.store import ModelStore
from app.tabs import scaling_pictures as pictures
from app.text import scaling as sentences
from app.text import words
from gpt2_core.accounting import kv_cache_bytes_per_token
from gpt2_core.config import RELEASED, SIZES
from gpt2_core.scoring import score
from gpt2_core.tasks.published import CURVES, METRICS, results
from interp.edits import Edit, Plan

NAME, PROMPT = "glass-7m", "When the old clock struck twelve, the old"
T = words("en")


def view_of(store, **changes) -> View:
    return View(store, PageState(**{"model": NAME, "prompt": PROMPT, "tab": "scaling", **changes}))


def test_a_reading_is_what_the_model_gives(store):
    model, reading = store.model(NAME), service.read(view_of(store), NAME)
    ids = [model.tokenizer.bos_id, *model.tokenizer.encode(PROMPT)]
    p = model(torch.tensor([ids]))[0, -1].softmax(-1)
    assert list(reading.ids) == p.topk(5).indices.tolist()
    assert reading.p == pytest.approx(p.topk(5).values.tolist(), abs=1e-6)
    assert reading.entropy == pytest.approx(torch.special.entr(p).sum().item() / math.log(2), abs=1e-3)
    scored = score(model, PROMPT)
    assert reading.bits == pytest.approx(-sum(scored.logprobs) / len(scored.logprobs) / math.log(2), abs=1e-4)
    assert reading.n_tokens == len(ids) and reading.before is None
    assert reading.ms_per_token == pytest.approx(1000 * reading.seconds / len(ids))
    assert service.known(view_of(store), NAME) is reading
    assert service.known(view_of(store, prompt="other"), NAME) is None


def test_edits_act_and_the_unedited_probabilities_stand_beside(store):
    plain = service.read(view_of(store), NAME)
    edited = service.read(view_of(store, plan=Plan((Edit.zero("mlp_out", 0),))), NAME)
    assert edited.ids != plain.ids or edited.p != plain.p
    model = store.model(NAME)
    p = model(torch.tensor([[model.tokenizer.bos_id, *model.tokenizer.encode(PROMPT)]]))[0, -1].softmax(-1)
    assert edited.before == pytest.approx(p[list(edited.ids)].tolist(), abs=1e-6)


def test_units_tell_the_kinds_of_rouge_apart():
    units = [service.unit_of(METRICS[f"cnn_dailymail_rouge_{kind}"]) for kind in ("1", "l", "avg")]
    assert units == ["ROUGE-1 F1", "ROUGE-L F1", "ROUGE-AVG F1"]
    assert all(service.unit_of(metric) == metric.unit for name, metric in METRICS.items() if "rouge" not in name)


CPU_MEMORY = (
    "[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."
)


@pytest.mark.parametrize("error", [RuntimeError(CPU_MEMORY), torch.OutOfMemoryError("CUDA out of memory."), MemoryError()])
def test_too_little_memory_is_one_sentence(store, monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(service, "forward_seconds", fail)
    view = view_of(store, prompt="A text that was not read before")
    with pytest.raises(ValueError, match=f"not enough memory for {NAME} here; choose"):
        service.read(view, NAME)
    assert service.known(view, NAME) is None


def test_torch_says_what_is_listened_for():
    with pytest.raises(ValueError, match="not enough memory for it here"), enough_memory("it"):
        torch.empty(2**58)


@pytest.mark.parametrize("error", [RuntimeError("shapes do not match"), KeyError("x")])
def test_other_errors_are_not_called_a_lack_of_memory(error):
    with pytest.raises(type(error)) as caught, enough_memory("it"):
        raise error
    assert caught.value is error


def test_a_single_token_has_nothing_to_predict(store):
    reading = service.read(view_of(store, prompt=""), NAME)
    assert reading.n_tokens == 1 and math.isnan(reading.bits)
    column = pictures.columns_value(T, view_of(store), service.costs([store.entry(NAME)], store.dtype), {NAME: reading})
    assert "nothing to predict" in str(column["columns"][0]["facts"])


def test_the_time_is_the_median_of_the_passes():
    ticks = iter([0.0, 0.01, 1.0, 1.05, 2.0, 2.02, 3.0, 3.2])

    def model(ids, logits_at):
        return torch.zeros(1)

    seconds, n = service.forward_seconds(model, (1, 2), clock=lambda: next(ticks))
    assert n == 4 and seconds == pytest.approx((0.02 + 0.05) / 2)


def test_nothing_is_loaded_by_looking(store, monkeypatch):
    from app.tabs import scaling as tab

    loaded = []
    monkeypatch.setattr(ModelStore, "model", lambda self, name: loaded.append(name))
    view = view_of(store)
    for cost in service.costs(store.entries(), store.dtype):
        if cost.entry.state != "embedded":
            assert isinstance(tab._without_loading(T, view, cost), str)
    assert loaded == []


def test_costs_follow_from_the_shape():
    entries = [e for e in ModelStore(Settings(device="cpu")).entries() if e.name in RELEASED]
    for dtype, size in ((torch.float32, 4), (torch.bfloat16, 2)):
        for cost in service.costs(entries, dtype):
            config = SIZES[cost.entry.name].config
            assert cost.weights == config.n_params * size
            assert cost.kv_per_token == 2 * config.n_layers * config.d_model * size == kv_cache_bytes_per_token(config, dtype)
            assert cost.flops == pytest.approx(2 * config.n_params, rel=0.35)  # 2 N and the attention scores
    names = [cost.entry.name for cost in service.costs(entries, torch.float32)]
    assert names == list(RELEASED)
    with pytest.raises(ValueError, match="float8"):
        service.dtype_named("float8")


@pytest.mark.parametrize("metric", service.metric_names())
def test_a_curve_carries_every_printed_number(metric):
    curve = service.curve(metric)
    shown = {name: value for name, _, value in curve.points} | dict(curve.others) | ({"sota": curve.sota} if curve.sota else {})
    assert shown == {name: row.value for name, row in results(metric).items()}
    assert (curve.line is not None) == (metric in CURVES)
    figure = pictures.curve_figure(T, curve, True, "gpt2")
    drawn = [list(trace.y) for trace in figure.data if trace.name == "published"]
    assert drawn == [[value for _, _, value in curve.points]]
    assert any("fit to 4 published points" in (trace.name or "") for trace in figure.data) == (metric in CURVES)


def test_metrics_are_all_offered_and_named_in_both_languages():
    assert sorted(service.metric_names()) == sorted(METRICS)
    assert sentences.EN.keys() == sentences.KO.keys()
    for lang in ("en", "ko"):
        assert len({label for label, _ in pictures.metric_choices(words(lang), service.metric_names())}) == len(METRICS)


def test_sizes_are_named_as_in_the_paper_and_as_they_are(store):
    table = pictures.costs_table(T, service.costs(store.entries(), torch.float32), {NAME: 1.5})
    rows = {row[0]: row for row in table["columns"][0]["blocks"][0]["rows"]}
    assert rows["gpt2: 117M (124M)"][1] == "124,439,808" and rows["gpt2: 117M (124M)"][-1] == "not measured"
    assert rows["glass-7m (in the box)"][-1] == "1.5"
    assert pictures.memory_text(2**30 * 1.5) == "1.5 GiB" and pictures.memory_text(36 * 2**10) == "36 KiB"


@pytest.mark.browser
def test_the_tab_paints_and_the_metric_changes_the_curve(browser_page, page_url):
    page = browser_page
    page.goto(f"{page_url}/?tab=scaling&lang=en")
    page.wait_for_selector("#gb_scaling_columns .gb-mc-column:first-child .gb-mc-row")
    columns = page.locator("#gb_scaling_columns .gb-mc-column")
    own = columns.nth(list(SIZES).index(NAME))
    assert columns.count() == len(SIZES) and own.locator(".gb-mc-row").count() == 5
    header = page.locator("#gb_next .gb-next-row .gb-token").all_inner_texts()
    assert own.locator(".gb-token").all_inner_texts() == header
    page.wait_for_selector("#gb_scaling_curve .main-svg text:has-text('35.13')")
    page.click("#gb_scaling_metric input")
    page.get_by_role("option", name="Penn Treebank").click()
    page.wait_for_selector("#gb_scaling_curve .main-svg text:has-text('65.85')")
    page.click("#gb_scaling_fit input")
    page.wait_for_selector("#gb_scaling_curve .main-svg text:has-text('fit to 4 published points')")
    page.wait_for_selector("#gb_scaling_costs .main-svg")
    table = page.locator("#gb_scaling_costs_table table")
    assert "475 MiB" in table.inner_text()
    page.click("#gb_scaling_dtype label:has-text('bfloat16')")
    page.wait_for_selector("#gb_scaling_costs_table td:has-text('237 MiB')")
