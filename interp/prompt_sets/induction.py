"""Induction: a random sequence, and its beginning once more: "... A B ... A" -> " B".

Nothing but the repetition can be known. Clean and corrupted prompts differ in the one token that followed the cue the first
time, so each prompt's answer is the other's wrong one. With of="tokens" the sequence is of random token ids, as in
`interp.heads.scores`; with of="words" it is of common words, which reads better and is closer to text.

Source: Olsson et al. 2022, 2209.11895; Elhage et al. 2021.
"""

from random import Random

from gpt2_core.tokenizer import Tokenizer
from interp.prompt_sets.pairs import Prompt, PromptPair, PromptSet, draw, single_tokens

SOURCE = "Olsson et al. 2022, 2209.11895"
CORRUPTION = "another token follows the cue in the first copy"
LOWEST, HIGHEST = 100, 20000  # ids of ordinary tokens, neither single bytes nor the rarest
KINDS = ("tokens", "words")
WORDS = (
    "apple arm army art back ball bank base bed bell bird blood boat body bone book box boy bread bridge brown cake car cat chair "
    "child city clock cloud coat coffee color corn cow cup day desk dog door dress dust ear earth egg eye face farm field fire fish "
    "floor flower foot forest friend garden girl glass gold grass gray green hair hall hand hat heart hill horse house ice iron "
    "island key king knife lake lamp land leaf leg letter light lion list lock man map meat milk money moon mother mountain mouth "
    "music name neck night nose oil orange page paint paper park pen picture plant plate pool queen rain river road rock roof room "
    "rope rose salt sand school sea seed sheep ship shirt shoe silver sister sky snow song star stone street sugar summer sun table "
    "tail tea tooth tower town train tree wall war watch water wheel wind window wine wing winter wood wool"
).split()


def build(tokenizer: Tokenizer, n: int = 100, seed: int = 0, length: int = 10, of: str = "tokens") -> PromptSet:
    """n pairs of `length` different tokens and the first of them again, up to a cue drawn anew for each pair.

    Random tokens need not come back when their text is encoded again: run the ids. Positions: A the cue's first place, B the token
    after it, END the cue again. Prompts have length + 1 up to 2 length - 1 tokens as the cue is the first or later; the metric is
    the logit difference of the two followers.
    """
    if of not in KINDS or length < 3:
        raise ValueError(f"Induction is of {' or '.join(KINDS)} and of 3 tokens or more, got of={of!r}, length={length}.")
    pool = _pool(tokenizer, of)
    if len(pool) <= length:
        raise ValueError(
            f"There are {len(pool)} {of} to draw from and {length + 1} different ones are needed; shorten the length."
        )

    def make(random: Random, index: int) -> PromptPair:
        *once, other = random.sample(pool, length + 1)
        cue = random.randrange(length - 1)
        spans = {"A": (cue, cue + 1), "B": (cue + 1, cue + 2), "END": (length + cue, length + cue + 1)}
        clean = [*once, *once[: cue + 1]]
        corrupted = [*clean[: cue + 1], other, *clean[cue + 2 :]]
        prompts = (Prompt(tokenizer.decode(ids), tuple(ids), spans) for ids in (clean, corrupted))
        return PromptPair(*prompts, (once[cue + 1],), (other,), f"cue {cue}")

    pairs = draw(make, n, seed, "induction")
    return PromptSet("induction", pairs, "logit_difference", SOURCE, CORRUPTION, seed, tokenizer.bos_id)


def _pool(tokenizer: Tokenizer, of: str) -> tuple[int, ...]:
    if of == "words":
        return tuple(single_tokens(tokenizer, WORDS).values())
    low = LOWEST if tokenizer.n_vocab > 2 * LOWEST else 0
    return tuple(range(low, min(HIGHEST, tokenizer.n_vocab)))
