"""The pair of prompts that is patched, and what is asked of it: which tokens, which answers, which metric, which way.

A pair is built in, taken from a template of `interp.prompt_sets`, or typed. What was typed goes before what was chosen. Everything
a sweep depends on is in one frozen `Question`, which is therefore the key of its result.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from app.service.lens import one_token
from app.service.view import View
from app.setting import Setting
from app.state import PageState
from gpt2_core.streaming import end_id
from interp import prompt_sets
from interp.edits import NO_EDITS, Plan
from interp.intervene import compile_plan
from interp.metrics import MetricFunction, answer_metric, kl
from interp.patching import token_pair

BUILT_IN, PAGE = "built_in", "page"
METRICS = ("logit_diff", "probability", "kl")
PAIR = Setting("patching.pair", BUILT_IN, one_of=(BUILT_IN, PAGE, *prompt_sets.SETS))
NUMBER = Setting("patching.number", 0, low=0, high=99)
CLEAN, CORRUPTED = Setting("patching.clean", ""), Setting("patching.corrupted", "")
METRIC = Setting("patching.metric", "logit_diff", one_of=METRICS)
ANSWER, OTHER = Setting("patching.answer", ""), Setting("patching.other", "")
MODE = Setting("patching.mode", "denoise", one_of=("denoise", "noise"))
SET_OPTIONS = {"induction": {"of": "words"}}  # random token ids need not come back when their text is read again


@dataclass(frozen=True)
class Pair:
    """Two prompts as texts. correct, wrong: token ids that may follow the clean one, () where the runs' own predictions are meant.
    measure: how the set that the pair is from compares answers, a name of `interp.metrics.METRICS`."""

    clean: str
    corrupted: str
    correct: tuple[int, ...] = ()
    wrong: tuple[int, ...] = ()
    measure: str = "logit_difference"


@dataclass(frozen=True)
class Question:
    """What a sweep is about. clean, corrupted: token ids of equal number, `<|endoftext|>` included. measure: a name of
    `interp.metrics.METRICS`, or "kl". correct, wrong: answers. plan: edits in force in every run."""

    model: str
    clean: tuple[int, ...]
    corrupted: tuple[int, ...]
    measure: str
    correct: tuple[int, ...]
    wrong: tuple[int, ...]
    mode: str
    plan: Plan
    bos: bool

    @property
    def first(self) -> int:
        """The first position at which the prompts differ."""
        return next(i for i, (a, b) in enumerate(zip(self.clean, self.corrupted)) if a != b)

    @property
    def last(self) -> int:
        """The last position at which they differ."""
        return max(i for i, (a, b) in enumerate(zip(self.clean, self.corrupted)) if a != b)

    @property
    def base(self) -> tuple[int, ...]:
        """The prompt that is run and patched."""
        return self.corrupted if self.mode == "denoise" else self.clean

    @property
    def source(self) -> tuple[int, ...]:
        """The prompt that the pieces come from."""
        return self.clean if self.mode == "denoise" else self.corrupted


# One token differs in each, and it decides the answer; measured on the models at hand.
EMBEDDED = (
    "When the old clock struck twelve, Captain Brown opened the door. Captain",
    "When the old clock struck twelve, Captain Smith opened the door. Captain",
    (" Brown", " Smith"),
)
RELEASED = (
    "When Mary and John went to the store, John gave a drink to",
    "When Mary and John went to the store, Mary gave a drink to",
    (" Mary", " John"),
)


def drawn(view: View, name: str, n: int) -> prompt_sets.PromptSet:
    """The first n pairs of a template, seed 0."""
    compute = lambda: prompt_sets.build(name, view.model.tokenizer, n, 0, **SET_OPTIONS.get(name, {}))  # noqa: E731
    return view.store.result((view.state.model, "patching pairs", name, n), compute)


def chosen_pair(view: View) -> Pair:
    """The pair that the menu names, before anything was typed."""
    name = PAIR.of(view.state)
    if name == PAGE:
        return Pair(view.state.prompt, view.state.prompt)
    tokenizer = view.model.tokenizer
    if name == BUILT_IN:
        clean, corrupted, answers = EMBEDDED if view.entry.state == "embedded" else RELEASED
        ids = [tokenizer.encode(answer) for answer in answers]
        both = ((ids[0][0],), (ids[1][0],)) if all(len(i) == 1 for i in ids) else ((), ())
        return Pair(clean, corrupted, *both)
    several = drawn(view, name, NUMBER.of(view.state) + 1)
    pair = several.pairs[-1]
    return Pair(pair.clean.text, pair.corrupted.text, pair.correct, pair.wrong, several.metric)


def pair_of(view: View) -> Pair:
    """The pair as shown: what was typed stands for what was chosen. A typed pair has no answers of its own."""
    chosen = chosen_pair(view)
    clean, corrupted = CLEAN.of(view.state) or chosen.clean, CORRUPTED.of(view.state) or chosen.corrupted
    if (clean, corrupted) == (chosen.clean, chosen.corrupted):
        return chosen
    return Pair(clean, corrupted)


def typed(view: View, setting: Setting, text: str) -> PageState:
    """The state in which a prompt of the pair is another text; the menu's own text is not written down."""
    chosen = chosen_pair(view)
    return setting.on(view.state, "" if text == (chosen.clean if setting is CLEAN else chosen.corrupted) else text)


