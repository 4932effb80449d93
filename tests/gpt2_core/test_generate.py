"""Generation against Hugging Face's, against a loop without a cache, and against itself (batch, stream, seed)."""

import pytest
import torch
from helpers import hf_model, random_model, tiny_config

from gpt2_core.generate import generate, stream
from gpt2_core.model import GPT2
from gpt2_core.results import Step, collect
from gpt2_core.sampling import Sampling, generators, sample
from gpt2_core.tokenizer import Tokenizer

EOS = 50256
RAGGED = [[464, 2068, 7586], [1212, 318, 257, 1332, 286, 262, 11241, 7509], [40], [11, 12, 13, 14, 15]]


@pytest.fixture(scope="module")
def model() -> GPT2:
    return random_model(tiny_config(), tokenizer=Tokenizer.load())


@pytest.fixture(scope="module")
def short() -> GPT2:
    """A context of 16, to slide soon."""
    return random_model(tiny_config(n_ctx=16), seed=1, tokenizer=Tokenizer.load())


@torch.no_grad()
def naive(model: GPT2, ids: list[int], steps: int, how: Sampling, seed: int = 0, hook=None) -> list[int]:
    """No cache, no padding, one row; the context slides to its recent half when full."""
    [random], window, seen, out = generators(seed, [0]), list(ids), list(ids), []
    for _ in range(steps):
        if len(window) > model.cfg.n_ctx:
            window = window[-(model.cfg.n_ctx // 2) :]
        logits = model(torch.tensor([window]), hook=hook)[:, -1]
        out.append(int(sample(logits, [random], how, torch.tensor([seen]))))
        window, seen = window + out[-1:], seen + out[-1:]
    return out


class AtPosition:
    """Adds a fixed direction to the residual stream before block 1, at one position."""

    def __init__(self, position: int):
        self.position = position

    def wants(self, name: str) -> bool:
        return name == "blocks.1.hook_resid_pre"

    def __call__(self, name: str, x: torch.Tensor) -> None:
        raise AssertionError("a positioned hook is called through what `positioned` returned")

    def positioned(self, queries, keys):
        def edit(name, x):
            here = (queries == self.position)[..., None]
            return torch.where(here, x + 3 * torch.linspace(-1, 1, x.shape[-1]), x)

        edit.wants = self.wants
        return edit


@pytest.mark.parametrize("penalty", [1.0, 1.4, 0.8])
def test_greedy_equals_hugging_face(model, penalty):
    hf = hf_model(model)
    for ids in RAGGED:
        theirs = hf.generate(
            torch.tensor([ids]), do_sample=False, max_new_tokens=20, repetition_penalty=penalty, pad_token_id=EOS
        )
        ours = generate(model, ids, max_new_tokens=20, repetition_penalty=penalty)
        assert [*ids, *ours.ids] == theirs[0].tolist()


def test_greedy_batch_equals_hugging_faces_padded_batch(model):
    width = max(map(len, RAGGED))
    padded = torch.tensor([[EOS] * (width - len(ids)) + ids for ids in RAGGED])
    mask = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in RAGGED])
    theirs = hf_model(model).generate(padded, attention_mask=mask, do_sample=False, max_new_tokens=15, pad_token_id=EOS)
    ours = generate(model, RAGGED, max_new_tokens=15)
    assert [list(s.ids) for s in ours.samples] == theirs[:, width:].tolist()


@pytest.mark.parametrize("how", [{}, {"temperature": 0.9, "top_p": 0.9}, {"temperature": 1.5, "repetition_penalty": 1.2}])
@pytest.mark.parametrize("hook", [None, AtPosition(1), AtPosition(9)])
def test_cached_equals_uncached(model, how, hook):
    got = generate(model, RAGGED[1], max_new_tokens=20, seed=5, hook=hook, stop_ids=(), **how)
    assert list(got.ids) == naive(model, RAGGED[1], 20, Sampling(**{"temperature": 0.0, **how}), 5, hook)


