"""The example notebook runs from top to bottom and shows what its text says."""

from __future__ import annotations

import base64
import io
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from PIL import Image

NOTEBOOK = Path(__file__).parents[2] / "examples/own_detector.ipynb"


@pytest.fixture(scope="module")
def cells(tmp_path_factory) -> list[nbformat.NotebookNode]:
    """Its code cells after a run in a folder of their own."""
    folder = tmp_path_factory.mktemp("notebook")
    command = [sys.executable, "-m", "jupyter", "execute", "--output", str(folder / "run.ipynb"), str(NOTEBOOK)]
    said = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr[-3000:]
    ran = nbformat.read(folder / "run.ipynb", as_version=4)
    return [cell for cell in ran.cells if cell.cell_type == "code"]


def printed(cells: list[nbformat.NotebookNode]) -> str:
    return "".join(out.text for cell in cells for out in cell.outputs if out.get("name") == "stdout")


def test_the_committed_notebook_has_no_outputs():
    committed = nbformat.read(NOTEBOOK, as_version=4)
    assert all(not cell.outputs and cell.execution_count is None for cell in committed.cells if "outputs" in cell)
    assert NOTEBOOK.stat().st_size < 20_000


def test_the_normality_helps(cells):
    before, after = map(float, re.search(r"AUROC ([\d.]+) -> ([\d.]+)", printed(cells)).groups())
    assert 50 < before < after - 5


def test_each_text_is_seen_in_its_own_defect(cells):
    for text in ("color", "hole", "metal"):
        (line,) = re.findall(f"^{text} .*scores fall: (.*)$", printed(cells), re.MULTILINE)
        falls = dict(re.findall(r"(\w+) (-?\d+) %", line))
        assert max(falls, key=lambda kind: int(falls[kind])) == text
    assert re.search("^sunshine .*hole 0 %.*unknown words: sunshine", printed(cells), re.MULTILINE)


def test_the_figures_are_pictures(cells):
    pictures = [out.data["image/png"] for cell in cells for out in cell.outputs if "image/png" in out.get("data", {})]
    assert len(pictures) == 2
    for picture in pictures:
        assert Image.open(io.BytesIO(base64.b64decode(picture))).width > 1000
