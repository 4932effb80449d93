"""The rule of floors, read from the imports: nothing points upwards, and each floor knows only the libraries it may."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OURS = ("gpt2_core", "interp", "app")
PACKAGES = [path for name in OURS for path in sorted((ROOT / name).rglob("*.py"))]

# folder -> what files in it must not import, of ours and of others
FORBIDDEN = {
    "gpt2_core": ("interp", "app", "gradio", "plotly", "transformers", "transformer_lens"),
    "interp": ("app", "gradio", "plotly", "transformers"),
    "app/figures": ("gradio", "torch", "gpt2_core.model", "app.tabs", "app.components", "app.service", "app.ui", "app.page"),
    "app/components": ("torch", "plotly", "app.tabs", "app.service", "app.ui", "app.page"),
    "app/service": ("gradio", "plotly", "app.tabs", "app.components", "app.figures", "app.ui", "app.page"),
    "app/tabs": ("torch", "app.ui"),
    "app/text": ("gradio", "torch", "plotly", "gpt2_core", "interp", "app.tabs", "app.components", "app.service"),
}
WITHOUT_GRADIO = ("store", "settings", "state", "examples", "cli", "flags", "terminal", "__main__", "zero_gpu")
BRIDGE = "interp/bridge"  # the one place that may import transformers and transformer-lens


def imports(source: str) -> list[tuple[str, int]]:
    """Every module that a source imports, with its line; `from a import b` is both a and a.b."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            found += [(name, node.lineno) for name in (node.module, *(f"{node.module}.{a.name}" for a in node.names))]
    return found


def offences(source: str, forbidden: tuple[str, ...]) -> list[str]:
    """The imports that a file must not have."""
    return [
        f"line {line} imports {name}"
        for name, line in imports(source)
        if any(name == module or name.startswith(f"{module}.") for module in forbidden)
    ]


def test_the_reader_finds_what_it_should():
    source = "import torch.nn as nn\nfrom app import tabs\ndef f():\n    from gradio.events import on\nimport torchvision\n"
    assert offences(source, ("torch",)) == ["line 1 imports torch.nn"]
    assert offences(source, ("app.tabs",)) == ["line 2 imports app.tabs"]
    assert len(offences(source, ("gradio",))) == 2  # gradio.events and gradio.events.on
    assert offences(source, ("plotly",)) == []


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_floor(folder):
    files = [path for path in sorted((ROOT / folder).rglob("*.py")) if not str(path.relative_to(ROOT)).startswith(BRIDGE)]
    assert files
    found = {str(f.relative_to(ROOT)): offences(f.read_text(encoding="utf-8"), FORBIDDEN[folder]) for f in files}
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


def test_other_libraries_models_are_only_behind_the_bridge():
    for file in PACKAGES:
        if not str(file.relative_to(ROOT)).startswith(BRIDGE):
            assert offences(file.read_text(encoding="utf-8"), ("transformers", "transformer_lens")) == [], file
        else:
            assert offences(file.read_text(encoding="utf-8"), ("app", "gradio", "plotly")) == [], file


@pytest.mark.parametrize("name", WITHOUT_GRADIO)
def test_what_the_command_line_needs_knows_no_gradio(name):
    source = (ROOT / "app" / f"{name}.py").read_text(encoding="utf-8")
    assert offences(source, ("gradio", "plotly", "app.components", "app.tabs", "app.page")) == []


def test_app_py_only_launches():
    allowed = {"os", "sys", "app", "gpt2_core.runtime"}
    for name, line in imports((ROOT / "app.py").read_text(encoding="utf-8")):
        assert any(name == a or name.startswith(f"{a}.") for a in allowed), f"app.py, line {line}: {name}"


def test_local_imports_are_few_and_known():
    """Imports inside functions break Gradio's live reload; each exception has its reason written beside it."""
    known = {
        "gpt2_core/surface.py": "gpt2_core.checkpoints",
        "gpt2_core/runtime.py": "gpt2_core.config",
        "app/cli.py": "app.ui",
    }
    for file in PACKAGES:
        name, tree = str(file.relative_to(ROOT)), ast.parse(file.read_text(encoding="utf-8"))
        inner = [
            node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
            for function in ast.walk(tree)
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
            for node in ast.walk(function)
            if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        ours = [module for module in inner if module.partition(".")[0] in OURS]
        assert not ours or name in known and known[name] in ours, f"{name}: {ours}"


def test_nothing_runs_from_a_pickle():
    """Neither pickle itself nor torch.load, which reads one."""
    for file in [*PACKAGES, ROOT / "app.py"]:
        source = file.read_text(encoding="utf-8")
        assert offences(source, ("pickle", "joblib", "dill", "shelve")) == [], file
        calls = [ast.unparse(node.func) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
        assert not {"torch.load", "eval", "exec"} & set(calls), file


def test_tests_are_no_packages():
    assert list((ROOT / "tests").rglob("__init__.py")) == []
    assert (ROOT / "app" / "__init__.py").is_file() and imports((ROOT / "app" / "__init__.py").read_text()) == []
