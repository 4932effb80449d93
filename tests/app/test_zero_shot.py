"""The zero-shot tab: prompts as assembled, answers and candidates against direct calls."""

import math
import re

import pytest

from app.components.model_columns import Bar, Bars, ModelColumn, model_columns_value
from app.components.prompt_parts import PromptPart, marked, prompt_parts_value
from app.service import zero_shot as service
from app.service import zero_shot_choice as choice
from app.service.view import View
from app.state import PageState
from app.tabs import zero_shot as tab
from app.tabs.zero_shot_answers import columns_value, notice_text, part_labels
from app.text import words
from gpt2_core.config import GPT2Config
from gpt2_core.continuation import logprob_of
from gpt2_core.generate import generate
from gpt2_core.tasks import TASKS
from interp.edits import Edit, Plan
from interp.intervene import compile_plan

NAME = "glass-7m"
T = words("en")


def view_of(store, **changes) -> View:
    return View(store, PageState(model=NAME, prompt="x", tab="zero_shot", **changes))


def books(task):
    return choice.full_values(task, choice.first_example(task, "books").values)


def last(view, run, task, values):
    return list(service.outcomes(view, run, task, values))[-1]


# ---- prompts --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "values", "prompt"),
    [
        ("summarise", {"article": "One. Two.", "hint": "TL;DR:"}, "One. Two.\nTL;DR:"),
        ("summarise", {"article": "One. Two.", "hint": "none"}, "One. Two."),
        ("translate_en_fr", {"pairs": "a b = c d\ne = f", "sentence": "g"}, "a b = c d\ne = f\ng ="),
        ("answer", {"pairs": "Q: a\nA: b", "question": "c"}, "Q: a\nA: b\nQ: c\nA:"),
        ("read", {"document": "S.", "history": "", "question": "c"}, "S.\n\nQ: c\nA:"),
        ("read", {"document": "S.", "history": "Q: a\nA: b", "question": "c"}, "S.\n\nQ: a\nA: b\n\nQ: c\nA:"),
        ("resolve", {"sentence": "[it] was cold.", "candidate_a": "the cup", "candidate_b": "x"}, "The cup was cold."),
        ("choose", {"context": "C.", "sentence": "the XXXXX ran", "candidates": "a\nb"}, "C. the a ran"),
    ],
)
def test_the_prompt_is_exactly_the_papers_format(store, task, values, prompt):
    assembled = service.assemble(store.model(NAME), True, TASKS[task], values)
    assert assembled.prompt == prompt == "".join(part.text for part in assembled.parts)
    assert assembled.n_tokens == len(store.model(NAME).tokenizer.encode(prompt)) and assembled.notice is None


def test_the_counted_parts_are_those_of_the_scored_text(store):
    model, values = store.model(NAME), books(TASKS["resolve"])
    for scoring, counted in (("partial", (False, False, True)), ("full", (True, True, True))):
        assert service.assemble(model, True, TASKS["resolve"], {**values, "scoring": scoring}).counted == counted
    assert service.assemble(model, True, TASKS["choose"], books(TASKS["choose"])).counted == (False, False, True, True)


def test_too_long_a_prompt_is_cut_from_the_left_and_says_so(store):
    model = store.model(NAME)
    article = "word " * 3000
    assembled = service.assemble(model, True, TASKS["summarise"], {"article": article})
    assert assembled.prompt.endswith("word\nTL;DR:") and assembled.n_tokens + 100 + 1 <= model.config.n_ctx
    said = notice_text(T, assembled.notice)
    assert "article" in said and f"{len(article.strip()) - len(assembled.parts[0].text):,}" in said
    passage = {"context": "word " * 2000, "sentence": "The XXXXX ran.", "candidates": "dog\ncat"}
    cut = service.assemble(model, True, TASKS["choose"], passage)
    assert cut.prompt.endswith("word The dog ran.") and cut.n_tokens <= model.config.n_ctx and cut.notice is not None


@pytest.mark.parametrize("text", ["", " a  b \n\n c", "\tx", "plain words", "a\n b", "   "])
def test_marked_runs_add_up_to_the_text(text):
    runs = marked(text)
    assert "".join(run for run, _ in runs) == text
    assert all(mark or not re.search(r"\n|\t|  ", run) for run, mark in runs)


def test_a_part_of_an_unknown_kind_and_a_bar_outside_its_axis_are_refused():
    with pytest.raises(ValueError, match="context"):
        prompt_parts_value([PromptPart("a", "other", "x")], label="", kinds={})
    with pytest.raises(ValueError, match="0..1"):
        model_columns_value([ModelColumn("m", blocks=[Bars("b", [Bar("a", 1.2, "")])])], label="")


def test_parts_that_repeat_are_numbered():
    parts = TASKS["answer"].assemble(books(TASKS["answer"]))
    assert part_labels(T, parts) == ["example 1", "example 2", "example 3", "question", "answer cue"]


# ---- answers and candidates --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["finish", "answer", "translate_fr_en"])
def test_an_answer_is_what_generate_gives_with_the_papers_decoding(store, name):
    task, view = TASKS[name], view_of(store)
    (run,) = service.task_runs(view, [NAME])
    answer = last(view, run, task, books(task))
    prompt = service.assemble(store.model(NAME), True, task, books(task)).prompt
    how = task.decoding
    direct = generate(store.model(NAME), prompt, max_new_tokens=how.max_new_tokens, stop=how.stop, bos=True)
    assert answer.raw == direct.text and answer.finish == direct.finish_reason
    assert answer.answer == task.postprocess(direct.text) and answer.n_tokens == len(direct.ids)
    assert service.kept(view, run, task, books(task)) == answer