def test_a_positioned_edit_changes_what_comes(model):
    plain, edited = (generate(model, RAGGED[1], max_new_tokens=4, hook=hook) for hook in (None, AtPosition(1)))
    assert plain.logprobs != edited.logprobs


@pytest.mark.parametrize("n_ctx", [64, 16])
@pytest.mark.parametrize("hook", [None, AtPosition(2)])
@pytest.mark.parametrize("how", [{}, {"temperature": 1.0, "top_k": 50, "n": 2, "repetition_penalty": 1.1}])
def test_a_batch_equals_its_rows_alone(model, short, n_ctx, hook, how):
    which = model if n_ctx == 64 else short
    settings = dict(max_new_tokens=18, seed=3, hook=hook, stop_ids=(), **how)
    batch = generate(which, RAGGED, **settings)
    alone = [s for ids in RAGGED for s in generate(which, ids, **settings).samples]
    assert [s.ids for s in batch.samples] == [s.ids for s in alone]
    assert [s.notices for s in batch.samples] == [s.notices for s in alone]
    for together, single in zip(batch.samples, alone, strict=True):
        assert together.logprobs == pytest.approx(single.logprobs, abs=2e-4)
        assert together.entropies == pytest.approx(single.entropies, abs=2e-4)


def test_rows_that_end_early_leave_the_others_alone(model):
    ids = generate(model, RAGGED, max_new_tokens=12).samples[1].ids
    stop = ids[4]
    batch = generate(model, RAGGED, max_new_tokens=12, stop_ids=(stop,))
    alone = [generate(model, p, max_new_tokens=12, stop_ids=(stop,)).samples[0] for p in RAGGED]
    assert [s.ids for s in batch.samples] == [s.ids for s in alone]
    assert [s.finish_reason for s in batch.samples] == [s.finish_reason for s in alone]
    assert batch.samples[1].finish_reason == "stop" and batch.samples[1].ids == ids[: ids.index(stop) + 1]


@pytest.mark.parametrize("how", [Sampling(temperature=0.0), Sampling(temperature=1.0, repetition_penalty=1.3)])
def test_past_the_context_it_slides_with_one_notice_each(short, how):
    got = generate(
        short,
        RAGGED[3],
        max_new_tokens=40,
        temperature=how.temperature,
        repetition_penalty=how.repetition_penalty,
        stop_ids=(),
    )
    assert list(got.ids) == naive(short, RAGGED[3], 40, how)
    steps = list(stream(short, RAGGED[3], max_new_tokens=40, stop_ids=()))
    slides = [step.index for step in steps if step.all_notices]
    assert slides == [12, 21, 30, 39]  # 5 + 12 > 16, then 8 kept: 9 more steps
    assert "context of 16 tokens is full" in steps[12].all_notices[0] and "last 8" in steps[12].all_notices[0]


def test_bos_stays_in_front_when_the_context_slides(short):
    seen = []

    def watch(name, x):
        if name == "embed.hook_in" and x.shape[1] > 1:
            seen.append(x[0].tolist())

    generate(short, list(range(100, 130)), max_new_tokens=20, bos=True, stop_ids=(), hook=watch)
    assert len(seen) >= 2 and all(window[0] == EOS for window in seen)
    assert seen[0] == [EOS, *range(123, 130)] and len(seen[1]) == 8


@pytest.mark.parametrize("new, kept", [(1, 16), (4, 13), (20, 8)])
def test_a_prompt_longer_than_the_context_keeps_its_end(short, new, kept):
    ids = list(range(200, 250))
    got = generate(short, ids, max_new_tokens=new, stop_ids=())
    assert got.samples[0].prompt_ids == tuple(ids[-kept:])
    assert f"has 50 tokens, the context 16; the model reads the last {kept}" in got.notices[0]
    assert list(got.ids) == naive(short, ids[-kept:], new, Sampling(temperature=0.0))
    assert generate(short, ids[:16], max_new_tokens=1).notices == ()


