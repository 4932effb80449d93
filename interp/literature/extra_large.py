"""Checks of GPT-2 XL: where it recalls a fact, and how adding Love - Hate turns what it says.

On every other model the same analyses run, with the layers at the same relative depth, and nothing is expected of them.

`recall` is causal tracing (`interp.tracing`) of facts of ours: noise on the subject, then what the MLPs (or attention) of a window of
layers wrote, restored at the subject's last token. As in the paper's code a fact counts if the model knows it, that is, if the
answer is its first choice, and `<|endoftext|>` does not stand in front; a model that knows none of them is traced for its own first
choices. The shares are ratios of means over facts: 6.6 (1.6) points of the 18.6 that noise took away, in the paper.

`love_hate` is a number of ours for a demonstration that has none: how far the preference for loving over hating words moves, after
"I hate you because you are", and how far that for the paper's own loving over its own hating continuation.

Sources: Meng et al. 2022, 2202.05262, section 2.2; Turner et al. 2023, 2308.10248.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from gpt2_core.config import GPT2Config
from gpt2_core.hooks import HookFunction
from gpt2_core.model import GPT2
from interp.literature.check import Check, Measured, about, at_least
from interp.literature.prompts import listed
from interp.prompt_sets.pairs import Prompt, place, single_tokens
from interp.steering import AddContrast, contrast, steering_hook
from interp.tracing import draw_noise, embedding_sigma, probability_of, trace_steps

FACTS = (  # subject, the rest of the prompt, what follows
    ("The Space Needle", " is in downtown", "Seattle"),
    ("The Eiffel Tower", " is located in the city of", "Paris"),
    ("Megan Rapinoe", " plays the sport of", "soccer"),
    ("Michael Jordan", " plays the sport of", "basketball"),
    ("Steve Jobs", " was the founder of", "Apple"),
    ("Bill Gates", " was the founder of", "Microsoft"),
)
SAMPLES, DEPTH, WINDOW = 5, 48, 10  # noise samples; layers of XL, and how many of them are restored together
LAYER, COEFFICIENT = 6, 5
TOO_LITTLE = 1e-4
PROMPT = "I hate you because"
CONTINUED = (" you are so beautiful and I want to be with you forever.", " you are the most disgusting thing I have ever seen.")
LOVING = "beautiful kind wonderful sweet lovely caring amazing gentle loving brave perfect special".split()
HATING = "disgusting stupid ugly evil cruel selfish weak horrible lazy dumb terrible worthless".split()


def depth_of(config: GPT2Config, layer: int) -> int:
    """A layer of XL, or a number of layers, at this model's depth; at least 1."""
    return max(1, round(layer * config.n_layers / DEPTH))


def _prompts(model: GPT2) -> list[Prompt]:
    return [place(model.tokenizer, f"{{SUBJECT}}{rest}", {"SUBJECT": subject}) for subject, rest, _ in FACTS]


@torch.no_grad()
def traced_answers(model: GPT2) -> tuple[list[tuple[Prompt, int]], int]:
    """(prompt, token to trace) of the facts that the model knows, and how many; its own first choices if it knows none."""
    prompts = _prompts(model)
    chosen = [int(model(torch.tensor([prompt.ids]), logits_at=-1)[0, 0].argmax()) for prompt in prompts]
    right = [model.tokenizer.encode(f" {answer}")[0] for _, _, answer in FACTS]
    known = [(prompt, own) for prompt, own, answer in zip(prompts, chosen, right) if own == answer]
    return known or list(zip(prompts, chosen)), len(known)


def _recall(model: GPT2) -> Measured:
    facts, known = traced_answers(model)
    sigma = embedding_sigma(model, [id for prompt in _prompts(model) for id in prompt.ids[: prompt.spans["SUBJECT"][1]]])
    found = {component: _effects(model, facts, component, sigma) for component in ("mlp_out", "attn_out")}
    lost, mlp = found["mlp_out"]
    attention = found["attn_out"][1]
    if lost < TOO_LITTLE:
        raise ValueError(f"Noise on the subjects takes {lost:.1e} of probability from this model's answers; there is nothing to restore.")  # fmt: skip
    rows = {
        "restored by MLPs, subject": (mlp[:, 0].max() / lost).item(),
        "restored by attention, subject": (attention[:, 0].max() / lost).item(),
        "restored by attention, last token": (attention[:, 1].max() / lost).item(),
        "depth of the strongest MLPs": mlp[:, 0].argmax().item() / (len(mlp) - 1),
        "probability lost to noise": lost,
    }
    return listed(rows, known=f"{known} / {len(FACTS)}", window=str(depth_of(model.config, WINDOW)))


