"""A film's own numbers, and its files: round trip, bytes, damage."""

import json
from dataclasses import asdict, fields, replace

import numpy as np
import pytest
from films import tiny_film
from safetensors.numpy import load_file, save_file

from interp.film import COPY_GAIN, INDUCTION, Film, FilmPrompt, quantised
from interp.film_store import JSON, LARGEST, TENSORS, has_film, read, write


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return tiny_film(tmp_path_factory.mktemp("film") / "run", n_layers=1)


def same(a, b) -> bool:
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b)
    if isinstance(a, (Film, FilmPrompt)):
        return all(same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def test_what_is_read_is_what_was_written(made, tmp_path):
    assert not has_film(tmp_path)
    write(made, tmp_path / "new" / "folder")
    assert has_film(tmp_path / "new" / "folder") and same(read(tmp_path / "new" / "folder"), made)
    other = replace(made, samples=("", "‘Hm,’ said\n he", "\x00 ```"), tokens=(None, 1, 2), train_loss=(None, 1, 2.5))
    write(other, tmp_path / "new" / "folder")
    assert same(read(tmp_path / "new" / "folder"), other) and not same(other, made)
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == [JSON, TENSORS]


def test_the_same_film_gives_the_same_bytes(made, tmp_path):
    write(made, tmp_path / "a"), write(read(tmp_path / "a"), tmp_path / "b")
    for name in (JSON, TENSORS):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_only_lower_triangles_are_stored(made, tmp_path):
    write(made, tmp_path)
    arrays = load_file(tmp_path / TENSORS)
    prompt = made.prompts[0]
    n = len(prompt.strings)
    assert arrays["prompts.0.patterns"].shape == (3, 1, 2, n * (n + 1) // 2)
    assert arrays["prompts.0.patterns"][1, 0, 1].tolist() == [
        prompt.patterns[1, 0, 1, i, j] for i in range(n) for j in range(i + 1)
    ]


def test_quantisation_is_off_by_half_a_step_at_most():
    values = np.random.default_rng(0).random((50, 20), dtype=np.float32)
    stored = quantised(values)
    assert np.abs(stored / 255 - values).max() <= 1 / 510 + 1e-7 and stored.dtype == np.uint8
    assert quantised(np.array([[0.0, 1.0, 0.5 / 255 + 1e-6, 0.5 / 255 - 1e-6]])).tolist() == [[0, 255, 1, 0]]
    for wrong in (np.nan, -0.1, 1.1):
        with pytest.raises(ValueError, match="outside 0..1"):
            quantised(np.array([[wrong]]))


def test_the_bump_is_where_the_gain_grows_most(made):
    def bump(*gains):
        n = len(gains)
        frames = {"steps": tuple(range(n)), "tokens": (None,) * n, "train_loss": (None,) * n, "validation_loss": (None,) * n}
        frames |= {role: np.repeat(made.induction[:1], n, 0) for role in ("previous_token", "duplicate_token", "induction")}
        copies = {"first_copy_loss": (9.0,) * n, "second_copy_loss": tuple(9.0 - gain for gain in gains)}
        return replace(made, **frames, **copies, prompts=(), samples=("",) * n, weights_sha256=("",) * n).induction_bump

    assert bump(0.0, 0.1, 3.0, 3.5) == 1 and bump(0.0, 0.5, 0.4, 2.0) == 2
    assert bump(0.0, 0.5, COPY_GAIN - 0.01) is None and bump(0.0, COPY_GAIN) == 0
    assert bump(3.0) is None  # one frame shows no growth


def test_an_induction_head_needs_score_and_gain(made):
    def judged(score, gain):
        induction = made.induction.copy()
        induction[-1, 0, 1] = score
        second = (*made.second_copy_loss[:-1], made.first_copy_loss[-1] - gain)
        return replace(made, induction=induction, second_copy_loss=second)

    assert judged(INDUCTION + 0.01, COPY_GAIN + 0.01).has_induction
    assert not judged(INDUCTION - 0.01, COPY_GAIN + 0.01).has_induction
    assert not judged(INDUCTION + 0.01, COPY_GAIN - 0.01).has_induction
    assert judged(0.99, 0).best_heads("induction")[-1] == (0, 1)
    with pytest.raises(ValueError, match="is no role"):
        made.best_heads("induktion")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"steps": (0, 10)}, "tokens has 3 values for 2 frames"),
        ({"steps": (0, 200, 10)}, "steps do not rise"),
        ({"steps": (0, 0, 1)}, "steps do not rise"),
        ({"samples": ("",)}, "samples has 1 values for 3 frames"),
        ({"first_copy_loss": (1.0, float("nan"), 1.0)}, "first_copy_loss holds"),
        ({"chance": {"induction": 0.1}}, "chance of previous_token"),
        ({"induction": np.full((3, 1, 2), 1.5, np.float32)}, "induction holds scores outside 0..1"),
        ({"induction": np.full((3, 1, 2), np.nan, np.float32)}, "induction holds scores outside 0..1"),
        ({"duplicate_token": np.zeros((3, 2, 2), np.float32)}, "duplicate_token"),
    ],
)
def test_parts_that_do_not_fit(made, changes, sentence):
    with pytest.raises((ValueError, TypeError), match=sentence):  # jaxtyping's, in tests, for a shape
        replace(made, **changes)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"strings": ("a",)}, "16 ids for 1 tokens"),
        ({"strings": ("a",), "ids": (1,)}, "expected 1 x 1"),
        ({"top_strings": (("a",) * 5,) * 2}, "frames in its parts"),
        ({"top_strings": (("a",) * 4,) * 3}, "predictions in its frames"),
        ({"top_probs": np.full((3, 5), 2, np.float32)}, "not probabilities"),
        ({"patterns": np.full((3, 1, 2, 16, 16), 9, np.uint8)}, "later tokens"),
        ({"strings": ("a",) * 65, "ids": (1,) * 65}, "65 tokens"),
    ],
)
def test_parts_of_a_prompt_that_do_not_fit(made, changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        replace(made.prompts[0], **changes)


def test_a_prompt_of_another_film_does_not_fit(made):
    prompt = made.prompts[0]
    with pytest.raises(ValueError, match="expected \\[3, 1, 2\\]"):
        replace(made, prompts=(replace(prompt, patterns=np.repeat(prompt.patterns, 2, 1)),))


def edited(folder, change):
    content = json.loads((folder / JSON).read_text())
    change(content)
    (folder / JSON).write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda c: c.update(format=2), "of format 2, this version reads 1"),
        (lambda c: c.pop("steps"), "lacks 'steps'"),
        (lambda c: c.update(extra=1), "has 'extra'"),
        (lambda c: c.update(steps="0"), "steps is of type str, expected a list"),
        (lambda c: c.update(model=None), "model is of type NoneType"),
        (lambda c: c["steps"].__setitem__(0, True), r"steps\[0\] is of type bool"),
        (lambda c: c["validation_loss"].__setitem__(1, float("nan")), "holds NaN"),
        (lambda c: c["first_copy_loss"].__setitem__(1, None), r"first_copy_loss\[1\] is of type NoneType"),
        (lambda c: c["steps"].append(300), r"expected float32 \[4, any, any\]"),
        (lambda c: c["tokens"].append(300), "tokens has 4 values for 3 frames"),
        (lambda c: c["prompts"].append(c["prompts"][0]), "lacks 'prompts.3.patterns'"),
        (lambda c: c["prompts"].pop(), "which no film has"),
        (lambda c: c["prompts"][0]["strings"].append("x"), "has 136 entries"),
        (lambda c: c["prompts"][0]["strings"].extend(["x"] * 100_000), "at most 64"),
        (lambda c: c["prompts"][0].pop("ids"), r"prompts\[0\] lacks 'ids'"),
        (lambda c: c["measurement"].update(seeds=[0.5]), r"measurement.seeds\[0\] is of type float"),
        (lambda c: c.update(tensors_sha256="0" * 64), "damaged or of another film"),
    ],
)
def test_an_edited_json_is_refused(made, tmp_path, change, sentence):
    edited(write(made, tmp_path), change)
    refused(tmp_path, sentence)


