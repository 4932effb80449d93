"""The prompts that the notebooks and papers used, and how results over several of them are put together.

The eight sentences come in pairs that are each other's corruption. So over all eight the mean logit difference of the corrupted
prompts is exactly the negative of the clean ones', and whatever prefers one name to another by itself (the bias of the output
head, what a head adds without reading anything) cancels in the mean. Single prompts keep these.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gpt2_core.config import GPT2Config
from gpt2_core.model import GPT2
from interp.edits import NO_EDITS, Plan
from interp.literature.check import Measured
from interp.prompt_sets.ioi import eight
from interp.prompt_sets.pairs import PromptPair
from interp.run import Run, trace
from interp.targets import Target, logit

SHOPS = "When John and Mary went to the shops, John gave the bag to"
MILK = "After John and Mary went to the store, John gave a bottle of milk to"
MILK_BY_MARY = "After John and Mary went to the store, Mary gave a bottle of milk to"
DRINK = "When Mary and John went to the store, John gave a drink to"
DRINK_BY_MARY = "When Mary and John went to the store, Mary gave a drink to"
GREETING = "Hello world!"
CHUNK = 50  # prompts at a time
ABSTRACT = (  # the first sentence of Radford et al. 2019, as the notebook has it
    "Natural language processing tasks, such as question answering, machine translation, reading comprehension, and "
    "summarization, are typically approached with supervised learning on taskspecific datasets."
)


def eight_pairs(model: GPT2) -> tuple[PromptPair, ...]:
    """The eight prompts, each with its corruption and its two answers."""
    return eight(model.tokenizer).pairs


def eight_runs(model: GPT2, plan: Plan = NO_EDITS) -> list[tuple[Run, Target]]:
    """A run of each of the eight prompts, `<|endoftext|>` in front, and its logit difference as a target."""
    return [(trace(model, list(pair.clean.ids), plan), difference(model, pair)) for pair in eight_pairs(model)]


def difference(model: GPT2, pair: PromptPair) -> Target:
    """The logit of the name that is right less that of the other."""
    return logit(model, pair.correct[0], minus=pair.wrong[0])


@torch.no_grad()
def last_logits(model: GPT2, tokens: Int[Tensor, "prompt pos"]) -> Float[Tensor, "prompt d_vocab"]:
    """The logits behind the last token of each prompt."""
    return torch.cat([model(rows, logits_at=-1)[:, 0].float().cpu() for rows in tokens.split(CHUNK)])


def unread(config: GPT2Config, tokens: int) -> int:
    """What tokens cost whose logits are not asked for, in tokens of a whole forward pass: the layers' share of its products."""
    layers, head = 12 * config.n_layers * config.d_model**2, config.d_model * config.d_vocab
    return round(tokens * layers / (layers + head))


def listed(values: dict[str, float], unit: str = "", **facts: str) -> Measured:
    """Named numbers."""
    return Measured(torch.tensor(list(values.values()), dtype=torch.float64)[:, None], tuple(values), unit=unit, facts=facts)


def layers_by_heads(values: Float[Tensor, "layer head"], unit: str = "", **facts: str) -> Measured:
    """A table of heads."""
    rows, columns = (tuple(f"{letter}{i}" for i in range(n)) for letter, n in zip("LH", values.shape))
    return Measured(values.double().cpu(), rows, columns, ("layer", "head"), unit, facts)


def layers_by_positions(values: Float[Tensor, "layer pos"], unit: str = "", **facts: str) -> Measured:
    """A table of positions, counted from `<|endoftext|>`."""
    rows, columns = tuple(f"L{i}" for i in range(values.shape[0])), tuple(map(str, range(values.shape[1])))
    return Measured(values.double().cpu(), rows, columns, ("layer", "pos"), unit, facts)


def has_paper_heads(model: GPT2) -> bool:
    """Whether the model has GPT-2 small's 12 layers of 12 heads, so that a head's name may mean the head of the paper."""
    return (model.config.n_layers, model.config.n_heads) == (12, 12)


def strongest(table: Float[Tensor, "layer head"], n: int = 1, largest: bool = True) -> list[tuple[int, int]]:
    """(layer, head) of the n largest (or smallest) values."""
    chosen = table.flatten().topk(n, largest=largest).indices.tolist()
    return [divmod(i, table.shape[1]) for i in chosen]


def named(heads: list[tuple[int, int]]) -> str:
    """L9H9, L9H6."""
    return ", ".join(f"L{layer}H{head}" for layer, head in heads)