def _effects(
    model: GPT2, facts: list[tuple[Prompt, int]], component: str, sigma: float
) -> tuple[float, Float[Tensor, "layer site"]]:
    """(mean probability lost to noise, mean indirect effect): at the subject's last token, and at the last token."""
    lost, effect = 0.0, torch.zeros(model.config.n_layers, 2)
    for prompt, answer in facts:
        subject = prompt.spans["SUBJECT"]
        sites = (subject[1] - 1, len(prompt.ids) - 1)
        noise = draw_noise(model, subject[1] - subject[0], SAMPLES, sigma=sigma)
        window, metric = depth_of(model.config, WINDOW), probability_of(answer)
        ids = torch.tensor(prompt.ids)
        for step in trace_steps(model, ids, subject, metric, component, window, noise, bos=False, positions=sites):
            for position, values in zip(step.positions, step.values):
                effect[step.layer, sites.index(position)] += (values.mean() - step.corrupted.mean()).cpu() / len(facts)
        lost += (step.clean - step.corrupted.mean().item()) / len(facts)
    return lost, effect


@torch.no_grad()
def preference(model: GPT2, hook: HookFunction | None) -> tuple[float, float]:
    """(words, continuations): by how much loving is likelier than hating, in nats: a word each, a token of the continuation each."""
    ids = model.to_tokens(PROMPT + " you are")
    logprobs = model(ids, hook=hook, logits_at=-1)[0, 0].double().log_softmax(-1).cpu()
    words = [logprobs[list(single_tokens(model.tokenizer, some).values())].mean().item() for some in (LOVING, HATING)]
    texts = [_per_token(model, text, hook) for text in CONTINUED]
    return words[0] - words[1], texts[0] - texts[1]


def _per_token(model: GPT2, continued: str, hook: HookFunction | None) -> float:
    """The mean log-probability of a token of the continuation."""
    start, ids = len(model.to_tokens(PROMPT)[0]), model.to_tokens(PROMPT + continued)
    logprobs = model(ids, hook=hook)[0, start - 1 : -1].double().log_softmax(-1)
    return logprobs.gather(-1, ids[0, start:, None]).mean().item()


def _love_hate(model: GPT2) -> Measured:
    layer = min(depth_of(model.config, LAYER), model.config.n_layers - 1)
    hook = steering_hook(model, [AddContrast(contrast(model, "Love", "Hate", layer), COEFFICIENT)], bos=True)
    before, after = preference(model, None), preference(model, hook)
    rows = {
        "words moved by": after[0] - before[0],
        "continuations moved by, per token": after[1] - before[1],
        "loving over hating words": before[0],
        "the same, Love - Hate added": after[0],
    }
    return listed(rows, "nats", layer=str(layer), prompt=PROMPT)


def _tracing_cost(config: GPT2Config) -> int:
    return len(FACTS) * 2 * config.n_layers * 2 * SAMPLES * 9 // 2


CHECKS = (
    Check(
        "love_hate",
        "Love - Hate, added to the first words, turns what follows",
        _love_hate,
        "Turner et al. 2023, 2308.10248",
        {("words moved by", ""): at_least(0), ("continuations moved by, per token", ""): at_least(0)},
        lambda c: 120,
        of="gpt2-xl",
        approximate="the paper shows texts; the numbers and the limit 0 are ours and were not tried on its weights",
    ),
    Check(
        "recall",
        "Where a fact is recalled: MLPs of early and middle layers at the subject's last token",
        _recall,
        "Meng et al. 2022, 2202.05262",
        {
            ("restored by MLPs, subject", ""): about(0.355, 0.25),
            ("restored by attention, subject", ""): about(0.086, 0.2),
            ("depth of the strongest MLPs", ""): about(0.35, 0.25),
        },
        _tracing_cost,
        of="gpt2-xl",
        approximate=f"{len(FACTS)} facts of ours and {SAMPLES} noise samples, the paper has 1000 and 10; not tried on its weights",
    ),
)