def refused(folder, sentence):
    with pytest.raises(ValueError, match=sentence) as error:
        read(folder)
    assert "\n" not in str(error.value) and str(error.value).endswith("make the film again with `python -m interp.dynamics`.")


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000, "\x00", '{"format": 1}', "\xff"])
def test_a_json_that_is_none_is_refused(made, tmp_path, text):
    write(made, tmp_path)
    (tmp_path / JSON).write_bytes(text.encode("latin-1"))
    refused(tmp_path, "cannot be read")


def resign(folder):
    """Give the JSON the checksum of the tensors as they are now, so that only their content can be wrong."""
    from hashlib import sha256

    edited(folder, lambda c: c.update(tensors_sha256=sha256((folder / TENSORS).read_bytes()).hexdigest()))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda a: a.pop("induction"), "lacks 'induction'"),
        (lambda a: a.update(more=np.zeros(3)), "holds 'more'"),
        (
            lambda a: a.update(induction=a["induction"].astype(np.float64)),
            r"is float64 \[3, 1, 2\], expected float32 \[3, any, any\]",
        ),
        (lambda a: a.update(induction=a["induction"][0]), r"is float32 \[1, 2\]"),
        (lambda a: a.update(induction=a["induction"] - 2), "outside 0..1"),
        (lambda a: a.update(induction=a["induction"][:2]), r"is float32 \[2, 1, 2\]"),
        (lambda a: a.update({"prompts.1.patterns": a["prompts.0.patterns"]}), "has 136 entries"),
        (lambda a: a.update({"prompts.1.patterns": a["prompts.1.patterns"][:, :, :1]}), r"expected uint8 \[3, 1, 2, any\]"),
        (lambda a: a.update(previous_token=a["previous_token"][:, :, :1]), r"expected float32 \[3, 1, 2\]"),
        (lambda a: a.update({"prompts.1.top_probs": a["prompts.1.top_probs"][:, :4]}), "predictions in its frames"),
    ],
)
def test_other_tensors_are_refused(made, tmp_path, change, sentence):
    write(made, tmp_path)
    arrays = load_file(tmp_path / TENSORS)
    change(arrays)
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, tmp_path / TENSORS)
    refused(tmp_path, "damaged or of another film")
    resign(tmp_path)
    refused(tmp_path, sentence)


