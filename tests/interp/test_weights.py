"""Circuits read from weights: against full tables of a small vocabulary, loops, and transformer-lens, raw and folded."""

import pytest
import torch
from helpers import bridge, max_difference, random_model, tiny_config

from interp import weights
from interp.folding import fold
from interp.weights_composition import composition
from interp.weights_pairs import largest_entries, top_pairs

CONFIG = tiny_config(n_layers=3, d_model=32, d_vocab=151, n_ctx=32)
RAW = random_model(CONFIG)
FOLDED = fold(RAW)
CASES = [(RAW, False), (RAW, True), (FOLDED, False)]


def table(model, layer, head, circuit):
    """The whole table over the vocabulary, from the model's weights as they stand."""
    if circuit == "OV":
        return model.W_E @ model.W_V[layer, head] @ model.W_O[layer, head] @ model.W_U
    return model.W_E @ model.W_Q[layer, head] @ model.W_K[layer, head].T @ model.W_E.T / 8**0.5


def expected(model, folded):
    """What `folded` promises: the weights of the model that `fold` makes."""
    return FOLDED if folded else model


@torch.no_grad()
@pytest.mark.parametrize("circuit", ["OV", "QK"])
@pytest.mark.parametrize(("model", "folded"), CASES, ids=["raw", "raw read as folded", "folded"])
def test_factors_are_the_table(circuit, model, folded):
    for layer, head in ((0, 0), (1, 3), (2, 2)):
        left, right = weights.factors(model, layer, head, circuit, folded)
        assert max_difference(left @ right.T, table(expected(model, folded), layer, head, circuit)) <= 1e-4