@pytest.mark.parametrize("prompt", ["", [], [""], [[]]])
def test_an_empty_prompt_begins_a_text(model, prompt):
    got = generate(model, prompt, max_new_tokens=3)
    assert got.ids == generate(model, [EOS], max_new_tokens=3).ids == generate(model, "", bos=True, max_new_tokens=3).ids
    assert "empty" in got.notices[0] and got.full_text == got.text
    assert generate(model, "", bos=True, max_new_tokens=3).notices == ()


def test_text_and_ids_and_tensors_are_the_same_prompt(model):
    text = "The quick brown fox"
    ids = model.tokenizer.encode(text)
    results = [generate(model, p, max_new_tokens=4) for p in (text, ids, torch.tensor(ids), torch.tensor([ids]), [text])]
    assert len({r.ids for r in results}) == len({r.full_text for r in results}) == 1
    assert results[0].full_text == text + results[0].text == text + model.tokenizer.decode(results[0].ids)


def test_samples_share_the_prompt_and_differ(model):
    reads = []
    hook = lambda name, x: reads.append(tuple(x.shape)) if name == "embed.hook_in" else None  # noqa: E731
    got = generate(model, RAGGED[:2], max_new_tokens=6, n=3, temperature=1.0, hook=hook, stop_ids=())
    assert reads == [(2, 8)] + [(6, 1)] * 5
    assert len({s.ids for s in got.samples}) == 6
    assert [s.prompt.ids for s in got.samples] == [tuple(RAGGED[0])] * 3 + [tuple(RAGGED[1])] * 3


def test_seeds_repeat_and_differ(model):
    draw = lambda seed: generate(model, "Once", temperature=1.0, seed=seed, max_new_tokens=8).ids  # noqa: E731
    assert draw(1) == draw(1) != draw(2)


def test_streaming_equals_collecting(model):
    settings = dict(max_new_tokens=10, temperature=1.0, n=2, seed=4, top=3)
    whole = generate(model, ["Hello", "A longer prompt"], **settings)
    steps = list(stream(model, ["Hello", "A longer prompt"], **settings))
    assert collect([s.prompt for s in whole.samples[::2]], whole.request, steps) == whole
    assert all(isinstance(step, Step) for step in steps) and [step.index for step in steps] == list(range(10))


@torch.no_grad()
def test_numbers_are_of_the_models_own_distribution(model):
    got = generate(model, RAGGED[0], max_new_tokens=6, temperature=0.5, top_k=3, repetition_penalty=1.5, top=4)
    tokens = torch.tensor([RAGGED[0] + list(got.ids)])
    logprobs = model(tokens)[0, 2:-1].log_softmax(-1)
    expected = logprobs.gather(1, torch.tensor(got.ids)[:, None])[:, 0]
    assert got.logprobs == pytest.approx(expected.tolist(), abs=1e-4)
    assert got.samples[0].entropies == pytest.approx((-(logprobs.exp() * logprobs).sum(-1)).tolist(), abs=1e-4)
    assert got.samples[0].ranks == tuple((logprobs > expected[:, None] + 1e-5).sum(-1).tolist())
    for step, row in zip(got.alternatives, logprobs, strict=True):
        assert [a.id for a in step] == row.topk(4).indices.tolist()
        assert [a.text for a in step] == model.tokenizer.strings([a.id for a in step])
        assert [a.logprob for a in step] == pytest.approx(row.topk(4).values.tolist(), abs=1e-4)


def test_a_stop_string_across_tokens_cuts_the_text(model):
    whole = generate(model, "Hello", max_new_tokens=12, temperature=1.0, seed=2)
    pieces = [model.tokenizer.decode([i]) for i in whole.ids]
    stop = pieces[4][-1] + pieces[5][:2]
    cut = generate(model, "Hello", max_new_tokens=12, temperature=1.0, seed=2, stop=["never!", stop])
    assert cut.text == whole.text[: whole.text.index(stop)] and cut.finish_reason == "stop"
    assert cut.ids == whole.ids[: len(cut.ids)] and len(cut.ids) < 12
    streamed = [s.text for s in stream(model, "Hello", max_new_tokens=12, temperature=1.0, seed=2, stop=stop)]
    assert "".join(streamed) == cut.text


