"""The charts show the numbers they were given, in the theme's colours, with words from the caller only."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from app.figures import palette
from app.figures.heads import head_scores_bars
from app.figures.layout import Picture, export_config, log_ticks, plain, positions
from app.figures.scaling import SizePoint, published_curves, scaling_costs
from app.figures.surprisal import surprisal_line
from app.figures.tracks import rank_or_probability_by_layer

ROOT = Path(__file__).parents[2]
STRINGS = ["BOS", "·the", "·the", "<b>", "·extraordinarily"]
BITS = [np.nan, 4.0, 1.5, 9.0, 0.5]
WORDS = {
    "surprisal": "token axis surprisal before entropy probability",
    "curves": "params value higher_is_better lower_is_better published measured sota fit",
    "costs": "params memory time not_measured",
    "tracks": "layer probability rank before",
    "heads": "score before now",
}
DESCRIPTIONS = {
    "surprisal": "{n} {mean} {token} {highest}",
    "curves": "{n} {first} {last} {best}",
    "costs": "{n} {smallest} {largest}",
    "tracks": "{token} {first} {last}",
    "heads": "{head} {value} {n}",
}
POINTS = [SizePoint("a", "A (124M)", 124_000_000, 35.13), SizePoint("b", "B (355M)", 355_000_000, 15.6)]


def labels(kind: str) -> dict[str, str]:
    return {**{word: f"§{word}" for word in WORDS[kind].split()}, "description": DESCRIPTIONS[kind]}


def surprisal(**more) -> Picture:
    return surprisal_line(STRINGS, BITS, labels("surprisal"), **more)


def curves(**more) -> Picture:
    return published_curves(POINTS, labels("curves"), "lower", **more)


def costs() -> Picture:
    return scaling_costs(["s", "l"], [1e6, 3e6], [0.5, 1.5], [2.0, None], labels("costs"), highlight={"s"})


def tracks(**more) -> Picture:
    chances, ranks = np.array([[0.1, 0.9]]), np.array([[120.0, 1.0]])
    return rank_or_probability_by_layer(["0", "out"], ["·clock"], chances, ranks, labels("tracks"), **more)


def heads(**more) -> Picture:
    return head_scores_bars(np.array([[0.1, 0.7], [0.4, 0.2]]), labels("heads"), **more)


ALL = {"surprisal": surprisal, "curves": curves, "costs": costs, "tracks": tracks, "heads": heads}


def test_surprisal_is_drawn_as_given():
    figure = surprisal(before=[np.nan, 1, 2, 3, 4], entropy=[5, 6, 7, 8, 9], selected=2)
    before, now, entropy = figure.data
    np.testing.assert_array_equal(now.y, BITS)
    np.testing.assert_array_equal(before.y, [np.nan, 1, 2, 3, 4])
    np.testing.assert_array_equal(entropy.y, [5, 6, 7, 8, 9])
    assert list(now.x) == positions(STRINGS), "equal tokens keep their own places"
    assert now.customdata[1][1] == pytest.approx(1 / 16), "4 bits are a probability of one in sixteen"
    assert (figure.layout.shapes[0].x0, figure.layout.shapes[0].x1) == (1.5, 2.5)
    assert figure.description == "5 3.75 <b> 9.00"


def test_token_names_are_printed_not_interpreted_and_shortened():
    alias = surprisal().layout.xaxis.labelalias
    assert alias["3"] == "&lt;b&gt;" and alias["4"] == "·extraordin…" and alias["1"] == alias["2"] == "·the"
    assert plain("a<b>&c") == "a&lt;b&gt;&amp;c"


def test_published_curves_are_drawn_as_given():
    figure = curves(
        sota=99.8, line=lambda n: n / 1e7, measured=[SizePoint("m", "M", 7_000_000, 300.0)], log_y=True, highlight={"b"}
    )
    traces = {trace.name: trace for trace in figure.data}
    published = traces["§published"]
    assert list(published.x) == [124_000_000, 355_000_000] and list(published.y) == [35.13, 15.6]
    assert list(published.text) == ["35.13", "15.6"] and list(published.marker.size) == [10, 15]
    assert list(traces["§measured"].y) == [300.0]
    assert list(traces["§sota 99.8"].y) == [99.8, 99.8]
    fit = traces["§fit"]
    np.testing.assert_allclose(fit.y, np.asarray(fit.x) / 1e7)
    assert (fit.x[0], fit.x[-1]) == (pytest.approx(124e6), pytest.approx(355e6)), "a fit is not drawn beyond its points"
    assert "§lower_is_better" in figure.layout.yaxis.title.text and figure.layout.yaxis.type == "log"
    low, high = (10**bound for bound in figure.layout.yaxis.range)
    assert low < 15.6 and high > 300
    assert figure.description == "2 35.13 15.6 B (355M)"


def test_costs_begin_at_zero_and_say_what_was_not_measured():
    params, memory, time = costs().data
    assert list(params.x) == [1, 3] and list(memory.x) == [0.5, 1.5] and list(time.x) == [2, 0]
    assert list(time.text) == ["2", "§not_measured"]
    assert all(getattr(costs().layout, name).range[0] == 0 for name in ("xaxis", "xaxis2", "xaxis3"))
    assert params.marker.color[0] != params.marker.color[1]


def test_tracks_are_drawn_as_given():
    before = (np.array([[0.2, 0.3]]), np.array([[9.0, 8.0]]))
    traces = tracks(before=before).data
    now_chance, now_rank = [trace for trace in traces if trace.name == "·clock"]
    old_chance, old_rank = [trace for trace in traces if trace.name == "·clock (§before)"]
    assert list(now_chance.y) == [0.1, 0.9] and list(now_rank.y) == [120, 1]
    assert list(old_chance.y) == [0.2, 0.3] and list(old_rank.y) == [9, 8]
    axis = tracks().layout.yaxis2
    assert axis.range[0] > np.log10(120) and axis.range[1] < 0, "rank 1 is on top, the worst rank inside"


def test_heads_are_sorted_and_named():
    figure = heads(top=3, before=np.array([[0.9, 0.8], [0.7, 0.6]]))
    now, before = figure.data
    assert list(now.y) == ["L0H1", "L1H0", "L1H1"] and list(now.x) == [0.7, 0.4, 0.2]
    assert list(before.x) == [0.8, 0.7, 0.6] and figure.description == "L0H1 0.70 4"


@pytest.mark.parametrize("kind", ALL)
def test_every_chart_carries_config_description_and_only_the_callers_words(kind):
    figure = ALL[kind]()
    sent = json.loads(figure.to_json())
    assert sent["config"]["toImageButtonOptions"]["format"] == "svg" and not sent["config"]["displaylogo"]
    assert figure.description and "title" not in sent["layout"]
    assert sent["layout"]["paper_bgcolor"] == sent["layout"]["plot_bgcolor"] == "rgba(0, 0, 0, 0)"
    titles = [axis["title"].get("text") for name, axis in sent["layout"].items() if re.match(r"[xy]axis", name)]
    assert all(text.startswith("§") for text in titles if text) and any(titles)
    used = set(re.findall(r"§\w+", json.dumps(sent, ensure_ascii=False)))
    assert len(used) >= 2 and used <= {f"§{word}" for word in WORDS[kind].split()}


WRONG = [
    (lambda: surprisal_line(STRINGS, [1.0], labels("surprisal")), "strings 5, surprisal_bits 1"),
    (lambda: surprisal_line([], [], labels("surprisal")), "at least one"),
    (lambda: published_curves([], labels("curves"), "lower"), "points 0"),
    (lambda: curves(sota=0.0, log_y=True), "above zero"),
    (lambda: tracks(before=(np.ones((1, 3)), np.ones((1, 3)))), "expected tokens by layers, (1, 2)"),
    (lambda: tracks(before=(np.ones((1, 2)), np.zeros((1, 2)))), "counted from 1"),
    (lambda: head_scores_bars(np.ones(3), labels("heads")), "shape (3,)"),
    (lambda: heads(before=np.ones((1, 2))), "must be equal"),
    (lambda: palette.colour_scale("rainbow"), "'sequential' or 'diverging'"),
    (lambda: export_config("x", "gif"), "'svg' or 'png'"),
]


@pytest.mark.parametrize(("draw", "message"), WRONG)
def test_bad_input_is_refused_in_one_sentence(draw, message):
    with pytest.raises(ValueError) as error:
        draw()
    assert message in str(error.value)


def test_a_text_without_any_surprisal_is_drawn():
    assert surprisal_line(["BOS"], [np.nan], labels("surprisal")).description == "1 - - -"


def test_palette_is_the_themes():
    light = (ROOT / "assets" / "theme.css").read_text(encoding="utf-8").split(".dark {")[0]
    theme = dict(re.findall(r"(--gb-[\w-]+): (#[0-9a-f]{6})", light))
    assert {name: theme[name] for name in palette.THEME_VARIABLES} == palette.THEME_VARIABLES


def test_stylesheet_follows_the_theme_and_neutral_text_can_be_read_on_both_panels():
    assert '[style*="fill: rgb(0, 114, 178)"] { fill: var(--gb-cat-1) !important; }' in palette.stylesheet()
    panels = re.findall(r"--gb-panel: (#[0-9a-f]{6})", (ROOT / "assets" / "theme.css").read_text(encoding="utf-8"))
    assert len(panels) == 2 and all(_contrast(palette.NEUTRAL, panel) >= 4 for panel in panels)


def _contrast(one: str, other: str) -> float:
    def luminance(colour: str) -> float:
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))

    dark, bright = sorted((luminance(one), luminance(other)))
    return (bright + 0.05) / (dark + 0.05)


def test_diverging_scale_has_white_zero_in_the_middle():
    scale = palette.colour_scale("diverging")
    assert scale[4] == [0.5, palette.ZERO] and scale[0][0] == 0 and scale[-1][0] == 1
    assert palette.colour_scale("sequential")[0] == [0.0, "#ffffff"]


def test_log_ticks_are_round_and_inside():
    assert log_ticks(8.63, 99.8) == [10, 20, 50]
    assert log_ticks(0.9, 2.1) == [1, 2]


def test_figures_need_neither_torch_nor_gradio():
    modules = "heads, layout, palette, scaling, surprisal, tracks"
    code = f"import sys; from app.figures import {modules}; print([m for m in ('torch', 'gradio') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
