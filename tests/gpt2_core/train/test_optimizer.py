"""Which parameters decay, and moments that survive being saved."""

import torch
from train_helpers import TINY

from gpt2_core.train import recipe as recipes
from gpt2_core.train.initialise import new_model
from gpt2_core.train.optimizer import make_optimizer, moments, restore_moments

RECIPE = recipes.parse(TINY)


def updated(model, optimizer, seed):
    for p in model.parameters():
        p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(seed))
    optimizer.step()


def test_only_matrices_decay():
    model = new_model(RECIPE)
    names = {id(p): name for name, p in model.named_parameters()}
    with_decay, without = (
        {names[id(p)] for p in group["params"]} for group in make_optimizer(model, RECIPE.optimizer).param_groups
    )
    matrices = {f"h.{i}.{m}.weight" for i in range(2) for m in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")}
    assert with_decay == matrices | {"wte.weight"}
    assert with_decay | without == set(names.values()) and "wpe.weight" in without


def test_restored_moments_continue_bit_for_bit():
    a, b = new_model(RECIPE), new_model(RECIPE)
    first, second = make_optimizer(a, RECIPE.optimizer), make_optimizer(b, RECIPE.optimizer)
    for seed in range(3):
        updated(a, first, seed)
    b.load_state_dict(a.state_dict())
    restore_moments(second, b, {name: t.clone() for name, t in moments(first, a).items()}, 3)
    updated(a, first, 9)
    updated(b, second, 9)
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters()))
