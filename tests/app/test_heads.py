"""The heads tab: its numbers against loops and the library, what it hands out against its own scripts, and a reader's way through it."""

import numpy as np
import pytest
import torch
from views import view_of

from app.components.number_table import Column, number_table_value
from app.figures.heads_card import eigenvalue_plane, knock_out_curve
from app.service import heads, heads_card, heads_search, staged
from app.service.heads_prompt import METHOD, METRIC, REFERENCE, reference_rows, rivals
from app.service.view import View
from app.settings import Settings
from app.state import PageState
from app.store import ModelStore
from app.text import words
from interp.attribution import by_head
from interp.edits import NO_EDITS, Edit, Plan
from interp.intervene import compile_plan
from interp.run import trace
from interp.targets import logit
from interp.weights_composition import composition

PROMPT = "The old clock struck twelve, the old"
PLAN = Plan((Edit.scale("resid_mid", 0, value=1.2), Edit.zero("z", 0, 1)))


@pytest.fixture(scope="module")
def store():
    return ModelStore(Settings(model="glass-2m", device="cpu"))


@pytest.fixture
def view(store):
    return at(store)


def at(store, settings=(), **changes) -> View:
    return view_of(store, *settings, **{"prompt": PROMPT, "layer": 1, "head": 1, **changes})


@torch.no_grad()
def without(view, plan, layer, head, value=0.0) -> torch.Tensor:
    """Logits at the selected position of a whole run in which one head's output is `value`, by a plain hook."""
    inner, name, tokens = compile_plan(view.model, plan, True), f"blocks.{layer}.attn.hook_z", torch.tensor([view.run.tokens])
    if inner is not None:
        inner = inner.positioned(*[torch.arange(tokens.shape[1])[None]] * 2)

    def hook(at, x):
        if inner is not None and inner.wants(at):
            x = inner(at, x)
        if at == name:
            x = x.clone()
            x[:, :, head] = value
        return x

    return view.model(tokens, hook=hook)[0, view.position]


def test_a_map_of_knock_outs_that_was_shown_stays_as_it_was(view):
    maps = [found.effects for found in heads.knock_out_map(view, NO_EDITS)]
    assert np.isnan(maps[0]).any() and not np.isnan(maps[-1]).any() and np.array_equal(maps[0][0], maps[-1][0])


@pytest.mark.parametrize(("plan", "position"), [(NO_EDITS, None), (PLAN, 5)])
def test_the_map_of_knock_outs_is_that_of_whole_runs(store, plan, position):
    view = at(store, plan=plan, position=position)
    two, heads_of = rivals(view), np.ndindex(view.config.n_layers, view.config.n_heads)
    top = view.run.logits[view.position].topk(2).indices.tolist()
    assert [two.first, two.second] == top
    for edits in {plan, NO_EDITS}:  # the unedited model is asked about the same tokens
        base = (view.run if edits == plan else view.before).logits[view.position]
        found = heads.score(view, "knock_out", edits)
        for layer, head in heads_of:
            logits = without(view, edits, layer, head)
            expected = logits[top[0]] - logits[top[1]] - (base[top[0]] - base[top[1]])
            assert found[layer, head] == pytest.approx(expected.item(), abs=2e-4)
    check = staged.value(view, heads.knock_out_stage(view, plan)).check
    assert check.holds and check.residual < 1e-3


