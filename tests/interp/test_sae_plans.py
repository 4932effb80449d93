"""Features of autoencoders as edits of a plan: the same numbers as the hook of `feature_hook`, in every analysis and in generation."""

import gc
import weakref

import pytest
import torch
from helpers import max_difference, random_model, tiny_config
from sae_folders import NEW, OLD, folder

from gpt2_core import generate
from interp import patching
from interp.ablation import ablate
from interp.edits import Edit, Plan
from interp.folding import fold
from interp.intervene import compile_plan
from interp.metrics import logit_diff
from interp.run import trace
from interp.sae import CENTRED, Autoencoders, FeatureEdit, feature_hook, place_of


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    root = tmp_path_factory.mktemp("saes")
    folder(root / "stream", OLD)
    (root / "of heads").mkdir()
    folder(root / "of heads" / "layer 0", NEW)
    model = random_model(tiny_config(n_layers=2, d_model=32, d_vocab=200))
    model.autoencoders = Autoencoders(root, model)
    return model


STREAM = Edit.of_feature("stream", "resid_pre", 1, 7, 3.0)
HEADS = Edit.of_feature("of heads/layer 0", "z", 0, 4, 2.5, positions=(2, 5))
IDS, OTHER = [5, 17, 99, 3, 17, 60, 8], [5, 17, 12, 3, 17, 60, 9]


def by_hook(model, *edits, plan=Plan()):  # noqa: B008 - frozen
    """The same features by `feature_hook`, one autoencoder at a time."""
    (sae,) = {id(model.autoencoders[e.autoencoder]): model.autoencoders[e.autoencoder] for e in edits}.values()
    return feature_hook(
        model, sae, [FeatureEdit(e.feature, e.value, positions=e.positions) for e in edits], plan=plan, bos=False
    )


def logits(model, plan, ids=IDS):
    return trace(model, ids, plan, bos=False).logits


@torch.no_grad()
def test_a_plan_does_what_the_hook_does_alone_and_behind_other_edits(model):
    tokens, scale = torch.tensor([IDS]), Edit.scale("resid_pre", 1, value=2.0)
    for edit in (STREAM, HEADS):
        assert max_difference(logits(model, Plan((edit,))), model(tokens, hook=by_hook(model, edit))[0]) <= 1e-6
    both = Plan((HEADS, scale, STREAM))
    hook = by_hook(model, STREAM, plan=Plan((HEADS, scale)))
    assert max_difference(logits(model, both), model(tokens, hook=hook)[0]) <= 1e-6
    results = [logits(model, Plan(edits)) for edits in ((), (STREAM,), (HEADS,), (HEADS, scale, STREAM))]
    assert all(max_difference(a, b) > 1e-3 for i, a in enumerate(results) for b in results[:i])


def test_json_and_back_and_in_words(model):
    plan = Plan((STREAM, HEADS))
    assert Plan.from_json(plan.to_json()) == plan == plan.fitting(model.config)
    assert torch.equal(logits(model, Plan.from_json(plan.to_json())), logits(model, plan))
    assert [e.describe() for e in plan] == [
        "resid_pre L1 F7 = 3 of 'stream'",
        "z L0 F4 = 2.5 of 'of heads/layer 0' at 2,5",
    ]


def test_generation_and_analyses_take_it(model):
    plan, ids = Plan((STREAM, HEADS)), list(IDS)
    for _ in range(4):
        ids.append(logits(model, plan, ids)[-1].argmax().item())
    hook = compile_plan(model, plan, bos=False)
    assert list(generate(model, IDS, max_new_tokens=4, hook=hook, temperature=0.0, stop_ids=()).ids) == ids[len(IDS) :]
    assert max_difference(ablate(model, torch.tensor([IDS]), [], plan=plan), logits(model, plan)[-1:]) <= 1e-6
    metric, position = logit_diff(3, 5), 2
    swept = patching.sweep(model, IDS, OTHER, metric, "resid_mid", plan=plan, bos=False)
    source = trace(model, IDS, plan, bos=False).activations["blocks.0.hook_resid_mid"]

    def patched(name, x):
        x = x if hook is None or not hook.wants(name) else positioned(name, x)
        return (
            torch.cat([x[:, :position], source[None, position, None], x[:, position + 1 :]], 1)
            if name == "blocks.0.hook_resid_mid"
            else x
        )

    at = torch.arange(len(OTHER))[None]
    positioned = hook.positioned(at, at)
    with torch.no_grad():
        expected = metric(model(torch.tensor([OTHER]), hook=patched)[:, -1]).item()
    assert swept.values[0, position].item() == pytest.approx(expected, abs=1e-5) and all(c.holds for c in swept.checks)


@pytest.mark.parametrize(
    "edit, said",
    [
        (Edit.of_feature("../secret", "resid_pre", 1, 7, 1), r"has no autoencoder called '../secret': it has stream, "),
        (Edit.of_feature("/etc", "resid_pre", 1, 7, 1), "has no autoencoder called '/etc'"),
        (Edit.of_feature("stream", "resid_pre", 0, 7, 1), "reads blocks.1.hook_resid_pre, not blocks.0.hook_resid_pre"),
        (Edit.of_feature("stream", "resid_pre", 1, 50, 1), r"Feature 50 does not exist, the autoencoder has 0\.\.49"),
    ],
)
def test_what_is_not_there_is_one_sentence(model, edit, said):
    with pytest.raises(ValueError, match=said):
        logits(model, Plan((edit,)))


def test_weights_without_autoencoders(model):
    for other in (fold(model), random_model(model.config)):
        with pytest.raises(ValueError, match="has no autoencoder called 'stream': it has none; give it some"):
            logits(other, Plan((STREAM,)))
    other.autoencoders = {"mine": model.autoencoders["stream"]}
    mine = Edit.of_feature("mine", *place_of(other.autoencoders["mine"]), 7, 3.0)
    assert mine.hook_name == STREAM.hook_name and torch.equal(logits(other, Plan((mine,))), logits(model, Plan((STREAM,))))


def test_a_model_and_its_list_do_not_hold_each_other(model):
    other = random_model(model.config)
    other.autoencoders = Autoencoders(model.autoencoders._root, other)
    assert other.autoencoders["stream"].d_sae == 50
    gone, known = weakref.ref(other), other.autoencoders
    gc.disable()
    try:
        del other
        assert gone() is None
    finally:
        gc.enable()
    assert known["stream"].d_sae == 50
    with pytest.raises(ValueError, match="is gone; load it again"):
        _ = known["of heads/layer 0"]


def test_a_name_without_an_end_is_read_as_its_file_says(model, tmp_path):
    folder(tmp_path / "a", {**OLD, "model_from_pretrained_kwargs": {"center_writing_weights": True}})
    assert Autoencoders(tmp_path, model)["a"].centred


def test_the_list_and_what_is_held(model, monkeypatch):
    known = model.autoencoders
    assert list(known) == [n + end for n in ("stream", "of heads/layer 0") for end in ("", CENTRED)] and len(known) == 4
    assert known["stream"] is known["stream"] and known["stream" + CENTRED].centred and not known["stream"].centred
    monkeypatch.setattr("interp.sae.KEPT", len(known._read))
    before = known["stream"]
    fresh = Autoencoders(known._root, model)
    monkeypatch.setattr("interp.sae.KEPT", 1)
    first = fresh["stream"]
    assert first is not before and fresh["of heads/layer 0"] and fresh["stream"] is not first
    assert place_of(known["of heads/layer 0"]) == ("z", 0)
