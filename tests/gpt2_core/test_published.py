"""The paper's numbers: spot checks against the printed page, and the relations that must hold among them."""

import math

import pytest

from gpt2_core.config import RELEASED, SIZES
from gpt2_core.tasks import published, scaling
from gpt2_core.tasks.published import CURVES, METRICS, SOTA, beats_sota, results, table_2
from gpt2_core.tasks.reproductions import REPRODUCTIONS, of_protocol

# Printed in bold in table 3 (better than the row of the state of the art).
BOLD = {
    "gpt2": {"lambada_ppl", "cbt_cn_acc", "cbt_ne_acc", "wikitext2_ppl"},
    "gpt2-medium": {"lambada_ppl", "cbt_cn_acc", "cbt_ne_acc", "wikitext2_ppl", "text8_bpc"},
    "gpt2-large": set(CURVES) - {"wikitext103_ppl", "one_billion_word_ppl"},
    "gpt2-xl": set(CURVES) - {"one_billion_word_ppl"},
}


def test_table_3_is_complete_and_spot_cells_agree():
    assert all(set(results(metric)) == {SOTA, *RELEASED} for metric in CURVES) and len(CURVES) == 10
    cells = {
        ("lambada_ppl", "gpt2-xl"): 8.63,
        ("lambada_acc", SOTA): 59.23,
        ("cbt_cn_acc", "gpt2-large"): 93.45,
        ("cbt_ne_acc", "gpt2"): 83.4,
        ("wikitext2_ppl", "gpt2-medium"): 22.76,
        ("ptb_ppl", "gpt2-xl"): 35.76,
        ("enwik8_bpb", "gpt2-large"): 0.97,
        ("text8_bpc", "gpt2-xl"): 0.98,
        ("wikitext103_ppl", "gpt2"): 37.50,
        ("one_billion_word_ppl", "gpt2-large"): 44.575,
    }
    for (metric, model), value in cells.items():
        row = results(metric)[model]
        assert row.value == value and row.source.endswith("table 3")


@pytest.mark.parametrize("model", RELEASED)
def test_what_beats_the_state_of_the_art_is_what_is_printed_bold(model):
    assert {metric for metric in CURVES if beats_sota(metric, model)} == BOLD[model]


def test_other_tasks():
    expected = {
        "coqa_f1": 55,
        "wmt14_en_fr_bleu": 5,
        "wmt14_fr_en_bleu": 11.5,
        "winograd_acc": 70.7,
        "natural_questions_em": 4.1,
    }
    for metric, value in expected.items():
        assert results(metric)["gpt2-xl"].value == value
    assert results("winograd_acc")["gpt2-xl"].value - results("winograd_acc")[SOTA].value == pytest.approx(7.0)
    assert beats_sota("wmt14_en_fr_bleu", "gpt2-xl") is None
    with pytest.raises(ValueError, match="no metric 'rouge'"):
        results("rouge")


def test_rouge_average_is_the_mean_and_the_hint_is_worth_six_points():
    kinds = [f"cnn_dailymail_rouge_{kind}" for kind in ("1", "2", "l")]
    averages = results("cnn_dailymail_rouge_avg")
    assert len(averages) == 6
    for system, average in averages.items():
        mean = sum(results(kind)[system].value for kind in kinds) / 3
        assert average.value == pytest.approx(mean, abs=0.0051), system
    assert averages["gpt2-xl"].value - averages["gpt2-xl, no hint"].value == pytest.approx(6.4, abs=0.05)


def test_overlap_means_are_the_ones_in_the_text():
    means = published.overlap_means()
    assert round(means["own training set"], 1) == 5.9 and round(means["WebText"], 1) == 3.2
    assert all(len(row) == len(published.OVERLAP_DATASETS) for row in published.OVERLAP.values())


def test_table_2_labels_follow_from_the_shapes_with_gpt1s_vocabulary():
    assert [row.printed_label for row in table_2()] == ["117M", "345M", "762M", "1542M"]
    assert [row.n_params for row in table_2()] == [124_439_808, 354_823_168, 774_030_080, 1_557_611_200]
    for row in table_2():
        assert f"{scaling.printed_millions(SIZES[row.model].config)}M" == row.printed_label


