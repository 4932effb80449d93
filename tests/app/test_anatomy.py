"""The anatomy tab: every vector and length beside a naive forward pass, steps beside the model's hooks, and a walk in a browser."""

import json
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scripts import run_here

from app.components.anatomy_card import anatomy_card_value, sampled
from app.components.anatomy_map import anatomy_map_value
from app.components.sealed import opened
from app.components.stepper import rows, stepper_value, table
from app.page import View
from app.service import anatomy, anatomy_head, anatomy_mlp, anatomy_script, anatomy_words
from app.settings import Settings
from app.state import PageState
from app.store import ModelStore
from app.tabs import anatomy as tab
from app.tabs import anatomy_mlp as mlp_tab
from app.tabs import anatomy_steps as steps_tab
from app.tabs import anatomy_words as words_tab
from app.text import words
from gpt2_core.accounting import parameters
from gpt2_core.config import GPT2Config
from gpt2_core.tokenizer import Tokenizer
from interp.edits import Edit, Plan

PROMPT = "The old clock struck twelve, the old"
EDITED = Plan((Edit.zero("z", 0, 1), Edit.scale("resid_mid", 1, value=1.5)))


@pytest.fixture(scope="module")
def store():
    return ModelStore(Settings(model="glass-2m"))


def view_of(store, **changes) -> View:
    return View(store, PageState(**{"model": "glass-2m", "prompt": PROMPT, "position": 5, **changes}))


@torch.no_grad()
def by_hand(view: View) -> dict[str, np.ndarray]:
    """A forward pass written out position by position in float64: every vector at the selected position, by hook name."""
    model, cfg, at, out = view.model, view.config, view.position, {}
    get = lambda x: x.double().numpy()  # noqa: E731
    x = get(model.wte.weight)[list(view.run.tokens)] + get(model.wpe.weight)[: len(view.run)]

    def norm(x, ln):
        return F.layer_norm(torch.tensor(x), (cfg.d_model,), ln.weight.double(), ln.bias.double(), ln.eps).numpy()

    for la, block in enumerate(model.h):
        attn, read = block.attn, norm(x, block.ln_1)
        out[f"blocks.{la}.hook_resid_pre"] = x[at]
        total = np.tile(get(attn.b_O), (len(x), 1))
        for h in range(cfg.n_heads):
            q, k, v = (read @ get(getattr(attn, f"W_{n}")[h]) + get(getattr(attn, f"b_{n}")[h]) for n in "QKV")
            pattern = np.zeros((len(x), len(x)))
            for i in range(len(x)):
                e = np.exp(k[: i + 1] @ q[i] / cfg.d_head**0.5)
                pattern[i, : i + 1] = e / e.sum()
            result = pattern @ v @ get(attn.W_O[h])
            out[f"L{la}H{h}"] = {"q": q[at], "keys": k, "values": v, "pattern": pattern[at], "result": result[at]}
            total += result
        x = x + total
        out[f"blocks.{la}.hook_attn_out"], out[f"blocks.{la}.hook_resid_mid"] = total[at], x[at]
        pre = norm(x, block.ln_2) @ get(block.mlp.c_fc.weight) + get(block.mlp.c_fc.bias)
        post = F.gelu(torch.tensor(pre), approximate="tanh").numpy()
        written = post @ get(block.mlp.c_proj.weight) + get(block.mlp.c_proj.bias)
        x = x + written
        out |= {f"blocks.{la}.mlp.hook_pre": pre[at], f"blocks.{la}.mlp.hook_post": post[at]}
        out |= {f"blocks.{la}.hook_mlp_out": written[at], f"blocks.{la}.hook_resid_post": x[at]}
    final = norm(x, model.ln_f)[at]
    return out | {"ln_final.hook_out": final, "unembed.hook_out": final @ get(model.W_U)}


