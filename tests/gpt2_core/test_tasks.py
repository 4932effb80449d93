"""The prompts are the paper's to the character, they fit, and candidates are compared by the right text."""

import math

import pytest
import torch
from helpers import random_model, tiny_config
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt2_core.tasks import TASKS, Choice, Part, fit, fit_choices, prompt_text
from gpt2_core.tasks.base import first_line, first_sentences, question_answer_pairs
from gpt2_core.tasks.choosing import pick, score_choices
from gpt2_core.tasks.finish import first_word
from gpt2_core.tasks.published import METRICS
from gpt2_core.tokenizer import Tokenizer

TOKENIZER = Tokenizer.load()
ALL_EXAMPLES = [(task, example) for task in TASKS.values() for example in task.examples]
EXAMPLE_IDS = [f"{task.name}-{example.name}" for task, example in ALL_EXAMPLES]


def prompt(task: str, **values: str) -> str:
    return prompt_text(TASKS[task].assemble(values))


def test_formats_are_the_papers():
    assert prompt("summarise", article="It rained.") == "It rained.\nTL;DR:"
    assert prompt("summarise", article="It rained.", hint="none") == "It rained."
    assert (
        prompt("translate_en_fr", pairs="Yes. = Oui.\nNo. = Non.", sentence="Thanks.") == "Yes. = Oui.\nNo. = Non.\nThanks. ="
    )
    assert prompt("translate_fr_en", pairs="Oui. = Yes.", sentence="Merci.") == "Oui. = Yes.\nMerci. ="
    assert prompt("answer", pairs="Q: a?\nA: b\nQ: c?\nA: d", question="e?") == "Q: a?\nA: b\nQ: c?\nA: d\nQ: e?\nA:"
    assert prompt("read", document="Tom sat.", history="Q: Who?\nA: Tom", question="Where?") == (
        "Tom sat.\n\nQ: Who?\nA: Tom\n\nQ: Where?\nA:"
    )
    assert prompt("read", document="Tom sat.", question="Who?") == "Tom sat.\n\nQ: Who?\nA:"
    assert prompt("finish", passage="He shut the ") == "He shut the"


def test_decoding_is_the_papers():
    summarise = TASKS["summarise"].decoding
    assert (summarise.top_k, summarise.max_new_tokens, summarise.temperature) == (2, 100, 1.0)
    for name in ("translate_en_fr", "translate_fr_en", "answer", "read", "finish"):
        assert TASKS[name].decoding.temperature == 0, f"{name} must be greedy"
    assert TASKS["resolve"].decoding is None and TASKS["choose"].decoding is None


def test_answers_are_cut_as_the_paper_says():
    four = 'One. Two by Mr. Hill! "Three?" Four.'
    assert TASKS["summarise"].postprocess(four) == 'One. Two by Mr. Hill! "Three?"'
    assert TASKS["translate_en_fr"].postprocess(" Bonjour. Au revoir.\nYes. =") == "Bonjour."
    assert TASKS["answer"].postprocess(" Paris\nQ: and") == "Paris"
    assert TASKS["finish"].postprocess(' door," he') == "door"
    assert first_sentences("no end", 3) == "no end" and first_sentences("", 3) == ""
    assert first_line("\n\n x \ny") == "x" and first_line("") == ""
    assert [first_word(text) for text in (" don't go", "--", " “Anne-Marie,”")] == ["don't", "", "Anne-Marie"]


@pytest.mark.parametrize(("task", "example"), ALL_EXAMPLES, ids=EXAMPLE_IDS)
def test_every_example_is_complete_fits_and_ends_without_a_space(task, example):
    parts = task.assemble(example.values)
    text = prompt_text(parts)
    assert text and not text.endswith(" ")
    new = task.decoding.max_new_tokens if task.decoding else 0
    assert fit(parts, TOKENIZER, n_ctx=1024, max_new_tokens=new).notice is None
    if task.list_choices:
        choices = task.choices(example.values)
        assert example.answer in [choice.name for choice in choices]
        assert choices[0].text == text
        for choice in choices:
            assert not choice.prefix.endswith(" ")
            joined = TOKENIZER.encode(choice.prefix) + TOKENIZER.encode(choice.scored)
            assert joined == TOKENIZER.encode(choice.text), "the scored text must begin where a token begins"


def test_every_task_has_examples_for_both_kinds_of_model_and_known_metrics():
    for task in TASKS.values():
        assert {example.suits for example in task.examples} == {"released", "books"}, task.name
        assert len({example.name for example in task.examples}) == len(task.examples) >= 3
        assert set(task.metrics) <= set(METRICS) and task.metrics


