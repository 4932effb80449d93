"""Checks of single heads read from their weights alone, through the vocabulary: what a head does to the word that it attends to.

Both papers read a word not from its embedding but from what the first MLP makes of it, MLP_0(W_E) (with tied weights the
embedding itself is half taken up by being an output). Here that is the output of the first MLP on ln_2(W_E), nothing from the
first attention layer; the papers' code differs in such details, and the numbers with it, which is why the bounds are wide.

    OV  W_U W_OV MLP_0(W_E)      what attending to a word does to every word's logit
    QK  W_U W_QK MLP_0(W_E)      how much a head that is about to hear a word predicted looks at every word

Copy suppression: L10H7 looks for the word that is about to be predicted (QK diagonal largest in its row) and lowers the word
that it looks at (OV diagonal among the ten lowest of its column). Successor heads: L9H1 raises the next member of an ordered
series above all others of the series. Weights only: whether the head is used so in running text is another question, so what of a
head's effect on text this explains (76.9 % for L10H7, on OpenWebText) is not measured here.

Sources: McDougall et al. 2023, 2310.04625, section 3.1; Gould et al. 2023, 2312.09230, section 2.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gpt2_core.model import GPT2
from gpt2_core.tokenizer import Tokenizer
from interp.literature.attributions import mean_by_head
from interp.literature.check import Check, Measured, about, at_least
from interp.literature.prompts import has_paper_heads, listed, named, strongest
from interp.weights import HeadMatrices, embedding, head_matrices, unembedding

N_TOKENS, LOWEST, BATCH = 1000, 10, 128
SUPPRESSOR, SUCCESSOR = (10, 7), (9, 1)
SERIES = {  # name -> the words in order, and whether the first follows the last
    "numbers": ([str(i) for i in range(1, 201)], False),
    "number words": (
        "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen "
        "nineteen twenty".split(),
        False,
    ),
    "ordinal words": ("first second third fourth fifth sixth seventh eighth ninth tenth".split(), False),
    "days": ("Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split(), True),
    "days, short": ("Mon Tue Wed Thu Fri Sat Sun".split(), True),
    "months": ("January February March April May June July August September October November December".split(), True),
    "months, short": ("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), True),
    "letters": (list("ABCDEFGHIJKLMNOPQRSTUVWXYZ"), False),
}
Pairs = tuple[Int[Tensor, " pair"], Int[Tensor, " pair"]]  # token ids: a word, and the next of its series


@torch.no_grad()
def first_mlp(model: GPT2) -> Float[Tensor, "d_vocab d_model"]:
    """MLP_0(ln_2(W_E)), centred: what the first MLP makes of each token alone."""
    return embedding(model, first_mlp=True) - embedding(model)


@torch.no_grad()
def suppressed(words: Tensor, w: HeadMatrices, head: int, head_out: Tensor, tokens: Tensor) -> float:
    """The share of tokens that are among the LOWEST logits when the head attends to them alone (OV)."""
    found = 0
    for ids in tokens.split(BATCH):
        logits = words[ids] @ w.W_V[head] @ w.W_O[head] @ head_out
        found += int((logits.topk(LOWEST, largest=False).indices == ids[:, None].to(logits.device)).any(-1).sum())
    return found / len(tokens)


@torch.no_grad()
def looked_for(words: Tensor, w: HeadMatrices, head: int, head_out: Tensor, tokens: Tensor) -> float:
    """The share of tokens that the head looks at more than at any other token when they are about to be predicted (QK).

    The key of a word has the length that its LayerNorm gives it, the query is the word's column of the output head; no biases.
    """
    keys = torch.nn.functional.normalize(words, dim=-1) @ w.W_K[head]
    found = 0
    for ids in tokens.split(BATCH):
        queries = head_out[:, ids].T @ w.W_Q[head]
        found += int(((queries @ keys.T).argmax(-1) == ids.to(keys.device)).sum())
    return found / len(tokens)


def _suppression(model: GPT2) -> Measured:
    if has_paper_heads(model):
        layer, head = SUPPRESSOR
    else:
        layer, head = strongest(mean_by_head(model)[0], largest=False)[0]
    tokens = torch.randperm(model.config.d_vocab, generator=torch.Generator().manual_seed(0))[:N_TOKENS]
    given = (first_mlp(model), head_matrices(model, layer), head, unembedding(model), tokens)
    rows = {
        "lowers what it looks at (OV)": suppressed(*given),
        "looks for what is predicted (QK)": looked_for(*given),
    }
    return listed(rows, head=named([(layer, head)]))


def series_pairs(tokenizer: Tokenizer) -> dict[str, Pairs]:
    """The pairs of neighbours of each series in which both words are one token, with a blank in front."""
    found = {}
    for name, (words, cyclic) in SERIES.items():
        ids = [tokenizer.encode(f" {word}") for word in words]
        following = zip(ids, ids[1:] + (ids[:1] if cyclic else []))
        pairs = [(a[0], b[0]) for a, b in following if len(a) == len(b) == 1]
        if pairs:
            found[name] = tuple(torch.tensor(column) for column in zip(*pairs))
    return found


@torch.no_grad()
def succeeded(model: GPT2, pairs: dict[str, Pairs]) -> Iterator[Float[Tensor, "pair head"]]:
    """For each layer, 1 where a head raises a word's successor above all other successors of its series; series after series."""
    words, head_out = first_mlp(model), unembedding(model)
    for layer in range(model.config.n_layers):
        w = head_matrices(model, layer)
        rows = []
        for first, following in pairs.values():
            logits = torch.einsum("nd,hde,hef,fm->nhm", words[first], w.W_V, w.W_O, head_out[:, following])
            own = torch.arange(len(first), device=logits.device)
            rows.append((logits.argmax(-1) == own[:, None]).float().cpu())
        yield torch.cat(rows)


def _successor(model: GPT2) -> Measured:
    pairs = series_pairs(model.tokenizer)
    hits = torch.stack(list(succeeded(model, pairs)))  # [layer pair head]
    scores = hits.mean(1)
    best = strongest(scores)[0]
    layer, head = SUCCESSOR if has_paper_heads(model) else best
    rest = scores.clone()
    rest[layer, head] = -1
    rows = {"share of pairs": scores[layer, head].item(), "lead over the next head": (scores[layer, head] - rest.max()).item()}
    parts = hits[layer, :, head].split([len(first) for first, _ in pairs.values()])
    series = {f"series: {name}": part.mean().item() for name, part in zip(pairs, parts)}
    return listed(rows | series, head=named([(layer, head)]), strongest=named([best]))


CHECKS = (
    Check(
        "copy_suppression",
        "A head that lowers the word it looks at, and looks at the word about to be said",
        _suppression,
        "McDougall et al. 2023, 2310.04625",
        {
            ("lowers what it looks at (OV)", ""): about(0.847, 0.15),
            ("looks for what is predicted (QK)", ""): about(0.9572, 0.25),
        },
        lambda c: 2500,
        approximate=f"{N_TOKENS} words of the vocabulary instead of all, against all of it; not tried on the paper's weights",
    ),
    Check(
        "successor",
        "A head that raises the next of a series: Monday, Tuesday; one, two",
        _successor,
        "Gould et al. 2023, 2312.09230",
        {("share of pairs", ""): at_least(0.4), ("lead over the next head", ""): at_least(0)},
        lambda c: 2500,
        approximate="the paper names the head and plots its score; the limits are ours and were not tried on its weights",
    ),
)
