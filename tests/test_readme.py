"""README.md tells the truth: its example runs, its versions are the installed ones, its files exist."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_example_runs():
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "torch.Size([4, 10, 10])" in done.stdout


def test_spaces_installs_the_gradio_of_the_requirements():
    (version,) = re.findall(r"^sdk_version: (\S+)$", README, re.MULTILINE)
    assert f"gradio=={version}\n" in (ROOT / "requirements.txt").read_text(encoding="utf-8")
    (short,) = re.findall(r"^short_description: (.+)$", README, re.MULTILINE)
    assert len(short) <= 60


def test_what_it_links_to_exists():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if not link.startswith("http")]
    assert links and all((ROOT / link).exists() for link in links), links


def test_the_files_of_its_tree_exist():
    tree = README.split("## Where things are")[1].split("```")[1]
    where, missing = ROOT, []
    for line in tree.strip().splitlines():
        folder = re.match(r"(gpt2_core|interp|app|assets|benchmarks|tests)/", line)
        where = ROOT / folder[1] if folder else ROOT if not line.startswith(" ") else where
        missing += [name for name in re.findall(r"\b[\w./]+\.py\b", line) if not (where / name).exists()]
    assert not missing
