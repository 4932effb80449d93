"""Flags win over environment variables, variables over defaults; a value that cannot be ends the program with a sentence."""

from dataclasses import fields

import pytest

from app.settings import Settings, read_settings, variable

CHOSEN = {
    "host": "0.0.0.0",
    "port": 8123,
    "model": "gpt2",
    "device": "cpu",
    "dtype": "bfloat16",
    "memory_gb": 2.5,
    "threads": 3,
    "downloads": False,
    "share": True,
    "sae": "/somewhere/saes",
}


def as_text(value):
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)


def flags(values):
    return [part for name, value in values.items() for part in (f"--{name.replace('_', '-')}", as_text(value))]


def test_nothing_said_is_the_default():
    assert read_settings([], {}) == Settings()
    assert (Settings().host, Settings().port, Settings().share) == ("127.0.0.1", 7860, False)


def test_every_setting_has_a_flag_and_a_variable():
    assert CHOSEN.keys() == {f.name for f in fields(Settings)}
    assert all(CHOSEN[f.name] != f.default for f in fields(Settings))
    assert read_settings(flags(CHOSEN), {}) == Settings(**CHOSEN)
    assert read_settings([], {variable(name): as_text(value) for name, value in CHOSEN.items()}) == Settings(**CHOSEN)
    assert variable("memory_gb") == "GLASSBOX_MEMORY_GB"


@pytest.mark.parametrize("name", CHOSEN)
def test_a_flag_wins_over_its_variable(name):
    default = getattr(Settings(), name)
    settings = read_settings(flags({name: default}), {variable(name): as_text(CHOSEN[name])})
    assert getattr(settings, name) == default


@pytest.mark.parametrize("word, on", [("yes", True), ("TRUE", True), ("1", True), ("on", True), ("no", False), ("0", False)])
def test_switches_take_words(word, on):
    assert read_settings(["--share", word], {}).share is on
    assert read_settings(["--share"], {}).share is True


@pytest.mark.parametrize(
    "arguments, environment, sentence",
    [
        (["--port", "70000"], {}, "--port must lie in 0..65535, got 70000"),
        (["--port", "http"], {}, "invalid int value: 'http'"),
        (["--memory-gb", "0"], {}, "--memory-gb must be more than 0"),
        (["--memory-gb", "nan"], {}, "--memory-gb must be more than 0"),
        (["--share", "maybe"], {}, "expected yes or no, got 'maybe'"),
        (["--colour", "red"], {}, "unrecognized arguments"),
        ([], {"GLASSBOX_PORT": "many"}, "GLASSBOX_PORT='many': expected a whole number"),
        ([], {"GLASSBOX_DOWNLOADS": "perhaps"}, "GLASSBOX_DOWNLOADS='perhaps': expected yes or no"),
    ],
)
def test_a_value_that_cannot_be_ends_with_a_sentence(capsys, arguments, environment, sentence):
    with pytest.raises(SystemExit) as stop:
        read_settings(arguments, environment)
    assert stop.value.code == 2 and sentence in capsys.readouterr().err


def test_help_names_every_flag_and_its_default(capsys):
    with pytest.raises(SystemExit):
        read_settings(["--help"], {})
    said = " ".join(capsys.readouterr().out.split())
    for f in fields(Settings):
        assert f"--{f.name.replace('_', '-')}" in said
        assert f"(default: {f.default})" in said
    assert "GLASSBOX_HOST" in said
