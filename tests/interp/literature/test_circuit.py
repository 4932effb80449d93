"""The circuit alone and the S-inhibition signals: every prompt by itself, every head by a hook."""

import pytest
import torch
from helpers import random_model, tiny_config
from literature_models import measured

from interp import prompt_sets
from interp.heads import scores
from interp.literature import circuit
from interp.literature.attributions import mean_by_head
from interp.literature.heads import attention_from_end
from interp.prompt_sets.pairs import place

SMALL = {"a": ("END", [(1, 2), (2, 0)]), "b": ("S2", [(0, 1)]), "c": ("S1+1", [(1, 2)])}


def _difference(logits, pair):
    return (logits[pair.correct[0]] - logits[pair.wrong[0]]).item()


def test_the_circuit_alone_is_each_prompt_with_all_other_heads_at_their_means(model, monkeypatch):
    n = 20
    monkeypatch.setattr(circuit, "N_CIRCUIT", n)
    monkeypatch.setattr(circuit, "cast", lambda model: SMALL)
    drawn = prompt_sets.build("ioi", model.tokenizer, n, seed=0, corruption="abc", orders=("BABA",)).pairs
    whole, at_words, everywhere = [], [], []
    for pair in drawn:
        same = [p for p in drawn if p.template == pair.template and len(p.clean.ids) == len(pair.clean.ids)]
        caches = [model.run_with_cache(torch.tensor([p.corrupted.ids]))[1] for p in same]
        spans, last = pair.clean.spans, len(pair.clean.ids) - 1
        places = {"END": last, "S2": spans["S2"][0], "S1+1": spans["S1"][0] + 1}

        def run(keeps, caches=caches, last=last, pair=pair):
            def only(z, hook):
                layer, out = int(hook.name.split(".")[1]), z.clone()
                for head in range(3):
                    for position in range(last + 1):
                        if not keeps(layer, head, position):
                            out[0, position, head] = sum(c["z", layer][0, position, head] for c in caches) / len(caches)
                return out

            hooks = [(f"blocks.{layer}.attn.hook_z", only) for layer in range(3)]
            return _difference(model.run_with_hooks(torch.tensor([pair.clean.ids]), fwd_hooks=hooks)[0, -1], pair)

        words = {(layer, head, places[word]) for word, some in SMALL.values() for layer, head in some}
        heads = {(layer, head) for layer, head, _ in words}
        whole.append(_difference(model(torch.tensor([pair.clean.ids]))[0, -1], pair))
        at_words.append(run(lambda *cell, words=words: cell in words))
        everywhere.append(run(lambda layer, head, position, heads=heads: (layer, head) in heads))
    found = measured("ioi_circuit", model)
    means = [sum(values) / n for values in (whole, at_words, everywhere)]
    assert found["whole model, logit difference"] == pytest.approx(means[0], abs=1e-5)
    assert found["at its words: logit difference"] == pytest.approx(means[1], abs=1e-5)
    assert found["at its words: share of the whole"] == pytest.approx(means[1] / means[0], rel=1e-3)
    assert found["at all words: share of the whole"] == pytest.approx(means[2] / means[0], rel=1e-3)
    assert len({round(mean, 3) for mean in means}) == 3 and found.facts["a"] == "L1H2, L2H0"


def test_the_cast_is_the_papers_in_gpt2_smalls_shape_and_measured_elsewhere(model):
    heads = [head for _, some in circuit.CLASSES.values() for head in some]
    assert len(heads) == len(set(heads)) == 26
    shaped = random_model(tiny_config(n_layers=12, n_heads=12, d_model=24, d_vocab=50))
    assert circuit.cast(shaped) == circuit.CLASSES
    found, direct = circuit.cast(model), mean_by_head(model)[0]
    order = [divmod(i, 3) for i in direct.flatten().argsort(descending=True).tolist()]
    random, looked = scores(model, seed=0, batch=2, length=100), attention_from_end(model)["S2"]
    assert {name: len(some) for name, (_, some) in found.items()} == dict.fromkeys(circuit.CLASSES, 1)  # of 9 heads, not 144
    assert [found[name][1][0] for name in ("movers", "backup", "negative")] == [order[0], order[1], order[-1]]
    tables = {"inhibiting": looked, "induction": random.induction, "previous": random.previous_token}
    for name, table in (tables | {"duplicate": random.duplicate_token}).items():
        assert found[name] == (circuit.CLASSES[name][0], [divmod(table.argmax().item(), 3)]), name


def test_signals_are_sentences_with_another_name_or_place(model, monkeypatch):
    n, heads = 6, [(1, 0), (1, 2), (2, 1)]
    monkeypatch.setattr(circuit, "N_SIGNALS", n)
    monkeypatch.setattr(circuit, "inhibiting_heads", lambda model, looked: heads)
    drawn = prompt_sets.build("ioi", model.tokenizer, n, seed=0, corruption="abc").pairs
    sums = dict.fromkeys(circuit.SIGNALS, 0.0)
    for pair in drawn:
        text = {name: model.tokenizer.decode(pair.clean.ids[slice(*span)]).strip() for name, span in pair.clean.spans.items()}
        other = {
            name: model.tokenizer.decode(pair.corrupted.ids[slice(*pair.clean.spans[name])]).strip() for name in ("IO", "S1")
        }
        io, s = text["IO"], text["S1"]
        named = {  # what stands at S1, IO and S2, by the paper's six transformations
            ("kept", "kept"): (s, io, s),
            ("kept", "swapped"): (io, s, s),  # IO <-> S1 flip
            ("random", "kept"): (other["S1"], other["IO"], other["S1"]),
            ("random", "swapped"): (other["IO"], other["S1"], other["S1"]),
            ("swapped", "kept"): (io, s, io),  # both
            ("swapped", "swapped"): (s, io, io),  # IO <- S2
        }
        for signal, (first, second, third) in named.items():
            words = {"S1": first, "IO": second, "S2": third} | {k: text[k] for k in ("PLACE", "OBJECT") if k in text}
            _, source = model.run_with_cache(torch.tensor([place(model.tokenizer, pair.template, words).ids]))

            def put(z, hook, source=source):
                layer = int(hook.name.split(".")[1])
                for _, head in (pair for pair in heads if pair[0] == layer):
                    z[0, -1, head] = source["z", layer][0, -1, head]
                return z

            hooks = [(f"blocks.{layer}.attn.hook_z", put) for layer in (1, 2)]
            sums[signal] += _difference(model.run_with_hooks(torch.tensor([pair.clean.ids]), fwd_hooks=hooks)[0, -1], pair)
    found = measured("ioi_signals", model)
    for (name, where), total in sums.items():
        assert found[f"name {name}, place {where}"] == pytest.approx(total / n, abs=1e-5), (name, where)
    assert len({round(total, 3) for total in sums.values()}) == 6 and found.facts["inhibiting"] == "L1H0, L1H2, L2H1"


def test_weights_are_the_least_squares_ones_and_the_papers():
    rows = torch.tensor([[circuit.PLACES[place], circuit.NAMES[name]] for name, place in circuit.SIGNALS], dtype=torch.float64)
    values = torch.tensor(list(circuit.SIGNALS.values()), dtype=torch.float64)
    fitted = torch.linalg.lstsq(rows, values[:, None]).solution[:, 0].tolist()
    assert circuit.weights(circuit.SIGNALS) == pytest.approx(fitted)
    assert [round(weight, 2) for weight in fitted] == [2.31, 0.99]  # as printed in the paper
