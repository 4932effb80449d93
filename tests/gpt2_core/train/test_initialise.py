"""Initialisation: GPT-2's unless the recipe asks for another, and then exactly that."""

import pytest
import torch
from train_helpers import TINY

from gpt2_core.model import GPT2
from gpt2_core.train import recipe as recipes
from gpt2_core.train.initialise import new_model, sinusoids


def test_the_default_is_gpt2s():
    recipe = recipes.parse(TINY)
    expected = GPT2(recipe.config).init_weights(torch.Generator().manual_seed(3))
    got = dict(new_model(recipe).named_parameters())
    assert all(torch.equal(got[name], p) for name, p in expected.named_parameters())


def test_residual_projections_are_scaled_by_the_number_of_residual_layers():
    model = new_model(recipes.parse(TINY.replace("d_model = 16", "d_model = 64").replace("n_layers = 2", "n_layers = 8")))
    for block in model.h:
        for inner, residual in ((block.attn.c_attn, block.attn.c_proj), (block.mlp.c_fc, block.mlp.c_proj)):
            assert inner.weight.std().item() == pytest.approx(0.02, rel=0.05)
            assert residual.weight.std().item() == pytest.approx(0.02 / 16**0.5, rel=0.05)
    assert model.wpe.weight.std().item() == pytest.approx(0.01, rel=0.1)


def test_wider_matrices_and_sinusoidal_positions():
    text = '[init]\nstd = 0.05\npositions = "sinusoidal"\nposition_std = 0.03\n'
    plain, wide = new_model(recipes.parse(TINY)), new_model(recipes.parse(TINY + text))
    for (name, a), (_, b) in zip(plain.named_parameters(), wide.named_parameters()):
        if name == "wpe.weight":
            assert torch.allclose(b.pow(2).mean(1).sqrt(), torch.tensor(0.03))
            assert (b[5, 0] / b[5, 8]).item() == pytest.approx(torch.tensor(5.0).tan().item(), rel=1e-4)  # wavelength 2 pi
        else:
            assert torch.allclose(b, a * 2.5 if a.ndim == 2 else a), name


def test_a_shift_of_positions_is_the_same_rotation_everywhere():
    waves = sinusoids(50, 16)
    similarity = waves @ waves.T
    for shift in (0, 1, 7):
        assert similarity.diagonal(shift).std() < 1e-4  # depends on the distance alone
