"""Ablations, and results over many prompts, against each prompt alone."""

import pytest
import torch
from literature_models import measured

from interp import prompt_sets
from interp.literature import ablations, prompts, sentences


def test_values_of_the_first_layer(folded):
    tokens = folded.to_tokens(prompts.ABSTRACT)

    def zero(v, hook):
        v[:, :, 1] = 0
        return v

    logits = folded.run_with_hooks(tokens, fwd_hooks=[("blocks.0.attn.hook_v", zero)])[0, :-1].log_softmax(-1)
    found = measured("ablate_v", folded)
    assert found["without L0H1"] == pytest.approx(-logits.gather(-1, tokens[0, 1:, None]).mean().item(), abs=1e-5)
    assert found["whole model"] != found["without L0H1"]


def test_many_prompts_are_the_mean_of_each_alone(model, monkeypatch):
    monkeypatch.setattr(sentences, "N_MANY", 7)
    monkeypatch.setattr(sentences, "N_YEARS", 5)
    differences, probabilities = [], []
    for pair in prompt_sets.build("ioi", model.tokenizer, 7, seed=0).pairs:
        logits = model(torch.tensor([pair.clean.ids]))[0, -1]
        differences.append((logits[pair.correct[0]] - logits[pair.wrong[0]]).item())
        probabilities.append(logits.softmax(-1)[pair.correct[0]].item())
    found = measured("ioi_many", model)
    assert found["mean logit difference"] == pytest.approx(sum(differences) / 7, abs=1e-5)
    assert found["share in which the right name leads"] == pytest.approx(sum(d > 0 for d in differences) / 7)
    assert found["mean probability of the right name"] == pytest.approx(sum(probabilities) / 7, rel=1e-4)
    years = []
    for pair in prompt_sets.build("greater_than", model.tokenizer, 5, seed=0).pairs:
        p = model(torch.tensor([pair.clean.ids]))[0, -1].softmax(-1)
        years.append((p[list(pair.correct)].sum() - p[list(pair.wrong)].sum()).item())
    assert measured("greater_than", model)["years above less years below"] == pytest.approx(sum(years) / 5, abs=1e-6)


def test_mean_ablation_takes_the_mean_over_other_names_of_the_same_template(model):
    n, part = 20, ablations.Part.head(1, 2)
    found = ablations.mean_ablated(model, {"whole": (), "without": [part]}, n)
    drawn = prompt_sets.build("ioi", model.tokenizer, n, seed=0, corruption="abc", orders=("BABA",)).pairs
    whole, without = [], []
    for pair in drawn:
        same = [p for p in drawn if p.template == pair.template and len(p.clean.ids) == len(pair.clean.ids)]
        means = sum(model.run_with_cache(torch.tensor([p.corrupted.ids]))[1]["z", 1][0, :, 2] for p in same) / len(same)

        def replace(z, hook, means=means):
            z[0, :, 2] = means
            return z

        for out, hooks in ((whole, []), (without, [("blocks.1.attn.hook_z", replace)])):
            logits = model.run_with_hooks(torch.tensor([pair.clean.ids]), fwd_hooks=hooks)[0, -1]
            out.append((logits[pair.correct[0]] - logits[pair.wrong[0]]).item())
    assert found["whole"] == pytest.approx(sum(whole) / n, abs=1e-5)
    assert found["without"] == pytest.approx(sum(without) / n, abs=1e-5) and found["without"] != found["whole"]


def test_knock_outs_are_shares_of_the_whole(model, monkeypatch):
    given = {"whole model": 2.0, "without its name movers": 1.5, "without the first MLP": -0.5}
    asked = {}
    monkeypatch.setattr(ablations, "mean_ablated", lambda model, sets: asked.update(sets) or given)
    found = measured("ioi_knock_outs", model)
    assert found["without its name movers, share of it"] == 0.75 and found["without the first MLP, share of it"] == -0.25
    assert len(asked["without its name movers"]) == 3


def _alone(model, drawn):
    """(logit difference, probability of the right name) of each prompt, run by itself."""
    for pair in drawn.pairs:
        logits = model(torch.tensor([pair.clean.ids]))[0, -1]
        yield (logits[pair.correct[0]] - logits[pair.wrong[0]]).item(), logits.softmax(-1)[pair.correct[0]].item()


def test_confusing_sentences_are_the_mean_of_each_alone(model, monkeypatch):
    monkeypatch.setattr(sentences, "N_ADVERSARIAL", 9)
    found = measured("ioi_adversarial", model)
    for name, extra in (("S again", "S"), ("as it is", None), ("IO again", "IO")):
        drawn = prompt_sets.build("ioi", model.tokenizer, 9, seed=0, extra=extra)
        differences, probabilities = zip(*_alone(model, drawn))
        assert found[f"{name}: logit difference"] == pytest.approx(sum(differences) / 9, abs=1e-5)
        assert found[f"{name}: probability of IO"] == pytest.approx(sum(probabilities) / 9, rel=1e-4)
        wrong = sum(value < 0 for value in differences) / 9
        assert found[f"{name}: S leads"] == pytest.approx(wrong) and 0 < wrong < 1
    assert found.facts["prompt"] == drawn.texts[0]


def test_the_share_of_errors_and_its_interval(model, monkeypatch):
    monkeypatch.setattr(sentences, "N_TAILS", 12)
    found = measured("ioi_tails", model)
    drawn = prompt_sets.build("ioi", model.tokenizer, 12, seed=0, orders=("BABA",))
    wrong = sum(value < 0 for value, _ in _alone(model, drawn))
    share, low, high = found.values[:, 0].tolist()
    assert share == pytest.approx(wrong / 12) and 0 < wrong < 12
    for end in (low, high):  # at both ends the share is 1.96 standard errors away: the interval's definition
        assert abs(share - end) == pytest.approx(1.959964 * (end * (1 - end) / 12) ** 0.5, rel=1e-6)
    assert sentences.wilson(0, 50)[0] == pytest.approx(0, abs=1e-12) and sentences.wilson(50, 50)[1] == pytest.approx(1)