@torch.no_grad()
@pytest.mark.parametrize("circuit", ["OV", "QK"])
@pytest.mark.parametrize("largest", [True, False])
def test_top_pairs_are_those_of_the_full_table(circuit, largest):
    result = top_pairs(RAW, 1, 2, circuit, k=25, largest=largest)
    full = table(FOLDED, 1, 2, circuit)
    best = full.flatten().topk(25, largest=largest)
    assert max_difference(result.values, best.values) <= 1e-5
    assert result.left.tolist() == (best.indices // 151).tolist() and result.right.tolist() == (best.indices % 151).tolist()
    assert torch.equal(result.same, result.left == result.right) and result.folded


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("k", [1, 7, 60])
def test_blocks_find_what_a_full_sort_finds(seed, k):
    generator = torch.Generator().manual_seed(seed)
    left, right = (torch.randn(n, 6, generator=generator) for n in (133, 91))
    left, right = left * torch.rand(133, 1, generator=generator) ** 3, right * torch.rand(91, 1, generator=generator) ** 3
    values, rows, columns, looked_at = largest_entries(left, right, k, rows=16, columns=8)
    best = (left @ right.T).flatten().topk(k)
    assert max_difference(values, best.values) <= 1e-6
    assert (rows * 91 + columns).tolist() == best.indices.tolist()
    assert looked_at < 1  # blocks that cannot hold a better pair are left out


def test_the_search_ends_where_nothing_better_can_be_and_takes_any_k():
    left, right = torch.diag(torch.tensor([9.0, 1.0, 1.0, 1.0])), torch.eye(4)
    values, rows, columns, looked_at = largest_entries(left, right, 1, rows=1, columns=1)
    assert (values.tolist(), rows.tolist(), columns.tolist()) == ([9.0], [0], [0]) and looked_at <= 4 / 16
    values, *_ = largest_entries(left, right, 99, rows=3, columns=3)
    assert values.tolist() == (left @ right.T).flatten().sort(descending=True).values.tolist()
    negative, *_ = largest_entries(-torch.ones(5, 1), torch.ones(4, 1), 3, rows=2, columns=2)
    assert negative.tolist() == [-1.0] * 3
    with pytest.raises(ValueError, match="at least 1"):
        largest_entries(left, right, 0)


@torch.no_grad()
def test_a_copying_head_pairs_tokens_with_themselves():
    model = _copying_model()
    result = top_pairs(model, 0, 0, k=20, folded=False)
    assert result.same.all()
    assert weights.copying(model, folded=False).scores[0].tolist() == pytest.approx([1.0, -1.0], abs=1e-4)
    assert weights.token_row(model, 0, 0, token=7, k=1, folded=False).up_ids.tolist() == [7]
    assert weights.token_row(model, 0, 1, token=7, k=1, folded=False).down_ids.tolist() == [7]


def _copying_model():
    """One layer: head 0 moves the first half of the embedding as it is, head 1 the second half with its sign turned."""
    model = random_model(tiny_config(n_layers=1, n_heads=2, d_model=16, d_vocab=50, n_ctx=8))
    model.wte.weight.div_(model.wte.weight.norm(dim=1, keepdim=True))
    model.wte.weight[:, :8] /= model.wte.weight[:, :8].norm(dim=1, keepdim=True)
    model.wte.weight[:, 8:] /= model.wte.weight[:, 8:].norm(dim=1, keepdim=True)
    model.h[0].attn.c_attn.weight[:, 32:] = torch.eye(16)
    model.h[0].attn.c_proj.weight.copy_(torch.diag(torch.tensor([1.0] * 8 + [-1.0] * 8)))
    return model


@torch.no_grad()
@pytest.mark.parametrize(("model", "folded"), CASES, ids=["raw", "raw read as folded", "folded"])
def test_copying_by_the_eigenvalues_of_the_full_table(model, folded):
    result = weights.copying(model, folded)
    for layer in range(3):
        for head in range(4):
            values = torch.linalg.eigvals(table(expected(model, folded), layer, head, "OV").double())
            values = values[values.abs().argsort(descending=True)[:8]]  # the rank
            assert result.scores[layer, head].item() == pytest.approx((values.sum().real / values.abs().sum()).item(), abs=1e-4)
            own = result.eigenvalues[layer, head]
            assert max_difference(own.abs().sort().values, values.abs().sort().values) <= 1e-3
    assert result.scores.abs().max() <= 1 and result.folded == folded


@torch.no_grad()
@pytest.mark.parametrize("compatible", [False, True])
def test_circuits_equal_transformer_lens(compatible):
    from transformer_lens import FactoredMatrix

    theirs = bridge(RAW)
    if compatible:
        theirs.enable_compatibility_mode(disable_warnings=True)
    OV = FactoredMatrix(theirs.W_V, theirs.W_O)
    full = theirs.W_E @ OV @ theirs.W_U
    eigenvalues = full.eigenvalues
    assert max_difference(weights.copying(RAW, compatible).scores, eigenvalues.sum(-1).real / eigenvalues.abs().sum(-1)) <= 1e-3
    for circuit, factored in (("OV", OV), ("QK", FactoredMatrix(theirs.W_Q, theirs.W_K.transpose(-1, -2)))):
        for layer, head in ((0, 1), (2, 3)):
            ours, one = weights.singular_vectors(RAW, layer, head, circuit, n=3, folded=compatible), factored[layer, head]
            assert max_difference(ours.singular_values, one.S) <= 1e-4
            for side, vectors in ((ours.left, one.U), (ours.right, one.V)):
                assert max_difference(side.float().abs(), vectors[:, :3].T.abs()) <= 1e-3
    for mode in "QKV":
        ours = composition(RAW, mode, folded=compatible)
        assert max_difference(ours.scores, theirs.all_composition_scores(mode).scores) <= 1e-4


@torch.no_grad()
def test_singular_vectors_are_read_through_the_vocabulary():
    for circuit in ("OV", "QK"):
        result = weights.singular_vectors(RAW, 1, 0, circuit, n=4, k=5)
        a, b = (FOLDED.W_V, FOLDED.W_O.mT) if circuit == "OV" else (FOLDED.W_Q, FOLDED.W_K)
        full = a[1, 0] @ b[1, 0].T
        for i in range(4):
            sigma = result.singular_values[i].item()
            assert max_difference(result.left[i] @ full, sigma * result.right[i]) <= 1e-4  # a pair, signs included
            read, written = FOLDED.W_E @ result.left[i], (FOLDED.W_U.T if circuit == "OV" else FOLDED.W_E) @ result.right[i]
            assert read.abs().argmax() == result.read.up_ids[i, 0]
            assert max_difference(result.read.up_values[i], read.topk(5).values) <= 1e-5
            assert result.written.up_ids[i].tolist() == written.topk(5).indices.tolist()
            assert result.written.down_ids[i].tolist() == written.topk(5, largest=False).indices.tolist()
        assert max_difference(result.singular_values, torch.linalg.svdvals(full)[:8]) <= 1e-4


@torch.no_grad()
def test_rows_and_neurons_by_hand():
    for circuit in ("OV", "QK"):
        row = table(FOLDED, 2, 1, circuit)[33]
        result = weights.token_row(RAW, 2, 1, 33, circuit, k=6)
        assert result.up_ids.tolist() == row.topk(6).indices.tolist()
        assert max_difference(result.down_values, row.topk(6, largest=False).values) <= 1e-5
    effect = FOLDED.W_out[1, 17] @ FOLDED.W_U
    result = weights.neuron_effect(RAW, 1, 17, k=6)
    assert result.up_ids.tolist() == effect.topk(6).indices.tolist()
    assert max_difference(result.up_values, effect.topk(6).values) <= 1e-5
    assert result.down_ids.tolist() == effect.topk(6, largest=False).indices.tolist()
    raw = RAW.W_out[1, 17] @ RAW.W_U
    assert max_difference(weights.neuron_effect(RAW, 1, 17, 6, folded=False).up_values, raw.topk(6).values) <= 1e-5


@torch.no_grad()
def test_a_neurons_effect_is_what_it_does_to_the_logits():
    """Its direct contribution to centred logits in a run, per unit of activation, times the final scale."""
    from interp import attribution
    from interp.run import trace
    from interp.targets import logit

    run = trace(RAW, [5, 9, 120, 44], bos=False)
    effect = weights.neuron_effect(RAW, 2, 17, k=151)
    for token in effect.up_ids[:3].tolist():
        result = attribution.by_neuron(RAW, run, logit(RAW, token, minus="mean"), layer=2, k=128)
        unit = run.activations["post", 2][-1, 17].item() / result.scale
        at = effect.up_ids.tolist().index(token)
        assert result["L2N17"] == pytest.approx(effect.up_values[at].item() * unit, abs=1e-5)


@torch.no_grad()
def test_the_first_mlp_extends_the_embedding():
    block = RAW.h[0]
    run = RAW.W_E + block.mlp.c_proj(torch.nn.functional.gelu(block.mlp.c_fc(_norm(RAW.W_E, block.ln_2)), approximate="tanh"))
    assert max_difference(weights.embedding(RAW, folded=False, first_mlp=True), run) <= 1e-5
    assert max_difference(weights.embedding(RAW, first_mlp=True), weights.embedding(FOLDED, False, first_mlp=True)) <= 1e-5
    pairs = [top_pairs(model, 1, 1, k=9, first_mlp=True, folded=folded) for model, folded in CASES[1:]]
    assert torch.equal(pairs[0].left, pairs[1].left) and max_difference(pairs[0].values, pairs[1].values) <= 1e-5


def _norm(x, ln):
    return (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt() * ln.weight + ln.bias


@torch.no_grad()
@pytest.mark.parametrize("mode", ["Q", "K", "V"])
def test_composition_by_loops(mode):
    result = composition(RAW, mode)
    for la in range(3):
        for ha in range(4):
            for lb in range(3):
                for hb in range(4):
                    first = FOLDED.W_V[la, ha] @ FOLDED.W_O[la, ha]
                    qk = FOLDED.W_Q[lb, hb] @ FOLDED.W_K[lb, hb].T
                    second = {"Q": qk, "K": qk.T, "V": FOLDED.W_V[lb, hb] @ FOLDED.W_O[lb, hb]}[mode]
                    score = ((first @ second).norm() / first.norm() / second.norm()).item() if la < lb else 0.0
                    assert result.scores[la, ha, lb, hb].item() == pytest.approx(score, abs=1e-5)
    above = result.excess
    assert (
        above[1, 0, 2, 0].item() == pytest.approx((result.scores[1, 0, 2, 0] - result.baseline).item()) and above[2].eq(0).all()
    )


@torch.no_grad()
def test_the_baseline_is_what_random_heads_score():
    config = tiny_config(n_layers=2, d_model=64, d_vocab=50)
    model = random_model(config, seed=3)
    for block in model.h:
        block.ln_1.weight.fill_(1.0)
    result = composition(model, "Q", folded=False)
    assert result.baseline == pytest.approx(result.scores[0, :, 1].mean().item(), abs=0.02)
    assert 0 < result.baseline_std < 0.05 and composition(model, "K", seed=1).baseline != result.baseline
    # A head that reads just what another writes, in one direction, scores 1.
    for name, p in model.h[0].attn.named_parameters():
        p.zero_() if "c_proj" in name else None
    model.h[0].attn.c_proj.weight[0, 5] = 1.0
    model.h[1].attn.c_attn.weight.zero_()
    model.h[1].attn.c_attn.weight[5, 0] = model.h[1].attn.c_attn.weight[9, 64] = 1.0
    assert composition(model, "Q", folded=False).scores[0, 0, 1, 0].item() == pytest.approx(1.0, abs=1e-5)
    assert composition(model, "K", folded=False).scores[0, 0, 1, 0].item() == pytest.approx(0.0, abs=1e-5)


def test_what_is_not_there():
    with pytest.raises(ValueError, match=r"L0H4 does not exist, .* of heads 0\.\.3"):
        top_pairs(RAW, 0, 4)
    with pytest.raises(ValueError, match="Layer 3 does not exist"):
        weights.neuron_effect(RAW, 3, 0)
    with pytest.raises(ValueError, match="Token 151 is not"):
        weights.token_row(RAW, 0, 0, 151)