def test_the_way_is_the_forward_pass_written_out(store):
    view = view_of(store)
    found, hand = anatomy.way(view), by_hand(view)
    for name, value in hand.items():
        if not isinstance(value, dict):
            assert np.abs(found.vectors[name] - value).max() <= 1e-4 * max(1, np.abs(value).max()), name
    for la, h in np.ndindex(view.config.n_layers, view.config.n_heads):
        assert found.heads[la, h] == pytest.approx(np.linalg.norm(hand[f"L{la}H{h}"]["result"]), rel=1e-4)
    out, before = hand["blocks.1.hook_attn_out"], hand["blocks.1.hook_resid_pre"]
    assert found.attn[1, 0] == pytest.approx(np.linalg.norm(out), rel=1e-4)
    assert found.attn[1, 1] == pytest.approx(out @ before / np.linalg.norm(out) / np.linalg.norm(before), abs=1e-4)
    assert (
        found.resid[2] == pytest.approx(np.linalg.norm(before), rel=1e-4) and len(found.resid) == 2 * view.config.n_layers + 1
    )
    post = np.abs(hand["blocks.0.mlp.hook_post"])
    assert found.bins[0].max() == pytest.approx(post.max(), rel=1e-4) and found.bins[0][0] == pytest.approx(
        post[: len(post) // 64].max(), rel=1e-4
    )
    assert all(check.holds for check in found.checks) and found.added == {}


def test_a_part_that_is_missing_is_noticed(store, monkeypatch):
    view = view_of(store, prompt=PROMPT + " man")
    collect = anatomy._collect
    monkeypatch.setattr(
        anatomy, "_collect", lambda *a: (c := collect(*a)) | {"blocks.1.hook_mlp_out": 0 * c["blocks.1.hook_mlp_out"]}
    )
    parts, heads = anatomy._way(view, Plan()).checks
    assert not parts.holds and heads.holds


def test_edits_of_the_stream_are_parts(store):
    view = view_of(store, plan=EDITED)
    found = anatomy.way(view)
    assert set(found.added) == {"blocks.1.hook_resid_mid"} and all(check.holds for check in found.checks)
    mid = found.vectors["blocks.1.hook_resid_pre"] + found.vectors["blocks.1.hook_attn_out"]
    assert np.allclose(found.added["blocks.1.hook_resid_mid"], 0.5 * mid, atol=1e-5)
    assert found.heads[0, 1] == 0 and anatomy.way(view, Plan()).heads[0, 1] > 0
    value = opened(tab._map(view)[0])
    assert value["before"] != value["resid"] and value["off"] == [[0, 1]] and "blocks.1.hook_resid_mid" in value["edited"]


@pytest.mark.parametrize("position", [0, 5, 8])
def test_a_heads_arithmetic_is_the_forward_pass(store, position):
    view = view_of(store, position=position)
    found, hand = anatomy_head.arithmetic(view, 1, 0), by_hand(view)["L1H0"]
    for ours, theirs in (
        (found.query, "q"),
        (found.keys, "keys"),
        (found.values, "values"),
        (found.pattern, "pattern"),
        (found.result, "result"),
    ):
        assert np.abs(ours - hand[theirs]).max() <= 1e-4 * max(1, np.abs(hand[theirs]).max())
    assert set(found.checks) == set(anatomy_head.STEPS) and all(check.holds for check in found.checks.values())
    assert np.isneginf(found.scores[position + 1 :]).all() and found.pattern[: position + 1].sum() == pytest.approx(1)
    assert np.allclose(found.stream + found.result + found.others, found.mid, atol=1e-5)


def test_a_step_that_an_edit_changes_says_so(store):
    view = view_of(store, plan=EDITED)
    t, found = words("en"), anatomy_head.arithmetic(view, 0, 1)
    shown = {name: s["check"] for name, s in zip(anatomy_head.STEPS, steps_tab.head_steps(view, t, found))}
    assert shown["sum"]["text"] == t("anatomy_steps.edited") and shown["sum"]["ok"]
    assert shown["softmax"]["text"] == t("anatomy_steps.equals") and "blocks.0.attn.hook_pattern" in shown["softmax"]["title"]
    plain = {**found.__dict__, "edited": frozenset()}
    wrong = steps_tab.head_steps(view, t, anatomy_head.Arithmetic(**plain))[anatomy_head.STEPS.index("sum")]["check"]
    assert wrong == {"text": t("page.check_failed"), "title": wrong["title"], "ok": False}


def test_only_edits_of_this_layer_and_head_change_its_steps(store):
    edits = (Edit.zero("z", 0, 1), Edit.scale("q", 0, value=2.0), Edit.zero("mlp_out", 0), Edit.scale("mlp_post", 1, value=2.0))
    view = view_of(store, plan=Plan(edits))
    assert anatomy_head.arithmetic(view, 0, 1).edited == {"sum", "query"}
    assert anatomy_head.arithmetic(view, 0, 0).edited == {"query"}
    assert [anatomy_mlp.neurons(view, layer).edited for layer in (0, 1)] == [{"write"}, {"gelu"}]


def test_steps_show_the_chosen_key_and_keep_first_and_last(store):
    view = view_of(store, prompt="word " * 99, position=None)
    found = anatomy_head.arithmetic(view, 0, 0)
    keys = steps_tab.listed_keys(found, 50)
    assert {0, 50, len(view.run) - 1, int(found.pattern.argmax())} <= set(keys) and len(keys) <= steps_tab.MOST_KEYS
    chosen = View(store, steps_tab.KEY.on(view.state, 50))
    assert steps_tab.chosen_key(chosen, found) == 50 and steps_tab.chosen_key(view, found) == found.pattern.argmax()
    softmax = opened(steps_tab._values(chosen)[1])["steps"][anatomy_head.STEPS.index("softmax")]
    listed = softmax["blocks"][1]
    assert listed["selected"] == 50 and f"{found.pattern[50]:.4f}" in next(r for r in listed["rows"] if r["id"] == 50)["cells"]
    assert f"{1 - found.pattern[keys].sum():.2%}" in listed["note"]


def test_the_mlps_steps(store):
    view = view_of(store)
    found, hand = anatomy_mlp.neurons(view, 1), by_hand(view)
    rows_out = view.model.h[1].mlp.c_proj.weight.detach().double().numpy()
    writes = [float(np.linalg.norm(a * row)) for a, row in zip(hand["blocks.1.mlp.hook_post"], rows_out)]
    assert list(found.top) == sorted(range(len(writes)), key=lambda n: -writes[n])[: anatomy_mlp.MOST]
    assert np.allclose(found.writes, writes, rtol=1e-3, atol=1e-5) and all(c.holds for c in found.checks.values())
    neuron = found.top[2]
    assert np.allclose(anatomy_mlp.written(view, found, neuron), found.post[neuron] * rows_out[neuron])
    chosen = View(store, mlp_tab.choose(View(store, view.state.but(layer=1)), neuron))
    assert dict(chosen.state.settings)["neurons.at"] == f"1.{neuron}"
    assert mlp_tab.mlp_steps(chosen, words("en"), found)[3]["blocks"][0]["selected"] == neuron


@pytest.mark.parametrize("text", ["The old clock struck twelve", "naïve 😀😀 x  y\n\n  z 12345 don't", "", "aaaaaaaa banana"])
def test_merges_give_the_tokenizers_tokens(text):
    tokenizer = Tokenizer.load()
    found, check = anatomy_words._words(tokenizer, text)
    assert [i for word in found for i in word.ids] == tokenizer.encode(text) and check.holds
    merges = [line for line in tokenizer.vocabulary.merges_txt().splitlines()[1:]]
    for word in found:
        assert b"".join(word.stages[0]) == word.text.encode() == b"".join(word.stages[-1])
        for before, after, (i, number) in zip(word.stages, word.stages[1:], word.merges):
            assert (*before[:i], before[i] + before[i + 1], *before[i + 2 :]) == after
            assert tokenizer.vocabulary.ranks[after[i]] == 255 + number
            if after[i].isascii() and after[i].isalpha():
                assert merges[number - 1] == f"{before[i].decode()} {before[i + 1].decode()}"


def test_parameters_and_shapes():
    for config in (GPT2Config(2, 2, 32), GPT2Config(48, 25, 1600), GPT2Config(2, 2, 32, tied=False)):
        p = anatomy.parameter_counts(config)
        layer = p["attention"] + p["mlp"] + p["layer_norms"]
        total = p["embed"] + p["pos_embed"] + config.n_layers * layer + p["ln_final"] + p["unembed"]
        assert total == parameters(config).total == config.n_params


@torch.no_grad()
def test_shapes_and_hooks_are_the_models(store):
    view = view_of(store)
    _, cache = view.model.run_with_cache(torch.tensor([view.run.tokens]), lambda name: True)
    for point in anatomy.POINTS:
        here = cache[anatomy.hook_name(point, 1)][0]
        said = [int(n) for n in re.findall(r"\d+", anatomy.shape_of(view.config, point, len(view.run)))]
        assert said == list(here.shape), point
        vector = anatomy_head.vector(view, point, 1, 0)
        expected = here[0, 5] if point in anatomy.OVER_KEYS else here[5, 0] if point in anatomy.PER_HEAD else here[5]
        assert np.allclose(np.nan_to_num(vector, neginf=-1e9), np.nan_to_num(expected.numpy(), neginf=-1e9), atol=1e-4)
        card = opened(tab._card(View(store, tab.POINT.on(view.state.but(layer=1), point)))[0])
        assert (
            card["hook"] == anatomy.hook_name(point, 1)
            and card["strip"]["at"][0] == 0
            and card["strip"]["at"][-1] == len(vector) - 1
        )


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_every_sentence_is_filled(store, lang):
    view = view_of(store, lang=lang, plan=EDITED)
    told = [tab._head, tab._map, tab._card, steps_tab._values, mlp_tab._values, words_tab._values]
    values = [opened(out) if "sealed" in out else out for render in told for out in render(view)]
    said = json.dumps(
        [{k: v for k, v in value.items() if k not in ("text", "exports")} for value in values], ensure_ascii=False
    )
    assert not re.search(r"\{\w+(:[^{}\"]*)?\}", said)


def test_scripts_print_the_panels(store, capsys):
    view = view_of(store, layer=1, head=1)
    made = [anatomy_script.way_evidence(view), anatomy_head.head_evidence(view, 1, 1), anatomy_mlp.mlp_evidence(view)]
    for panel in made:
        numbers = np.array([[x for x in row if not isinstance(x, str)] for row in panel.rows], float)
        for code in filter(None, (panel.code, panel.lens_code)):
            lines = run_here(code, capsys).splitlines()[-len(panel.rows) :]
            printed = [[float(x) for x in line.split() if re.fullmatch(r"-?\d+(\.\d+)?(e-?\d+)?", x)] for line in lines]
            assert np.allclose(printed, numbers, atol=2e-4), panel.name
    panel = anatomy_words.words_evidence(view)
    lines = run_here(panel.code, capsys).splitlines()
    tokens = [i for line in lines if "tokens" in line for i in json.loads(line[line.index("[") :])]
    assert tokens == view.model.tokenizer.encode(PROMPT) and sum("tokens" not in line for line in lines) == len(panel.rows)


def test_values_refuse_what_does_not_fit():
    with pytest.raises(ValueError, match="came as"):
        anatomy_map_value(
            {"layers": 2, "heads": 2}, {}, resid=np.ones(4), embed=[1, 1], attn=np.ones((2, 2)), mlp=np.ones((2, 2)), heads=np.ones((2, 2)),
            bins=np.ones((2, 4)), final=1.0, top=[], token="a", position=0, count=1, selected=("embed", 0, 0), text={},
        )  # fmt: skip
    with pytest.raises(ValueError, match="at least one step"):
        stepper_value([], 0, name="x", text={})
    assert sampled(1600, 256)[0] == 0 and sampled(1600, 256)[-1] == 1599 and len(sampled(1600, 256)) == 256
    made = table([("a", np.arange(100.0))], most=10, sums=True)
    assert made["sum"] == 4950 and made["at"][-1] == 99 and rows(["a"], [(3, ["x"], None)])["rows"][0]["id"] == 3
    text = words("en").section("anatomy_card")
    card = opened(anatomy_card_value("t", "h", "f", [], np.array([1.0, -np.inf]), [], text=text))
    assert card["strip"]["values"] == [1.0, None]


@pytest.mark.browser
def test_a_walk_through_the_network(page_url, browser_page):
    """Opens a layer, chooses a head, steps through its arithmetic with another key, and follows a part to its tab."""
    page = browser_page
    page.goto(f"{page_url}/?tab=anatomy&prompt=Mr.+Darnley+bowed+to+Miss+Harwick.+Mr.+Darn")
    page.wait_for_selector("#gb_anatomy_steps [data-painted]")
    page.wait_for_selector("#gb_anatomy_map .an-point[data-point=q][data-layer='0']")
    page.locator("#gb_anatomy_map .an-point[data-point=result][data-layer='1'][data-head='2']").click()
    page.wait_for_selector("#gb_anatomy_card .ac-title:text('L1H2')")
    page.wait_for_function("document.querySelector('#gb_anatomy_steps_head').innerText.includes('L1H2')")
    page.locator("#gb_anatomy_steps .st-dot").nth(6).click()
    page.wait_for_selector(
        "#gb_anatomy_steps .st-row.gb-selected:has-text('ley')"
    )  # the induction head looks past the earlier copy
    page.locator("#gb_anatomy_steps .st-row").nth(2).click()
    page.wait_for_function("new URL(location.href).searchParams.get('s.anatomy.key') === '2'")
    page.locator("#gb_anatomy_steps .st-dot[aria-selected=true]").focus()
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector("#gb_anatomy_steps .st-title:has-text('Hide what comes later')")
    assert page.locator("#gb_anatomy_steps .gb-badge[data-ok=true]").count() == 1
    svg = page.evaluate("[...document.querySelectorAll('#gb_anatomy_map *')].find((n) => n.gbPicture).gbPicture()")
    assert svg.startswith("<svg") and page.evaluate(
        "(s) => !new DOMParser().parseFromString(s, 'image/svg+xml').querySelector('parsererror')", svg
    )
    page.locator("#gb_anatomy_map .an-point[data-point=resid_mid][data-layer='2']").click()
    page.locator("#gb_anatomy_card button[data-tab=lens]").click()
    page.wait_for_selector("#gb_lens_table [data-painted]")
    page.wait_for_function("new URL(location.href).searchParams.get('layer') === '2'")
