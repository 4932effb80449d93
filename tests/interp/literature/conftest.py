"""A random model with GPT-2's tokenizer: every measure is held to its definition on it, right before anyone has GPT-2's weights."""

import pytest
import torch
from helpers import random_model, tiny_config

from gpt2_core import load
from interp.folding import fold


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def model():
    tokenizer = load("glass-2m").tokenizer
    return random_model(tiny_config(n_layers=3, n_heads=3, d_model=24, n_ctx=256), seed=1, tokenizer=tokenizer)


@pytest.fixture(scope="module")
def folded(model):
    return fold(model)
