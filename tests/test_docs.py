"""Every block of code in docs/interpretability.md runs after its first one, as the page promises."""

import re
from pathlib import Path

import pytest

TEXT = (Path(__file__).resolve().parents[1] / "docs" / "interpretability.md").read_text(encoding="utf-8")
FIRST, *BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture(scope="module")
def prepared():
    names: dict = {}
    exec(compile(FIRST, "docs/interpretability.md", "exec"), names)
    return names


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_a_block_runs_and_prints(prepared, block, capsys):
    exec(compile(block, "docs/interpretability.md", "exec"), dict(prepared))
    assert capsys.readouterr().out.strip()
    assert "print(" in block


def test_every_module_of_a_method_is_named():
    named = set(re.findall(r"`(?:interp/)?(\w+)\.py`", TEXT))
    assert {"attention", "attention_norms", "rollout", "qk", "heads", "roles"} <= named
    assert {"lens", "trajectory", "tuned_lens", "patchscope"} <= named
    assert {"attribution", "saliency", "patching", "attribution_patching", "path_patching", "ablation", "knockout"} <= named
    assert {"compensation", "tracing", "circuits", "statistics", "steering", "neurons", "sae", "folding", "bridge"} <= named
