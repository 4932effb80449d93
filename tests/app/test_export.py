"""A run as data, as a table and as a script: against the model's own logits, and against what the script prints."""

import csv
import io
import json
import math

import pytest
from scripts import run_here
from views import view_of

from app import export
from interp.edits import Edit, Plan

PLAN = Plan((Edit.zero("z", 1, 0),))


def test_the_data_are_the_models_own(store):
    view = view_of(store, prompt="The old clock", plan=PLAN)
    data, logp = json.loads(export.as_json(view)), view.run.logits.double().log_softmax(-1)
    assert (data["prompt"], data["provenance"]["plan"]) == ("The old clock", PLAN.to_json())
    assert [row["id"] for row in data["tokens"]] == list(view.run.tokens)
    assert [row["text"] for row in data["tokens"]] == ["<|endoftext|>", "The", " old", " clock"]
    for i, row in enumerate(data["tokens"]):
        top = logp[i].topk(export.TOP)
        assert row["position"] == i and [n["id"] for n in row["next"]] == top.indices.tolist()
        assert [n["probability"] for n in row["next"]] == pytest.approx(top.values.exp().tolist(), abs=1e-6)
        assert [n["text"] for n in row["next"]] == view.model.tokenizer.strings(top.indices.tolist())
        if i == 0:  # nothing comes before it
            assert row["logprob_nats"] is row["surprisal_bits"] is row["entropy_before_bits"] is None
            continue
        own, before = logp[i - 1, row["id"]].item(), logp[i - 1]
        assert row["logprob_nats"] == pytest.approx(own, abs=1e-4)
        assert row["surprisal_bits"] == pytest.approx(-own / math.log(2), abs=1e-4)
        assert row["entropy_before_bits"] == pytest.approx(-(before.exp() * before).sum().item() / math.log(2), abs=1e-3)
        assert row["rank"] == (before > own).sum().item()


def test_the_table_is_the_data_and_no_token_is_a_formula(store):
    view = view_of(store, prompt='=1+1,\n"x"')
    first, *rows = csv.reader(io.StringIO(export.as_csv(view)))
    data = export.run_as_dict(view)["tokens"]
    assert (
        first[:3] == ["position", "id", "text"] and first[-2:] == ["next_text", "next_probability"] and len(rows) == len(data)
    )
    assert [row[2].removeprefix("'") for row in rows] == [token["text"] for token in data] and rows[1][2].startswith("'=")
    for row, token in zip(rows, data):
        named = [token[name] for name in first[:-2] if name != "text"]
        assert row[:2] + row[3:7] == ["" if value is None else str(value) for value in named]
        assert float(row[8]) == token["next"][0]["probability"] and row[7].endswith(token["next"][0]["text"])


def test_the_script_prints_what_the_page_shows(store, capsys):
    view = view_of(store, plan=PLAN, position=2)
    printed = run_here(export.as_script(view), capsys).splitlines()
    top = export.run_as_dict(view)["tokens"][2]["next"]
    assert printed == [f"{each['probability']:8.4%}  {each['text']!r}" for each in top]


def test_every_kind_is_a_file_and_another_is_refused(store):
    view = view_of(store, prompt="a")
    files = [export.download(view, kind, "7") for kind in export.KINDS]
    assert [(file.serial, file.name.split(".")[1]) for file in files] == [("7", "json"), ("7", "csv"), ("7", "py")]
    assert [file.content for file in files] == [export.as_json(view), export.as_csv(view), export.as_script(view)]
    with pytest.raises(ValueError, match="saved as json, csv, script; got 'pdf'"):
        export.download(view, "pdf", "7")
