"""The Playground: texts against direct calls of gpt2_core, their pictures and settings."""

import json
import math
from dataclasses import replace

import pytest

from app.service.generation import ALTERNATIVES, PREVIEW_TOKENS, _Row, choice_at, continued, preview, write
from app.service.view import View
from app.service.writing import Knobs, Order, Token, summary
from app.state import PageState
from app.tabs import playground_pictures as pictures
from app.tabs.playground_knobs import read_knobs
from app.text import words
from gpt2_core.generate import generate
from gpt2_core.scoring import score
from interp.edits import Edit, Plan
from interp.intervene import compile_plan

PROMPT = "When the old clock struck twelve, the old"
OFF = Plan((Edit("zero", "z", 2, 1),))
KNOBS = Knobs(12, temperature=0.9, top_k=40, seed=5)


def state(**changes):
    return PageState(prompt=PROMPT, **changes)


def last(store, order):
    return list(write(store, order))[-1]


def written(text):
    return [t for t in text.tokens if t.written]


# ---- texts ------------------------------------------------------------------------------------------------------------------


def test_a_text_is_what_the_core_generates_with_its_probabilities(store):
    made = last(store, Order(state(), replace(KNOBS, n=2)))
    model = store.model(made.order.state.model)
    said = generate(model, PROMPT, bos=True, max_new_tokens=12, temperature=0.9, top_k=40, seed=5, n=2, top=ALTERNATIVES)
    assert made.done and len(made.columns) == 1 and len(made.columns[0]) == 2
    for text, sample in zip(made.columns[0], said.samples, strict=True):
        assert tuple(t.id for t in written(text)) == sample.ids
        assert tuple(t.logprob for t in written(text)) == sample.logprobs
        assert text.text == PROMPT + sample.text and text.finish == sample.finish_reason == "length"
        assert [id for id, _ in written(text)[3].alternatives] == [a.id for a in sample.alternatives[3]]


def test_the_prompts_tokens_carry_their_own_probabilities(store):
    text = preview(View(store, state())).columns[0][0]
    scores = score(store.model("glass-7m"), PROMPT, bos=True)
    prompt = text.tokens[1 : 1 + len(scores.ids)]
    assert text.tokens[0].kind == "bos" and text.tokens[0].logprob is None
    assert [t.id for t in prompt] == list(scores.ids)
    assert [t.logprob for t in prompt] == pytest.approx(list(scores.logprobs), abs=1e-4)


def test_the_preview_is_greedy_and_an_unedited_column_stands_beside_edits(store):
    model = store.model("glass-7m")
    made = preview(View(store, state(plan=OFF)))
    hook = compile_plan(model, OFF, True)
    for texts, h in zip(made.columns, (hook, None), strict=True):
        ids = generate(model, PROMPT, bos=True, max_new_tokens=PREVIEW_TOKENS, hook=h).ids
        assert tuple(t.id for t in written(texts[0])) == ids
    lp = [[t.logprob for t in texts[0].tokens[1:10]] for texts in made.columns]
    assert max(abs(a - b) for a, b in zip(*lp)) > 0.01  # the edit is felt in the prompt too


def test_without_bos_the_first_token_has_no_probability_and_no_alternatives(store):
    made = last(store, Order(state(bos=False), replace(KNOBS, max_new_tokens=2)))
    assert made.columns[0][0].tokens[0].kind == "prompt" and made.columns[0][0].tokens[0].logprob is None
    assert choice_at(store, made, 0, 0, 0) is None


@pytest.mark.parametrize("cut", [0, 1, 5])
def test_cancelling_ends_a_text_at_once_and_says_so(store, cut):
    asked = []
    order = Order(state(), replace(KNOBS, max_new_tokens=400))
    made = list(write(store, order, cancel=lambda: asked.append(0) or len(asked) > cut))[-1]
    assert len(written(made.columns[0][0])) == cut
    assert made.done and made.columns[0][0].finish == "cancelled"


def test_stopping_keeps_what_is_written_and_ended_texts_as_they_are(store):
    made = last(store, Order(state(), KNOBS))
    open_text = replace(made.columns[0][0], finish=None)
    stopped = replace(made, columns=((open_text, made.columns[0][0]),), done=False).stopped()
    assert [t.finish for t in stopped.columns[0]] == ["cancelled", "length"] and stopped.done