@given(st.text(max_size=80), st.text(max_size=40))
@settings(max_examples=100, deadline=None)
def test_user_text_reaches_the_prompt_unchanged_but_for_outer_space(article, question):
    def unified(text: str) -> str:
        return text.replace("\r\n", "\n").replace("\r", "\n").strip()

    if not unified(article) or not unified(question) or "\n" in unified(question):
        return
    assert prompt("summarise", article=article) == unified(article) + "\nTL;DR:"
    assert prompt("read", document=article, question=question) == f"{unified(article)}\n\nQ: {unified(question)}\nA:"


WRONG = [
    ("summarise", {"article": " "}, "article of summarise is empty"),
    ("summarise", {"article": "x", "hints": "y"}, "no field 'hints'"),
    ("summarise", {"article": "x", "hint": "please"}, "must be one of TL;DR:, none"),
    ("finish", {"passage": "x" * 8001}, "8001 characters"),
    ("answer", {"pairs": "Q: a\nA: b", "question": "a\nb"}, "must be one line"),
    ("answer", {"pairs": "A: a", "question": "b"}, "Line 1 of the examples"),
    ("answer", {"pairs": "Q: a", "question": "b"}, "has no answer"),
    ("translate_en_fr", {"pairs": "Yes = Oui\nNo: Non", "sentence": "x"}, "Line 2 of the pairs is 'No: Non'"),
    ("resolve", {"sentence": "He ran.", "candidate_a": "a", "candidate_b": "b"}, "0 words in [square brackets]"),
    ("resolve", {"sentence": "I saw [it]", "candidate_a": "a", "candidate_b": "b"}, "Nothing follows"),
    ("choose", {"sentence": "No gap.", "candidates": "a\nb"}, "XXXXX exactly once"),
    ("choose", {"sentence": "A XXXXX.", "candidates": "a"}, "at least two different words"),
]


@pytest.mark.parametrize(("task", "values", "message"), WRONG)
def test_bad_values_are_refused_in_one_sentence(task, values, message):
    with pytest.raises(ValueError) as error:
        TASKS[task].assemble(values)
    assert message in str(error.value)


def test_same_candidate_twice_and_choices_of_a_writing_task_are_refused():
    with pytest.raises(ValueError, match="two different ones"):
        TASKS["resolve"].choices({"sentence": "See [it] go.", "candidate_a": "x", "candidate_b": "x"})
    with pytest.raises(ValueError, match="compares no candidates"):
        TASKS["finish"].choices({"passage": "x"})


def test_winograd_partial_and_full():
    values = {"sentence": "The cup broke when [it] fell.", "candidate_a": "the cup", "candidate_b": "the shelf"}
    partial = TASKS["resolve"].choices(values)
    assert partial[1] == Choice("the shelf", "The cup broke when the shelf", " fell.")
    assert len({choice.scored for choice in partial}) == 1, "partial scoring scores the same words for both"
    full = TASKS["resolve"].choices({**values, "scoring": "full"})
    assert full[0] == Choice("the cup", "", "The cup broke when the cup fell.")
    start = TASKS["resolve"].choices({**values, "sentence": "[It] fell from the shelf."})
    assert start[0] == Choice("the cup", "The cup", " fell from the shelf.")


def test_cloze_scores_the_candidate_and_the_rest():
    choices = TASKS["choose"].choices({"context": "A dog ran.", "sentence": "The XXXXX barked.", "candidates": "dog, cat"})
    assert choices[0] == Choice("dog", "A dog ran. The", " dog barked.")
    assert choices[1] == Choice("cat", "A dog ran. The", " cat barked.")
    alone = TASKS["choose"].choices({"sentence": "XXXXX barked.", "candidates": "Dogs\nCats"})
    assert alone[0] == Choice("Dogs", "", "Dogs barked.")


@given(st.integers(0, 400), st.integers(30, 120), st.integers(0, 10), st.booleans())
@settings(max_examples=60, deadline=None)
def test_fitted_prompts_fit_and_keep_the_question(words, n_ctx, new, bos):
    article = " ".join(f"word{i % 7}" for i in range(words + 1))
    parts = TASKS["read"].assemble({"document": article, "history": "Q: a\nA: b", "question": "Where is it?"})
    fitted = fit(parts, TOKENIZER, n_ctx, new, bos=bos)
    assert fitted.n_tokens == len(TOKENIZER.encode(fitted.prompt)) <= n_ctx - new - bos
    assert prompt_text(parts).endswith(fitted.prompt), "only the beginning is dropped"
    assert fitted.prompt.endswith("Q: Where is it?\nA:")
    assert (fitted.notice is None) == (fitted.prompt == prompt_text(parts))


