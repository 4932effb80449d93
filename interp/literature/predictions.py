"""Checks of what the model predicts: losses, probabilities, logit differences. They need nothing but forward passes.

Logits of single tokens depend on a constant that no probability shows; where a notebook printed logits of weights whose output
head was centred, the mean over the vocabulary is subtracted here, which is the same.
"""

from gpt2_core.model import GPT2
from interp.folding import fold
from interp.heads import scores
from interp.literature.check import Bound, Cell, Check, Measured, about, at_most, near
from interp.literature.prompts import GREETING, MILK, MILK_BY_MARY, eight_pairs, eight_runs, listed
from interp.predictions import probabilities, token_statistics
from interp.run import trace
from interp.targets import logit

MAIN, EXPLORATORY = (f"TransformerLens v1.14.0 {name}.ipynb" for name in ("Main_Demo", "Exploratory_Analysis_Demo"))
MILK_LOGITS = {" Mary": 18.09, " the": 15.38, " John": 15.35, " them": 15.25, " his": 14.84}
EIGHT = (3.337, 3.202, 2.709, 3.797, 1.720, 5.281, 2.601, 5.767)  # logit differences, prompt by prompt
EIGHT_MEAN = 3.5519
BIASES = {" John": 2.8995, " Mary": 1.6034}
LARGEST_BIASES = {",": 7.03, " the": 6.98, " and": 6.68}


def _loss(model: GPT2) -> Measured:
    return listed({"loss": -token_statistics(trace(model, GREETING)).logprob[1:].mean().item()}, "nats")


def _eight(model: GPT2) -> Measured:
    pairs = eight_pairs(model)
    rows = {}
    for number, (run, target) in enumerate(eight_runs(model), 1):
        rows[f"prompt {number}"] = target.of_logits(run.logits[-1].double()).item()
    corrupted = [trace(model, list(pair.corrupted.ids)).logits[-1].double() for pair in pairs]
    swapped = [(x[pair.correct[0]] - x[pair.wrong[0]]).item() for x, pair in zip(corrupted, pairs)]
    means = {"mean": sum(rows.values()) / len(rows), "mean, names swapped": sum(swapped) / len(swapped)}
    return listed(rows | means, "logits", prompts=" / ".join(pair.clean.text for pair in pairs))


def _milk(model: GPT2) -> Measured:
    run = trace(model, MILK)
    logits = run.logits[-1].double()
    centred = {f"logit of {t!r}": (logits[model.to_single_token(t)] - logits.mean()).item() for t in MILK_LOGITS}
    return listed({"probability of ' Mary'": probabilities(run)[model.to_single_token(" Mary")].item()} | centred, prompt=MILK)


def _milk_pair(model: GPT2) -> Measured:
    target = logit(model, model.to_single_token(" John"), minus=model.to_single_token(" Mary"))
    runs = {"Mary gives": MILK_BY_MARY, "John gives": MILK}
    return listed(
        {name: target.of_logits(trace(model, text).logits[-1].double()).item() for name, text in runs.items()}, "logits"
    )


def _folded_bias(model: GPT2) -> Measured:
    bias = fold(model).b_U.detach().double()
    top = bias.topk(3).indices.tolist()
    shown = {model.to_single_token(t): t for t in BIASES} | {i: model.tokenizer.strings([i])[0] for i in top}
    return listed({repr(text): bias[id].item() for id, text in shown.items()}, "logits")


def _repeated_loss(model: GPT2) -> Measured:
    found = scores(model, seed=0, batch=2, length=100)
    return listed({"first copy": found.first_copy_loss, "second copy": found.second_copy_loss}, "nats")


def _milk_expected() -> dict[Cell, Bound]:
    logits = {f"logit of {text!r}": value for text, value in MILK_LOGITS.items()}
    return {("probability of ' Mary'", ""): about(0.7007, 1e-3)} | near(logits, 0.01)


def _eight_expected() -> dict[Cell, Bound]:
    prompts = {f"prompt {i}": value for i, value in enumerate(EIGHT, 1)}
    return near(prompts | {"mean": EIGHT_MEAN, "mean, names swapped": -EIGHT_MEAN}, 2e-3)


def _bias_expected() -> dict[Cell, Bound]:
    return near({repr(t): v for t, v in BIASES.items()}, 1e-3) | near({repr(t): v for t, v in LARGEST_BIASES.items()}, 0.006)


CHECKS = (
    Check("loss", "Mean loss of 'Hello world!'", _loss, MAIN, near({"loss": 5.331855773925781}, 1e-4), lambda c: 5),
    Check("milk", "Who gets the bottle of milk?", _milk, MAIN, _milk_expected(), lambda c: 20),
    Check(
        "milk_pair",
        "The logit difference of John and Mary, and how exchanging the giver turns it round",
        _milk_pair,
        MAIN,
        near({"Mary gives": 4.276, "John gives": -2.738}, 2e-3),
        lambda c: 40,
    ),
    Check(
        "ioi_eight",
        "Eight sentences with an indirect object: the logit of the right name less that of the other",
        _eight,
        EXPLORATORY,
        _eight_expected(),
        lambda c: 240,
    ),
    Check(
        "folded_bias",
        "Folded weights: the bias that the output head gets from the last LayerNorm",
        _folded_bias,
        "TransformerLens, notes on direct logit attribution",
        _bias_expected(),
        lambda c: 100,
    ),
    Check(
        "repeated_loss",
        "Random tokens, repeated: the loss on the first copy and on the second",
        _repeated_loss,
        f"{EXPLORATORY}, 'around 12' and 'below 1'",
        {("first copy", ""): about(12, 3), ("second copy", ""): at_most(1)},
        lambda c: 400,
        approximate="the notebook says the two numbers in words",
    ),
)