def test_a_stop_string_and_its_tokens_stay_out(store):
    free = last(store, Order(state(), replace(KNOBS, max_new_tokens=40, temperature=0.0))).columns[0][0]
    stop = ", and"
    assert stop in free.text[len(PROMPT) :]
    made = last(store, Order(state(), replace(KNOBS, max_new_tokens=40, temperature=0.0, stop=(stop,)))).columns[0][0]
    assert made.finish == "stop" and made.text == free.text[: free.text.index(stop, len(PROMPT))]
    tokenizer = store.model("glass-7m").tokenizer
    assert tokenizer.decode([t.id for t in made.tokens][1:]) == made.text


def test_half_a_character_waits_for_its_other_half(store):
    model = store.model("glass-7m")
    ids = model.tokenizer.encode(" \U0001f980")
    assert len(ids) > 1
    row = _Row((), "", [Token(ids[0], "generated", -1.0)])
    row.tokens += [Token(id, "generated", -1.0) for id in ids[1:-1]]
    assert len(row.snapshot(model, 0, KNOBS).tokens) < len(ids) - 1
    row.tokens.append(Token(ids[-1], "generated", -1.0))
    assert len(row.snapshot(model, 0, KNOBS).tokens) == len(ids)


def test_a_full_context_slides_with_a_notice_in_the_readers_language(store):
    n_ctx = store.model("glass-7m").config.n_ctx
    long = PageState(prompt=" the" * (n_ctx - 3))
    made = last(store, Order(long, Knobs(6, temperature=0.0)))
    assert len(written(made.columns[0][0])) == 6
    assert len(made.notices) == 1 and str(n_ctx) in made.notices[0]
    ko = pictures.notices(words("ko"), made, n_ctx)
    assert str(n_ctx) in ko and str(n_ctx // 2) in ko and "문맥" in ko


# ---- going on from a token --------------------------------------------------------------------------------------------------


def test_another_token_is_put_in_and_the_text_goes_on_from_there(store):
    made = last(store, Order(state(), replace(KNOBS, n=2, temperature=0.0)))
    first = next(i for i, t in enumerate(made.columns[0][1].tokens) if t.written)
    pos = first + 3
    choice = choice_at(store, made, 0, 1, pos)
    other, logprob = next((id, lp) for id, lp in choice.rows if id != choice.token.id)
    order = continued(store, made, 0, 1, pos, other, replace(KNOBS, temperature=0.0, n=2), "x")
    again = last(store, order)
    new, old = again.columns[0][1], made.columns[0][1]
    assert again.columns[0][0] == made.columns[0][0]  # the other text stays
    assert new.tokens[:pos] == old.tokens[:pos]
    assert (new.tokens[pos].id, new.tokens[pos].kind, new.tokens[pos].logprob) == (other, "continued", logprob)
    prefix = [t.id for t in new.tokens[: pos + 1]][1:]
    expected = generate(store.model("glass-7m"), prefix, bos=True, max_new_tokens=12).ids
    assert tuple(t.id for t in new.tokens[pos + 1 :]) == expected
    assert new.text == store.model("glass-7m").tokenizer.decode([t.id for t in new.tokens][1:])


def test_with_edits_both_columns_go_on_each_with_its_own_probabilities(store):
    model = store.model("glass-7m")
    made = last(store, Order(state(plan=OFF), replace(KNOBS, temperature=0.0)))
    pos = len(made.columns[0][0].tokens) - 4
    choice = choice_at(store, made, 0, 0, pos)
    other = next(id for id, _ in choice.rows if id != choice.token.id)
    again = last(store, continued(store, made, 0, 0, pos, other, replace(KNOBS, temperature=0.0), "x"))
    edited, plain = (texts[0] for texts in again.columns)
    assert [t.id for t in edited.tokens[: pos + 1]] == [t.id for t in plain.tokens[: pos + 1]]
    ids = [t.id for t in plain.tokens[: pos + 1]][1:]
    for text, hook in ((edited, compile_plan(model, OFF, True)), (plain, None)):
        expected = score(model, ids, bos=True, hook=hook)
        assert [t.logprob for t in text.tokens[1 : pos + 1]] == pytest.approx(list(expected.logprobs), abs=2e-4)


def test_a_token_of_the_prompt_has_alternatives_from_the_run(store):
    made = preview(View(store, state()))
    choice = choice_at(store, made, 0, 0, 4)
    logprobs = View(store, state()).run.logits[3].float().log_softmax(-1)
    assert choice.rows[0][0] == int(logprobs.argmax())
    assert dict(choice.rows)[choice.token.id] == pytest.approx(float(logprobs[choice.token.id]), abs=1e-4)
    again = last(store, continued(store, made, 0, 0, 4, choice.rows[0][0], KNOBS, "x")).columns[0][0]
    assert [t.kind for t in again.tokens[:6]] == ["bos", "prompt", "prompt", "prompt", "continued", "generated"]


def test_what_was_not_offered_cannot_be_asked_for(store):
    made = preview(View(store, state()))
    with pytest.raises(ValueError, match="not among those offered"):
        continued(store, made, 0, 0, 12, 3, KNOBS, "x")
    with pytest.raises(ValueError, match="there is none at position 999"):
        choice_at(store, made, 0, 0, 999)
    with pytest.raises(ValueError, match="no longer on the page"):
        choice_at(store, made, 1, 0, 3)


# ---- pictures and settings --------------------------------------------------------------------------------------------------


def test_the_figures_are_those_of_the_written_tokens(store):
    text = last(store, Order(state(), KNOBS)).columns[0][0]
    numbers, logprobs = summary(text), [t.logprob for t in written(text)]
    assert numbers.tokens == 12 and numbers.logprob == pytest.approx(sum(logprobs))
    assert numbers.bits == pytest.approx(-sum(logprobs) / 12 / math.log(2))
    assert numbers.perplexity == pytest.approx(math.prod(math.exp(-lp) for lp in logprobs) ** (1 / 12))


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_copied_text_says_that_it_was_generated_by_which_model_and_with_which_edits(store, lang):
    made = last(store, Order(state(plan=OFF, lang=lang), KNOBS))
    view = View(store, made.order.state)
    edited, plain = (pictures.about_value(view, words(lang), made, c, 0) for c in (0, 1))
    for value, text in ((edited, made.columns[0][0]), (plain, made.columns[1][0])):
        copy = value["actions"][0]["copy"]
        assert copy.startswith(text.text + "\n\n[") and "glass-7m" in copy and "GPT-2 Glassbox" in copy
        assert value["credit"] in copy
    assert OFF.edits[0].describe() in edited["credit"] and OFF.edits[0].describe() not in plain["credit"]


def test_a_strips_shade_is_the_probability(store):
    made = last(store, Order(state(), KNOBS))
    value = pictures.strip_value(View(store, state()), words("en"), made, 0, 0, 3)
    tokens = [json.loads(line) for line in value["tokens"].split("\n")]
    assert tokens[0]["shade"] is None and value["inline"]
    for token, shown in zip(made.columns[0][0].tokens[1:], tokens[1:], strict=True):
        assert shown["shade"] == pytest.approx(math.exp(token.logprob), abs=1e-5) and shown["kind"] == token.kind


def test_settings_are_read_and_refused_in_a_sentence():
    read = read_knobs(words("en"), 60, 0.8, 0, 1, 2, " 7 ", 0, 1, "\\n\\n\nEND\n\n")
    assert read == Knobs(60, 0.8, 0, 1.0, 0.0, 1.0, 7, 2, ("\n\n", "END"))
    assert read.arguments()["top_k"] is None and read.arguments()["top_p"] is None and read.arguments()["min_p"] is None
    seeds = {read_knobs(words("en"), 60, 1, 0, 1, 1, "", 0, 1, "").seed for _ in range(4)}
    assert len(seeds) > 1
    with pytest.raises(ValueError, match="The seed is 'x'"):
        read_knobs(words("en"), 60, 1, 0, 1, 1, "x", 0, 1, "")
    with pytest.raises(ValueError, match="max_new_tokens must lie in 1..500"):
        read_knobs(words("en"), 501, 1, 0, 1, 1, "", 0, 1, "")