def test_damaged_tensors_are_refused(made, tmp_path):
    write(made, tmp_path)
    whole = (tmp_path / TENSORS).read_bytes()
    for damage in (
        whole[:-1],
        whole[:20],
        b"",
        b"\x80\x04pickle",
        whole.replace(b'"U8"', b'"Q9"', 1),
        whole.replace(b"F32", b"F8!"),
    ):
        assert damage != whole
        (tmp_path / TENSORS).write_bytes(damage)
        refused(tmp_path, "damaged or of another film")
        resign(tmp_path)
        refused(tmp_path, "film.safetensors is damaged")


def test_files_too_large_and_absent_are_refused(made, tmp_path):
    refused(tmp_path, "holds no film")
    write(made, tmp_path)
    with (tmp_path / JSON).open("ab") as file:
        file.truncate(LARGEST[JSON] + 1)
    refused(tmp_path, "a film at most")
    (tmp_path / TENSORS).unlink()
    assert not has_film(tmp_path)
    refused(tmp_path, "holds no film")


def test_a_film_that_cannot_be_written_leaves_the_old_one(made, tmp_path):
    write(made, tmp_path)
    before = (tmp_path / TENSORS).read_bytes()
    with pytest.raises(ValueError, match="surrogates"):
        write(replace(made, samples=("\ud800", "", "")), tmp_path)
    assert (tmp_path / TENSORS).read_bytes() == before and same(read(tmp_path), made)
    assert asdict(read(tmp_path).measurement) == asdict(made.measurement)