def test_the_cut_is_at_a_word_and_as_small_as_possible():
    parts = TASKS["summarise"].assemble({"article": " ".join(["tree"] * 50)})
    whole = len(TOKENIZER.encode(prompt_text(parts)))
    fitted = fit(parts, TOKENIZER, n_ctx=whole + 10 - 7, max_new_tokens=10, bos=False)
    assert fitted.prompt.startswith("tree tree") and fitted.n_tokens >= whole - 9
    assert fitted.notice.shortened == "article" and fitted.notice.tokens_before == whole
    assert fitted.notice.characters == len(prompt_text(parts)) - len(fitted.prompt)


def test_text_without_spaces_is_cut_inside_and_examples_go_whole():
    fitted = fit((Part("article", "가" * 300, "context"), Part("cue", "\nTL;DR:", "cue")), TOKENIZER, 60, 20)
    assert 10 < fitted.n_tokens <= 39 and set(fitted.parts[0].text) == {"가"}
    pairs = "\n".join(f"Q: question {i}\nA: answer {i}" for i in range(20))
    fitted = fit(TASKS["answer"].assemble({"pairs": pairs, "question": "last"}), TOKENIZER, 64, 16)
    kept = question_answer_pairs(fitted.prompt.removesuffix("Q: last\nA:"))
    assert kept[-1] == ("question 19", "answer 19") and len(kept) + len(fitted.notice.dropped) == 20


def test_a_question_that_is_too_long_is_refused():
    with pytest.raises(ValueError, match="The question alone has .* tokens"):
        fit((Part("question", "word " * 50 + "end", "question"),), TOKENIZER, 40, 10)


def test_fitted_choices_keep_equal_prefixes_equal():
    long = TASKS["choose"].choices(
        {"context": "one two " * 100, "sentence": "The XXXXX barked.", "candidates": "dog\nwild geese"}
    )
    fitted = fit_choices(long, TOKENIZER, 50)
    assert len({choice.prefix for choice in fitted.choices}) == 1
    assert max(len(TOKENIZER.encode(choice.text)) for choice in fitted.choices) <= 49
    assert [choice.scored for choice in fitted.choices] == [choice.scored for choice in long]
    assert fitted.notice.characters > 0
    with pytest.raises(ValueError, match="at most 3 fit"):
        fit_choices(long, TOKENIZER, 4)


@given(st.lists(st.floats(-1e6, 0), min_size=1, max_size=10))
def test_pick_takes_the_first_largest(logprobs):
    index = pick(logprobs)
    assert logprobs[index] == max(logprobs) and logprobs[index] not in logprobs[:index]


def test_pick_refuses_nothing_and_nan():
    with pytest.raises(ValueError, match="no candidate"):
        pick([])
    with pytest.raises(ValueError, match="not a number"):
        pick([-1.0, math.nan])


def test_a_shared_prefix_gives_what_each_candidate_gives_alone_and_edits_count():
    model = random_model(tiny_config(), tokenizer=TOKENIZER)
    choices = TASKS["choose"].choices(
        {"context": "A dog ran.", "sentence": "The XXXXX barked.", "candidates": "dog, wild geese"}
    )
    together = score_choices(model, choices)
    for choice, score in zip(choices, together.scores):
        alone = score_choices(model, [choice]).scores[0]
        assert score.tokens == alone.tokens == tuple(TOKENIZER.encode(choice.scored))
        assert score.token_logprobs == pytest.approx(alone.token_logprobs, abs=1e-4)

    def silence(name, tensor):
        return torch.zeros_like(tensor) if name == "blocks.0.hook_mlp_out" else None

    edited = score_choices(model, choices, hook=silence)
    assert abs(edited.scores[0].logprob - together.scores[0].logprob) > 1e-3


@pytest.mark.parametrize("scoring", ["partial", "full"])
def test_scores_are_sums_of_the_models_own_logprobs(scoring):
    model = random_model(tiny_config(), tokenizer=TOKENIZER)
    values = {"sentence": "The cup broke when [it] fell.", "candidate_a": "the cup", "candidate_b": "the shelf"}
    choices = TASKS["resolve"].choices({**values, "scoring": scoring})
    result = score_choices(model, choices)
    for choice, score in zip(choices, result.scores):
        ids = [TOKENIZER.bos_id, *TOKENIZER.encode(choice.text)]
        start = 1 + len(TOKENIZER.encode(choice.prefix))
        with torch.no_grad():
            table = model(torch.tensor([ids]))[0].log_softmax(-1)
        expected = sum(float(table[i - 1, ids[i]]) for i in range(start, len(ids)))
        assert score.logprob == pytest.approx(expected, abs=1e-4)
    assert result.picked == pick([score.logprob for score in result.scores])
    assert result.answer == choices[result.picked].name and sum(result.shares) == pytest.approx(1)
    if scoring == "full":
        with pytest.raises(ValueError, match="bos=True"):
            score_choices(model, choices, bos=False)
