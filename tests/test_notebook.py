"""The notebook: without outputs in git, and executed from the first cell to the last in a copy of the project."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.project import Project

PATH = Path("notebooks", "tour.ipynb")


def test_the_notebook_has_no_outputs() -> None:
    notebook = nbformat.read(PATH, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.mark.slow
def test_every_cell_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the demo's data, with the smaller preset of the tests."""
    (tmp_path / "project").mkdir()
    project = Project(tmp_path / "project")
    for name, value in project.environment.items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(PATH, as_version=4)
    for cell in notebook.cells:
        cell.source = cell.source.replace("presets/demo", "presets/tiny")
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(project.folder / "notebooks")}})
    client.execute()
    text = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    assert "| vgg16 |" in text
    assert "digit.png: " in text
    pictures = [
        output for cell in notebook.cells for output in cell.get("outputs", []) if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == 4
    assert project.status() == "?? digit.png\n?? no-transfer\n"