def test_end_of_text_ends_a_row_and_is_no_text(model):
    only_eos = lambda name, x: x.index_fill(2, torch.tensor([EOS]), 1e4) if name == "hook_unembed" else None  # noqa: E731
    got = generate(model, "Hello", hook=only_eos)
    assert (got.ids, got.text, got.finish_reason) == ((EOS,), "", "eos")
    assert generate(model, "Hello", hook=only_eos, stop_ids=(), max_new_tokens=3).ids == (EOS,) * 3
    assert generate(model, "Hello", hook=only_eos, stop_ids=(5,), max_new_tokens=3).finish_reason == "length"


@pytest.mark.parametrize("after", [0, 1, 4])
def test_cancel_at_any_token(model, after):
    asked = []
    cancel = lambda: len(asked) >= after or asked.append(1)  # noqa: E731
    got = generate(model, RAGGED[:2], max_new_tokens=9, cancel=lambda: bool(cancel()))
    whole = generate(model, RAGGED[:2], max_new_tokens=9)
    assert [s.finish_reason for s in got.samples] == ["cancelled"] * 2
    assert [s.ids for s in got.samples] == [s.ids[:after] for s in whole.samples]
    assert [s.text for s in got.samples] == [model.tokenizer.decode(s.ids) for s in got.samples]


def test_streamed_pieces_are_whole_characters(model):
    ids = model.tokenizer.encode("안녕 😀 héllo")
    script = iter([*ids, EOS])

    def force(name, x):
        return torch.full_like(x, 0.0).index_fill(2, torch.tensor([next(script)]), 50.0) if name == "hook_unembed" else None

    force.wants = lambda name: name == "hook_unembed"
    pieces = [step.text for step in stream(model, "x", hook=force, max_new_tokens=40)]
    assert "".join(pieces) == "안녕 😀 héllo" and not any("\ufffd" in piece for piece in pieces)


@pytest.mark.parametrize(
    "bad, says",
    [
        ({"max_new_tokens": 0}, "max_new_tokens must be"),
        ({"n": 0}, "n must be"),
        ({"top": -1}, "top must be"),
        ({"stop": [""]}, "stop string"),
        ({"temperature": -1.0}, "temperature must be"),
        ({"top_p": 2.0}, "top_p must be"),
    ],
)
def test_bad_settings_are_refused_at_the_call(model, bad, says):
    for run in (generate, stream):
        with pytest.raises(ValueError, match=says):
            run(model, "Hello", **bad)


def test_ids_outside_the_vocabulary_are_refused(model):
    with pytest.raises(ValueError, match="50257"):
        generate(model, [60000])


def test_a_model_without_a_tokenizer_takes_ids_only():
    bare = random_model(tiny_config(d_vocab=101))
    got = generate(bare, [1, 2], max_new_tokens=2, stop_ids=())
    assert got.text == "".join(f"<|{id}|>" for id in got.ids)
    with pytest.raises(ValueError, match="no tokenizer"):
        generate(bare, "text")


def test_gradients_stay_on_for_the_reader_of_a_stream(model):
    with torch.enable_grad():
        for _ in stream(model, "Hello", max_new_tokens=2):
            assert torch.is_grad_enabled()


@pytest.mark.gpu
def test_a_gpu_draws_what_the_cpu_draws(model):
    settings = dict(max_new_tokens=12, temperature=1.0, top_p=0.9, n=2, repetition_penalty=1.2)
    on_cpu = generate(model, RAGGED, **settings)
    copy = random_model(tiny_config(), tokenizer=model.tokenizer).to("cuda")
    on_gpu = generate(copy, RAGGED, **settings)
    assert [s.ids for s in on_gpu.samples] == [s.ids for s in on_cpu.samples]
    for gpu, cpu in zip(on_gpu.samples, on_cpu.samples, strict=True):
        assert gpu.logprobs == pytest.approx(cpu.logprobs, abs=1e-3)