def test_nothing_is_kept_of_other_values_nor_of_an_interrupted_answer(store):
    task, view = TASKS["read"], view_of(store, bos=False)
    (run,) = service.task_runs(view, [NAME])
    steps = service.outcomes(view, run, task, books(task))
    next(steps)
    steps.close()
    assert service.kept(view, run, task, books(task)) is None


@pytest.mark.parametrize(
    "error", [RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."), MemoryError()]
)
def test_too_little_memory_is_one_sentence(store, monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(service, "stream", fail)
    task, view = TASKS["read"], view_of(store, bos=False)
    (run,) = service.task_runs(view, [NAME])
    with pytest.raises(ValueError, match=f"not enough memory for {NAME} here; choose"):
        last(view, run, task, books(task))


@pytest.mark.parametrize("plan", [Plan(), Plan((Edit.zero("mlp_out", 0),))])
def test_candidates_have_the_log_probability_of_their_tokens(store, plan):
    task, view, model = TASKS["resolve"], view_of(store, plan=plan), store.model(NAME)
    run, hook = service.task_runs(view, [NAME])[0], compile_plan(model, plan, True)
    partial, full = last(view, run, task, books(task)).ways
    encode, bos = model.tokenizer.encode, [model.tokenizer.bos_id]
    before, after = "The captain gave the letter to the lady, and ", " put it in her bosom."
    for candidate in partial.candidates:
        direct = logprob_of(model, bos + encode(before + candidate.name), encode(after), hook=hook)
        assert candidate.logprob == pytest.approx(direct.total, abs=1e-4) and len(candidate.tokens) == len(direct)
    for candidate in full.candidates:
        direct = logprob_of(model, bos, encode(before + candidate.name + after), hook=hook)
        assert candidate.logprob == pytest.approx(direct.total, abs=1e-4)
    assert partial.candidates[partial.picked].logprob == max(c.logprob for c in partial.candidates)
    assert sum(c.share for c in full.candidates) == pytest.approx(1)
    a, b = partial.candidates
    assert math.log(a.share / b.share) == pytest.approx(a.logprob - b.logprob, abs=1e-6)
    asked_full = last(view, run, task, {**books(task), "scoring": "full"})
    assert asked_full.ways[0].scoring == "full"


def test_whole_sentences_without_a_first_token_are_a_sentence_and_not_an_error(store):
    task, view = TASKS["resolve"], view_of(store, bos=False)
    (run,) = service.task_runs(view, [NAME])
    partial, full = last(view, run, task, books(task)).ways
    assert partial.candidates and "bos" in full.problem


def test_edits_act_on_the_answer_and_the_unedited_one_stands_beside_it(store):
    plan = Plan((Edit.zero("mlp_out", 0), Edit.zero("mlp_out", 3)))
    view, task = view_of(store, plan=plan), TASKS["finish"]
    edited, plain = service.task_runs(view, [NAME])
    unedited = last(view_of(store), service.task_runs(view_of(store), [NAME])[0], task, books(task))
    assert last(view, plain, task, books(task)).raw == unedited.raw != last(view, edited, task, books(task)).raw
    value = columns_value(T, view, choice.chosen(view), [edited, plain], ["", ""])
    assert [c["title"] for c in value["columns"]] == ["glass-7m, edited", "glass-7m, without the edits"]


def test_edits_that_another_model_lacks_are_left_out_there():
    plan = Plan((Edit.zero("z", 1, 3), Edit.zero("z", 1, 9), Edit.zero("mlp_out", 7)))
    small, big = GPT2Config(2, 4, 64), GPT2Config(12, 12, 768)
    assert service.fitting(plan, small) == (Plan((Edit.zero("z", 1, 3),)), 2)
    assert service.fitting(plan, big) == (plan, 0)


def test_a_model_that_is_not_here_fails_in_one_sentence(store):
    absent = next((e.name for e in store.entries() if e.state == "downloadable"), None)
    if absent is None:
        pytest.skip("every model is on this machine")
    view = view_of(store)
    with pytest.raises(ValueError, match="download it first"):
        last(view, service.TaskRun(absent, Plan(), 0), TASKS["finish"], books(TASKS["finish"]))


def test_stopping_keeps_what_was_written_and_says_so(store):
    task, view = TASKS["finish"], view_of(store, plan=Plan((Edit.zero("z", 0),)))
    first, second = service.task_runs(view, [NAME])
    half = list(service.outcomes(view, first, task, books(task)))[2]
    value = columns_value(T, view, choice.chosen(view), [first, second], [half, T("zero_shot.queued")])
    assert [c["state"] for c in value["columns"]] == ["running", "waiting"]
    stopped = tab._stopped(view.state, value)
    assert [c["state"] for c in stopped["columns"]] == ["done", "done"] and stopped["id"] != value["id"]
    assert stopped["columns"][0]["blocks"] == value["columns"][0]["blocks"]
    assert stopped["columns"][0]["status"].endswith("s, stopped") and stopped["columns"][1]["status"] == "stopped"