def test_ways_of_knocking_out_against_hooks(store):
    view = at(store, settings=[(REFERENCE, "He put his hand on his head and went away.")])
    found = heads_card.damage(view, view.run).compute()
    rows, first = reference_rows(view, REFERENCE.of(view.state)), found.first
    assert rows.shape == (8, len(view.run)) and rows[:, 0].eq(view.run.tokens[0]).all()
    ids = view.model.tokenizer.encode("He put his hand on his head and went away.")
    assert rows[3, 1:].tolist() == [ids[(3 * len(ids) // 8 + j) % len(ids)] for j in range(len(view.run) - 1)]
    _, cache = view.model.run_with_cache(rows, "blocks.1.attn.hook_z")
    z, before = cache["blocks.1.attn.hook_z"][:, :, 1], view.run.logits[view.position].log_softmax(-1)
    each = [without(view, NO_EDITS, 1, 1, row) for row in z]
    expected = {"zero": [without(view, NO_EDITS, 1, 1)], "mean": [without(view, NO_EDITS, 1, 1, z.mean(0))], "resample": each}
    for way in found.ways:
        runs = torch.stack(expected[way.method])
        kl = (before.exp() * (before - runs.log_softmax(-1))).sum(-1).mean().item()
        assert (way.logit, way.p, way.kl) == pytest.approx(
            (runs[:, first].mean().item(), runs.softmax(-1)[:, first].mean().item(), kl), abs=2e-4
        )
        assert way.token == runs.softmax(-1).mean(0).argmax()
    logits = [e[first].item() for e in each]
    assert (found.ways[2].low, found.ways[2].high) == pytest.approx((min(logits), max(logits)), abs=2e-4)
    assert found.ways[0].low is None and (found.logit, found.p) == pytest.approx(
        (view.run.logits[-1, first].item(), before[first].exp().item()), abs=1e-5
    )


@pytest.mark.parametrize("plan", [NO_EDITS, PLAN])
def test_direct_shares_are_those_of_a_full_run(store, plan):
    view = at(store, plan=plan, position=4)
    full = trace(view.model, PROMPT, plan, True)
    expected = by_head(view.model, full, logit(view.model, rivals(view).first, minus="mean"), 4)
    assert np.allclose(heads.score(view, "direct"), expected.heads, atol=1e-6)
    share = heads_card.direct(view, view.run)
    assert (share.value, share.always, share.total) == pytest.approx(
        (expected.heads[1, 1].item(), expected.value_bias[1, 1].item(), expected.value), abs=1e-5
    )
    assert share.rank == sum(abs(v) > abs(share.value) - 1e-6 for v in expected.heads.flatten().tolist()) and share.check.holds


def test_numbers_of_the_pattern_by_loops(view):
    found = heads.prompt_statistics(view, view.run)
    for layer, head in ((0, 0), (1, 1)):
        pattern = view.run.activations[f"blocks.{layer}.attn.hook_pattern"][head].double().numpy()
        rows = range(1, len(pattern))
        sink = np.mean([pattern[q, 0] for q in rows])
        entropy = np.mean([-sum(p * np.log2(p) for p in pattern[q, : q + 1] if p > 0) for q in rows])
        distance = np.mean([sum(pattern[q, k] * (q - k) for k in range(q + 1)) for q in rows])
        got = [found[name][layer, head] for name in ("sink", "entropy", "distance")]
        assert got == pytest.approx([sink, entropy, distance], abs=1e-4)
    alone = View(view.store, PageState(model="glass-2m", prompt=""))
    assert heads.score(alone, "sink") is None


def test_whom_a_head_works_with_is_the_strongest_of_all_pairs(store):
    view = at(store, layer=1, head=0)
    found = heads_card.circle(view).compute()
    expected = []
    for mode in "QKV":
        every = composition(view.model, mode)
        for head in range(view.config.n_heads):
            above = (every.scores[0, head, 1, 0].item() - every.baseline) / every.baseline_std
            if above >= heads_card.ABOVE_CHANCE:
                expected.append(((0, head), mode, pytest.approx(above, abs=1e-3)))
    expected.sort(key=lambda row: -row[2].expected)
    assert [((n.layer, n.head), n.mode, n.above) for n in found.earlier] == expected[: heads_card.MOST_NEIGHBOURS]
    assert expected and found.later == ()


def test_who_takes_over_adds_up(store):
    for method in ("zero", "resample"):
        view = at(store, layer=0, head=1, settings=[(METHOD, method)])
        found, two = heads_card.taken_over(view).compute(), rivals(view)
        gap = view.run.logits[-1, two.first] - view.run.logits[-1, two.second]
        assert found.before.total.mean().item() == pytest.approx(gap.item(), abs=1e-3)
        assert found.before.check.holds and found.after.check.holds
    zero = staged.value(at(store), heads.knock_out_stage(at(store), NO_EDITS)).effects[0, 1]
    view = at(store, layer=0, head=1)
    assert heads_card.taken_over(view).compute().drop.item() == pytest.approx(-zero, abs=1e-3)


def test_the_search_is_kept_and_can_be_put_into_the_plan(store):
    view = at(store, settings=[(heads_search.STEPS, 3)])
    steps = list(heads_search.search(view))
    assert steps[0].now.head is None and not steps[0].done and steps[-1].done and len(steps[-1].heads) == 3
    assert heads_search.kept(view) is steps[-1] and len(list(heads_search.search(view))) == 1
    plan = heads_search.without(view.state.plan, steps[-1].heads)
    after, two = at(store, plan=plan), rivals(view)
    gap = after.run.logits[-1, two.first] - after.run.logits[-1, two.second]
    assert steps[-1].curve[-1] == pytest.approx(gap.item(), abs=1e-4)
    assert steps[-1].tokens[-1] == int(after.run.logits[-1].argmax())
    assert len(steps[-1].curve) == 4 and steps[-1].curve[0] == pytest.approx(steps[0].now.baseline)
    kl = at(store, settings=[(METRIC, "kl")])
    *_, found = heads_search.search(kl)
    assert found.curve[0] == pytest.approx(0, abs=1e-6) and found.curve[1] == max(found.rounds[0].values.flatten().tolist())


def test_what_takes_long_waits_and_the_rest_is_there(view):
    stage = staged.Stage(("glass-2m", "slow"), lambda: 7, staged.AT_ONCE * 2)
    assert staged.value(view, stage) is None and staged.waiting(view, [stage]) == [stage]
    assert staged.finished(view, stage) == 7 and staged.value(view, stage) == 7
    assert staged.waiting(view, [stage]) == [] and staged.seconds(view, [stage]) > 0
    assert staged.value(view, staged.Stage(("glass-2m", "quick"), lambda: 8, 1)) == 8


TEXT = words("en").section("number_table")


def test_a_table_says_what_it_cannot_show():
    columns = [Column("head", "text"), Column("score", bound=1.0)]
    value = number_table_value(
        columns, [["L0H0", 0.5], ["L0H1", float("nan")], ["L0H2", None]], text=TEXT, order=(1, True), selected=2
    )
    assert value["rows"] == [["L0H0", 0.5], ["L0H1", None], ["L0H2", None]] and value["order"] == [1, True]
    for rows, options, said in (
        ([["L0H0"]], {}, "Row 0 has 1 cells for 2 columns"),
        ([["L0H0", float("inf")]], {}, "infinite"),
        ([["L0H0", 1.0]], {"selected": 1}, "got row 1 of a table of 1 rows"),
        ([["L0H0", 1.0]], {"order": (2, True)}, "got column 2"),
    ):
        with pytest.raises(ValueError, match=said):
            number_table_value(columns, rows, text=TEXT, **options)
    with pytest.raises(ValueError, match="got 'date'"):
        number_table_value([Column("x", "date")], [], text=TEXT)


def test_charts_of_a_head():
    labels = words("en").section("eigenvalues")
    chart = eigenvalue_plane(np.array([1 + 2j, 1 - 2j, -3 + 0j]), 0.2, labels)
    assert chart.data[0].x.tolist() == [1, 1, -3] and chart.data[0].y.tolist() == [2, -2, 0] and "0.20" in chart.description
    assert len(set(chart.data[0].marker.color)) == 2
    layout = eigenvalue_plane(np.array([-400 + 0j, 1 + 2j, 1 - 2j]), -0.9, labels).layout
    assert layout.yaxis.range[1] < 3 and layout.xaxis.range[0] < -400 and 1 < layout.xaxis.range[1] < 100  # all points apart
    with pytest.raises(ValueError, match="finite"):
        eigenvalue_plane(np.array([np.nan + 0j]), 0.0, labels)
    curve = knock_out_curve([2.0, 1.0, -1.0], ["L0H1", "L1H0"], words("en").section("knock_out_curve"), "nats")
    assert list(curve.data[0].y) == [2, 1, -1] and curve.data[0].x[2] == "2. − L1H0" and "from 2 to -1" in curve.description
    with pytest.raises(ValueError, match="2 heads taken away make 3"):
        knock_out_curve([1.0], ["a", "b"], words("en").section("knock_out_curve"), "nats")


def chosen(page) -> str:
    return page.locator("#gb_heads_table .nt-selected td").first.text_content()


@pytest.mark.browser
def test_a_readers_way_through_the_heads(page_url, browser_page):
    page = browser_page
    page.set_default_timeout(120_000)
    page.goto(f"{page_url}/?tab=heads&model=glass-7m&lang=en&layer=1&head=2&prompt=Mr.+Darnley+bowed+to+Miss+Harwick.+Mr.+Darn")
    page.wait_for_selector("#gb_heads_damage tbody tr:nth-child(4)")  # all ways of knocking it out
    page.wait_for_selector("#gb_heads_map [data-painted]")
    assert chosen(page) == "L1H2"
    # The map is ordered with the worst loss first; its head is found by name, and opened by Enter.
    assert page.locator("#gb_heads_table tbody tr td").first.text_content() == "L0H3"
    page.fill("#gb_heads_table input", "l0h3")
    assert page.locator("#gb_heads_table tbody tr").count() == 1
    page.press("#gb_heads_table input", "Enter")
    page.wait_for_function("location.search.includes('head=3') && !location.search.includes('layer=')")
    page.wait_for_selector("#gb_heads_off:has-text('Turn L0H3 off')")
    # Its neighbours are the induction heads; choosing one goes there.
    page.wait_for_function("document.querySelector('#gb_heads_circle tbody tr td')?.textContent.startsWith('L1')")
    page.click("#gb_heads_circle tbody tr")
    page.wait_for_function("location.search.includes('layer=1')")
    # A column's title is a score: the map, the order and the address follow. What was searched for hides the others until then.
    page.fill("#gb_heads_table input", "")
    assert chosen(page).startswith("L1")
    page.click("#gb_heads_table th:nth-child(4) button")
    page.wait_for_function("location.search.includes('s.heads.score=direct')")
    # The roles arrive by themselves.
    page.wait_for_selector("#gb_heads_roles tbody tr.nt-marked:has-text('induction')", timeout=120_000)
    # The search is there too; its heads are turned off on every tab, and the card says what was.
    first = page.locator("#gb_heads_search_table tbody tr:nth-child(2) td:nth-child(2)").text_content()
    assert first == "L0H3"
    page.click("#gb_heads_take")
    page.wait_for_function("location.search.includes('plan=')")
    page.wait_for_selector("#gb_heads_damage th:has-text('without the edits')")
    page.click("#gb_heads_open")
    page.wait_for_function("location.search.includes('tab=attention')")