def test_every_row_has_a_source_and_a_known_metric():
    assert all(row.metric in METRICS and "Radford" in row.source for row in published.PUBLISHED)
    assert all(row.certainty == "S" and row.source and row.low <= row.high for row in REPRODUCTIONS)
    assert {row.model for row in REPRODUCTIONS} <= set(RELEASED)


def test_reproductions_spot_checks():
    stem = "WikiText-103-raw validation, context 1024, stride 1024, joined by"
    rows = of_protocol("wikitext103_ppl", f"{stem} nothing")
    other = of_protocol("wikitext103_ppl", f"{stem} two line breaks")
    assert [rows[name].low for name in RELEASED] == [30.59, 22.35, 19.33, 17.46]
    gaps = [round(other[name].low - rows[name].low, 2) for name in RELEASED]
    assert gaps == [0.45, 0.16, 0.76, 0.45], "the joining of the lines alone moves the figure"
    hellaswag = [row for row in REPRODUCTIONS if row.measure == "hellaswag_acc"]
    assert (hellaswag[0].low, hellaswag[0].high) == (29.45, 29.55) and len(hellaswag) == 4
    with pytest.raises(ValueError, match="known: OpenWebText, validation split"):
        of_protocol("openwebtext_val_loss", "x")


# Slopes per decade of parameters, and R2, worked out independently with numpy.polyfit and rounded.
FITS = {
    "lambada_acc": (15.8, 0.975),
    "cbt_cn_acc": (5.2, 0.81),
    "cbt_ne_acc": (5.0, 0.93),
    "wikitext2_ppl": (-0.433, 0.977),
    "ptb_ppl": (-0.556, 0.979),
    "wikitext103_ppl": (-0.682, 0.995),
    "one_billion_word_ppl": (-0.548, 0.964),
    "lambada_ppl": (-1.283, 0.965),
    "enwik8_bpb": (-0.206, 0.934),
    "text8_bpc": (-0.171, 0.968),
}


@pytest.mark.parametrize("metric", CURVES)
def test_lines_through_the_published_points(metric):
    line = scaling.published_line(metric)
    slope, r2 = FITS[metric]
    assert line.slope == pytest.approx(slope, abs=0.05 if abs(slope) > 2 else 0.0006)
    assert line.r2 == pytest.approx(r2, abs=0.006) and line.n_points == 4


def test_lines_on_reproductions_and_their_errors():
    sizes = [SIZES[name].config.n_params for name in RELEASED]
    losses = of_protocol("openwebtext_val_loss", "OpenWebText, validation split")
    line = scaling.fit_line(sizes, [losses[name].low for name in RELEASED], "linear")
    assert (line.intercept, line.slope) == (pytest.approx(7.395, abs=0.01), pytest.approx(-0.530, abs=0.001))
    assert line.at(sizes[0]) == pytest.approx(losses["gpt2"].low, abs=0.05)
    exact = scaling.fit_line([10, 1000], [math.exp(1), math.exp(3)], "log")
    assert exact.at(100) == pytest.approx(math.exp(2)) and exact.r2 == pytest.approx(1)
    with pytest.raises(ValueError, match="two different sizes"):
        scaling.fit_line([10, 10], [1, 2], "linear")
    with pytest.raises(ValueError, match="fewer than four sizes"):
        scaling.published_line("coqa_f1")


def test_kaplan_and_chinchilla():
    counts = [scaling.non_embedding_params(SIZES[name].config) for name in RELEASED]
    assert counts == [85_056_000, 302_311_424, 708_390_400, 1_475_561_600]
    losses = [scaling.kaplan_loss_of_size(count) for count in counts]
    assert [round(loss, 3) for loss in losses] == [2.865, 2.602, 2.439, 2.306]
    assert [round(math.exp(loss), 1) for loss in losses] == [17.5, 13.5, 11.5, 10.0]
    assert scaling.kaplan_loss(counts[0], 1e30) == pytest.approx(losses[0]), "with endless data only the size counts"
    assert scaling.kaplan_loss(1e30, 1e9) == pytest.approx(scaling.kaplan_loss_of_data(1e9))
    assert scaling.chinchilla_loss(1e30, 1e40) == pytest.approx(1.69, abs=1e-6)
    assert scaling.training_flops(SIZES["gpt2"].config.n_params, 9.04e9) == pytest.approx(6.75e18, rel=1e-3)
