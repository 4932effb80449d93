"""The checks of GPT-2 XL on a small model: recall by whole traces, Love - Hate by a hook."""

import pytest
import torch
from literature_models import measured

from gpt2_core.config import SIZES
from interp.literature import extra_large
from interp.tracing import causal_trace, draw_noise, probability_of


def test_depths_are_xls_own_in_xl_and_the_same_share_elsewhere(model):
    xl, small = SIZES["gpt2-xl"].config, SIZES["gpt2"].config
    assert [extra_large.depth_of(xl, layer) for layer in (6, 10)] == [6, 10]
    assert [extra_large.depth_of(small, layer) for layer in (6, 10)] == [2, 2]
    assert extra_large.depth_of(model.config, 6) == 1


def test_recall_is_the_mean_of_whole_traces(model, monkeypatch):
    monkeypatch.setattr(extra_large, "SAMPLES", 3)
    monkeypatch.setattr(extra_large, "FACTS", extra_large.FACTS[:2])
    prompts = [model.tokenizer.encode(subject + rest) for subject, rest, _ in extra_large.FACTS]
    lengths = [len(model.tokenizer.encode(subject)) for subject, _, _ in extra_large.FACTS]
    rows = torch.cat([model.W_E[ids[:n]] for ids, n in zip(prompts, lengths)]).double()
    lost, effects = 0.0, {}
    for component in ("mlp_out", "attn_out"):
        traces = []
        for ids, n in zip(prompts, lengths):
            answer = model(torch.tensor([ids]))[0, -1].argmax().item()  # it knows no fact: its own first choice
            noise = draw_noise(model, n, 3, sigma=rows.std().item())
            traces.append(causal_trace(model, ids, (0, n), probability_of(answer), component, 1, noise))
        lost = sum(trace.total_effect for trace in traces) / 2
        sites = [torch.stack([t.effect[:, n - 1], t.effect[:, -1]], 1) for t, n in zip(traces, lengths)]
        effects[component] = sum(sites) / 2
    monkeypatch.setattr(extra_large, "TOO_LITTLE", -1.0)
    found = measured("recall", model)
    mlp, attention = effects["mlp_out"], effects["attn_out"]
    assert found.values[:, 0].tolist() == pytest.approx(
        [
            (mlp[:, 0].max() / lost).item(),
            (attention[:, 0].max() / lost).item(),
            (attention[:, 1].max() / lost).item(),
            mlp[:, 0].argmax().item() / 2,
            lost,
        ],
        rel=1e-3,
        abs=1e-4,
    )
    assert found.facts["known"] == "0 / 2" and mlp.abs().max() > 1e-7


def test_facts_that_a_model_knows_are_traced_alone_and_nothing_lost_is_refused(model, monkeypatch):
    subject, rest, _ = extra_large.FACTS[0]
    ids = model.tokenizer.encode(subject + rest)
    best = model(torch.tensor([ids]))[0, -1].argmax().item()
    word = next(w for w in (" Seattle", " Paris") if model.tokenizer.encode(w)[0] != best)
    monkeypatch.setattr(extra_large, "FACTS", ((subject, rest, "?"), ("The Eiffel Tower", rest, word.strip())))
    encode = model.tokenizer.encode
    monkeypatch.setattr(type(model.tokenizer), "encode", lambda self, text: [best] if text == " ?" else encode(text))
    traced, known = extra_large.traced_answers(model)
    assert known == 1 and [(prompt.text, answer) for prompt, answer in traced] == [(subject + rest, best)]
    monkeypatch.setattr(extra_large, "TOO_LITTLE", 2.0)
    with pytest.raises(ValueError, match="there is nothing to restore"):
        measured("recall", model)


def test_love_less_hate_is_added_to_the_first_words(model):
    bos, space = model.tokenizer.bos_id, model.tokenizer.encode(" ")
    love, hate = ([bos, *model.tokenizer.encode(word)] for word in ("Love", "Hate"))
    longest = max(len(love), len(hate))
    rows = torch.tensor([ids + space * (longest - len(ids)) for ids in (love, hate)])
    states = model.run_with_cache(rows)[1]["resid_pre", 1]
    added = 5 * (states[0] - states[1])

    def steer(x, hook):
        x[:, : len(added)] += added
        return x

    def preferences(hooks):
        logits = model.run_with_hooks(model.to_tokens("I hate you because you are"), fwd_hooks=hooks)[0, -1].log_softmax(-1)
        words = [
            [logits[ids[0]].item() for word in some if len(ids := model.tokenizer.encode(f" {word}")) == 1]
            for some in (extra_large.LOVING, extra_large.HATING)
        ]
        texts = []
        for text in extra_large.CONTINUED:
            start, ids = model.to_tokens("I hate you because").shape[1], model.to_tokens("I hate you because" + text)[0]
            logprobs = model.run_with_hooks(ids[None], fwd_hooks=hooks)[0].log_softmax(-1)
            own = [logprobs[i - 1, ids[i]].item() for i in range(start, len(ids))]
            texts.append(sum(own) / len(own))
        assert min(map(len, words)) > 8
        return sum(words[0]) / len(words[0]) - sum(words[1]) / len(words[1]), texts[0] - texts[1]

    before, after = preferences([]), preferences([("blocks.1.hook_resid_pre", steer)])
    expected = [after[0] - before[0], after[1] - before[1], before[0], after[0]]
    assert measured("love_hate", model).values[:, 0].tolist() == pytest.approx(expected, abs=1e-4)
    assert abs(after[0] - before[0]) > 1e-3
