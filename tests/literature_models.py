"""What the tests of the literature's checks share: the eight prompts as a batch, and the notebooks' random tokens."""

import torch

from interp import literature
from interp.literature import prompts


def batches(model):
    """The eight prompts and their corruptions [8 15], and the ids of the right and of the other name [8]."""
    pairs = prompts.eight_pairs(model)
    bos = model.tokenizer.bos_id
    clean, corrupted = (torch.tensor([[bos, *getattr(pair, side).ids] for pair in pairs]) for side in ("clean", "corrupted"))
    return clean, corrupted, *(torch.tensor([getattr(pair, side)[0] for pair in pairs]) for side in ("correct", "wrong"))


def difference(logits, right, wrong):
    """The mean logit difference behind the last tokens."""
    rows = torch.arange(len(logits))
    return (logits[rows, -1, right] - logits[rows, -1, wrong]).mean().item()


def measured(id, model):
    """What a check measures."""
    return literature.BY_ID[id].measure(model)


def repeated():
    """The notebooks' random tokens, twice."""
    torch.manual_seed(0)
    return torch.randint(100, 20000, (2, 100)).repeat(1, 2)