def choose(state: PageState, name: str, number: int = 0) -> PageState:
    """The state with another pair of the menu; texts and answers of the last one are forgotten."""
    for setting, value in ((PAIR, name), (NUMBER, number), (CLEAN, ""), (CORRUPTED, ""), (ANSWER, ""), (OTHER, "")):
        state = setting.on(state, value)
    return state


def alignment(view: View) -> prompt_sets.Alignment:
    """The two prompts side by side, without `<|endoftext|>`."""
    pair = pair_of(view)
    return prompt_sets.length_match(view.model.tokenizer, pair.clean, pair.corrupted)


def question(view: View) -> Question:
    """What is asked. Raises ValueError where the prompts cannot be patched into each other, or an answer is not one token."""
    s, pair, model = view.state, pair_of(view), view.model
    ids = token_pair(model, pair.clean, pair.corrupted, s.bos)
    correct, wrong = answers(view, pair, tuple(map(tuple, ids)))
    metric = METRIC.of(s)
    return Question(
        model=s.model,
        clean=tuple(ids[0]),
        corrupted=tuple(ids[1]),
        measure={"logit_diff": pair.measure, "probability": "probability", "kl": "kl"}[metric],
        correct=correct,
        wrong=wrong,
        mode=MODE.of(s),
        plan=s.plan,
        bos=ids[0][0] == end_id(model),
    )


def answers(view: View, pair: Pair, ids: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(correct, wrong): what was typed, else `own_answers`. Raises NotOneToken for a text that is none or several."""
    named, tokenizer = [ANSWER.of(view.state), OTHER.of(view.state)], view.model.tokenizer
    correct, wrong = ((one_token(tokenizer, text),) if text else () for text in named)
    if correct and wrong:
        return correct, wrong
    own = own_answers(view, pair, ids)
    return correct or own[0], wrong or own[1]


def own_answers(view: View, pair: Pair, ids: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The pair's own answers, else what each run predicts without edits.

    Where both runs predict the same token, the other answer is the corrupted run's second choice.
    """
    if pair.correct and pair.wrong:
        return pair.correct, pair.wrong
    clean, corrupted = end_logits(view, ids, NO_EDITS)
    right = int(clean.argmax())
    return (right,), (next(i for i in corrupted.topk(2).indices.tolist() if i != right),)


def unnamed_answers(view: View) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """`own_answers` of the page's pair; None where its prompts do not match."""
    pair = pair_of(view)
    try:
        ids = token_pair(view.model, pair.clean, pair.corrupted, view.state.bos)
    except ValueError:
        return None
    return own_answers(view, pair, tuple(map(tuple, ids)))


def end_logits(view: View, ids: tuple[tuple[int, ...], ...], plan: Plan) -> tuple[Tensor, Tensor]:
    """The logits [d_vocab] at the last position of the clean and of the corrupted run."""

    @torch.no_grad()
    def compute() -> tuple[Tensor, Tensor]:
        hook = compile_plan(view.model, plan, ids[0][0] == end_id(view.model))
        logits = view.model(torch.tensor([list(row) for row in ids]), hook=hook, logits_at=-1)[:, 0].float()
        return logits[0], logits[1]

    return view.store.result((view.state.model, "patching ends", ids, plan), compute)


def metric_of(view: View, q: Question) -> MetricFunction:
    """The metric as a function of logits. KL compares with the clean run under the same edits."""
    if q.measure == "kl":
        return kl(end_logits(view, (q.clean, q.corrupted), q.plan)[0])
    return answer_metric(q.measure, [q.correct], [q.wrong or q.correct]).alone(0)


def ends(view: View, q: Question, plan: Plan) -> tuple[float, float]:
    """The metric of the clean and of the corrupted run under a plan; KL compares with the clean run of q's own."""
    clean, corrupted = end_logits(view, (q.clean, q.corrupted), plan)
    values = metric_of(view, q)(torch.stack([clean, corrupted]))
    return values[0].item(), values[1].item()


def problem(view: View) -> str:
    """Why nothing can be patched, in one sentence; "" where it can."""
    try:
        question(view)
    except ValueError as error:
        return str(error)
    return ""
