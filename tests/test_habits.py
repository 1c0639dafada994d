"""What contributors, GitHub and git are told: it agrees with the project."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

WORKFLOWS = sorted(Path(".github", "workflows").glob("*.yml"))
VERSION = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]


def test_workflows_use_targets_that_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", Path("Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    used = set()
    for path in [*WORKFLOWS, Path("CONTRIBUTING.md"), Path(".devcontainer", "devcontainer.json")]:
        used |= set(re.findall(r"(?:`|: |\"|^ {4})make ([a-z-]+)", path.read_text(encoding="utf-8"), re.MULTILINE))
    assert {"setup", "test", "test-all", "demo"} <= used <= targets


def test_workflows_use_one_version_of_each_action_and_read_by_default() -> None:
    versions: dict[str, set[str]] = {}
    for path in WORKFLOWS:
        workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert workflow["permissions"] == {"contents": "read"}
        for job in workflow["jobs"].values():
            assert job["timeout-minutes"]
            for step in job["steps"]:
                name, _, version = step.get("uses", "").partition("@")
                versions.setdefault(name, set()).add(version)
                if name == "actions/checkout":
                    assert step["with"]["persist-credentials"] is False
    assert all(len(found) == 1 for found in versions.values()), versions


def test_the_changelog_has_an_unreleased_section_and_this_version() -> None:
    text = Path("CHANGELOG.md").read_text(encoding="utf-8")
    unreleased, newest = re.findall(r"^## (.*)$", text, re.MULTILINE)[:2]
    assert unreleased == "[Unreleased]"
    assert re.fullmatch(rf"{re.escape(VERSION)} - \d{{4}}-\d\d-\d\d", newest)
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.*)$", text, re.MULTILINE)) <= kinds


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load(Path("CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == VERSION
    assert citation["license"] == "MIT"
    assert Path("LICENSE").read_text(encoding="utf-8").startswith("MIT License\n")
    assert citation["references"][0]["url"].endswith("1409.1556")


def test_contributing_names_files_that_exist() -> None:
    quoted = set(re.findall(r"`([^` ]+)`", Path("CONTRIBUTING.md").read_text(encoding="utf-8")))
    names = {name for name in quoted if "/" in name or name.endswith((".yaml", ".lock", ".toml", ".txt", ".md"))}
    names -= {"stages/NAME.py"}
    assert "src/base/params.py" in names
    assert {name for name in names if not Path(name).exists()} == set()


@pytest.mark.parametrize("autocrlf", ["true", "input", "false"])
def test_git_gives_every_clone_the_same_bytes(tmp_path: Path, autocrlf: str) -> None:
    """DVC hashes bytes, and core.autocrlf=true would change the ends of lines."""
    files = {
        "a.py": b"a = 1\nb = 2\n",
        "results/a.csv": b"a,b\r\n1,2\r\n",
        "a.png": b"\x89PNG\r\n\x1a\n",
        "a.safetensors": b"a\r\nb\n",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / ".gitattributes").write_bytes(Path(".gitattributes").read_bytes())

    def git(*arguments: str) -> None:
        command = ["git", "-c", f"core.autocrlf={autocrlf}", *arguments]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)

    git("init", "-q")
    git("add", "-A")
    for name in files:
        (tmp_path / name).unlink()
    git("checkout-index", "--all")
    assert {name: (tmp_path / name).read_bytes() for name in files} == files


def test_a_clone_with_converted_line_ends_has_the_same_bytes(tmp_path: Path) -> None:
    """With core.autocrlf=true, git would write CRLF, and every stage of DVC would look changed."""
    files = {
        "src/a.py": b"a\nb\n",
        "results/table.csv": b"a,b\n1,2\n",
        "results/x.png": b"\x89PNG\r\n\x1a\n\n",
        "Makefile": b"a:\n",
    }
    source, clone = tmp_path / "source", tmp_path / "clone"
    for name, content in (files | {".gitattributes": Path(".gitattributes").read_bytes()}).items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(content)
    git = ["git", "-c", "core.autocrlf=true", "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "files"], ["clone", "-q", ".", str(clone)]):
        subprocess.run([*git, *command], cwd=source, check=True, capture_output=True)
    assert {name: (clone / name).read_bytes() for name in files} == files
    status = subprocess.run([*git, "status", "--porcelain"], cwd=clone, check=True, capture_output=True).stdout
    assert status == b""


def test_dvc_finds_python_without_activation(tmp_path: Path) -> None:
    """`make setup` puts a file into .venv by which its `python` is the first on PATH of all that its programs start."""
    makefile = Path("Makefile").read_text(encoding="utf-8")
    code = makefile.partition("define ON_PATH\n")[2].partition("\nendef")[0]
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([str(python), "-c", code], check=True)
    ask = "import os, shutil, subprocess; print(shutil.which('python')); print(os.environ['PATH'].count('venv'))"
    nested = f"import subprocess; subprocess.run(['python', '-c', {ask!r}], check=True)"
    result = subprocess.run([str(python), "-c", nested], env={"PATH": "/usr/bin:/bin"}, capture_output=True, check=True)
    assert result.stdout.decode().split() == [str(python), "1"]


def test_pages_end_with_one_line_end() -> None:
    for path in [*Path().glob("*.md"), *Path("docs").rglob("*.md")]:
        assert re.search(r"\S\n\Z", path.read_text(encoding="utf-8")), path
