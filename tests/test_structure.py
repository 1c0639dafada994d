"""Declared = used: dvc.yaml, params.yaml, the code and the README's map say the same thing."""

import ast
import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.fs import LocalFileSystem
from dvc.ignore import DvcIgnoreFilter

from src.base.params import KEYS, Part

DVC: dict[str, Any] = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))
STAGES = list(DVC["stages"])
ROOMS = sorted(path.name for path in Path("src").iterdir() if (path / "__init__.py").exists())

BELOW: dict[str, set[str]] = {
    "base": set(),
    "compute": {"base"},
    "download": {"base"},
    "images": {"base", "compute"},
    "networks": {"base", "compute", "images"},
    "training": {"base", "compute", "images", "networks"},
    "evaluation": {"base", "compute", "images", "networks"},
    "inspection": {"base", "compute", "images", "networks"},
}
"""The rooms from which each room may import: imports point down only."""


def imports_of(file: Path) -> set[Path]:
    """The files of this project that a file imports directly, anywhere in the file, and the packages they lie in."""
    found: set[Path] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{file}: relative import"
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            parts = name.split(".")
            packages = [Path(*parts[:depth], "__init__.py") for depth in range(1, len(parts) + 1)]
            found |= {path for path in (Path(*parts).with_suffix(".py"), *packages) if path.exists()}
    return found


def imported(path: Path) -> set[Path]:
    """The files of this project that a file imports, itself and its package included, and what those import."""
    found: set[Path] = set()
    to_read = {path, *(package for package in [path.with_name("__init__.py")] if package.exists())}
    while to_read:
        file = to_read.pop()
        found.add(file)
        to_read |= imports_of(file) - found
    return found


def room(file: Path) -> str:
    """The room of a file of src/; empty for other files, and for src/__init__.py."""
    return file.parts[1] if file.parts[0] == "src" and len(file.parts) > 2 else ""


def needed_code(stage: str) -> set[str]:
    """What a stage must declare: the rooms of the files that it imports, its script, and the code before its script."""
    files = imported(Path("stages", f"{stage}.py"))
    rooms = {f"src/{room(file)}" for file in files if room(file)}
    return rooms | {file.as_posix() for file in files if file.parts[0] == "stages"}


def declared_code(stage: str) -> set[str]:
    return {dep for dep in DVC["stages"][stage]["deps"] if dep.startswith(("src", "stages"))}


def loaded_params(stage: str) -> set[str]:
    """The keys that a stage's Params reads; of a `Part` only its own."""
    keys = set()
    for name, field in importlib.import_module(f"stages.{stage}").Params.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Part):
            keys |= {f"{name}.{key}" for key in kind.model_fields}
        else:
            keys.add(name)
    return keys


def test_every_way_to_import_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next tests can fail: an import that is hidden, renamed or indirect counts, and so does a package."""
    monkeypatch.chdir(tmp_path)
    files = {
        "stages/__init__.py": "",
        "stages/a.py": "import src.b.one\ndef f():\n    from src.c import two as d\n",
        "src/__init__.py": "",
        "src/b/__init__.py": "from src import f\n",
        "src/b/one.py": "if False:\n    from src.e.three import name\n",
        "src/c/__init__.py": "",
        "src/f/__init__.py": "",
        **dict.fromkeys(("src/c/two.py", "src/c/not_imported.py", "src/e/three.py", "src/e/__init__.py"), ""),
    }
    for name, content in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(content, encoding="utf-8")
    assert {path.as_posix() for path in imported(Path("stages/a.py"))} == set(files) - {"src/c/not_imported.py"}
    assert needed_code("a") == {"src/b", "src/c", "src/e", "src/f", "stages/__init__.py", "stages/a.py"}


@pytest.mark.parametrize("stage", STAGES)
def test_declared_rooms_are_what_the_stage_imports(stage: str) -> None:
    assert declared_code(stage) == needed_code(stage)


def test_all_code_of_src_lies_in_a_room() -> None:
    assert sorted(BELOW) == ROOMS
    assert [path.name for path in Path("src").glob("*.py")] == ["__init__.py"]
    assert Path("src", "__init__.py").read_bytes() == b""  # it belongs to no room, so no stage declares it
    assert sorted({room(path) for path in Path("src").rglob("*.py")} - {""}) == ROOMS


@pytest.mark.parametrize("name", ROOMS)
def test_imports_point_down(name: str) -> None:
    files = sorted(Path("src", name).rglob("*.py"))
    assert files
    for file in files:
        for target in imports_of(file):
            assert target.parts[0] == "src", f"{file} imports {target}"
            assert room(target) in {"", name} | BELOW[name], f"{file} imports {target}"


def test_stages_import_neither_scripts_nor_tests() -> None:
    for stage in STAGES:
        assert {file.parts[0] for file in imported(Path("stages", f"{stage}.py"))} <= {"src", "stages"}


@pytest.mark.parametrize(
    "name", ["__pycache__/x.cpython-311.pyc", ".mypy_cache/x.json", "x.py~", ".x.py.swp", ".DS_Store"]
)
def test_what_tools_leave_in_a_room_does_not_count(name: str) -> None:
    """DVC would otherwise run every stage again when Python or an editor writes into a folder of src/."""
    ignore = DvcIgnoreFilter(LocalFileSystem(), str(Path.cwd()))
    assert ignore.is_ignored_file(str(Path.cwd() / "src" / "base" / name))
    assert not ignore.is_ignored_file(str(Path.cwd() / "src" / "base" / "params.py"))


@pytest.mark.parametrize("stage", STAGES)
def test_params_are_what_the_stage_loads(stage: str) -> None:
    assert set(DVC["stages"][stage]["params"]) == loaded_params(stage)


@pytest.mark.parametrize("stage", STAGES)
def test_what_a_stage_loads_it_uses(stage: str) -> None:
    """Each field of Params is read somewhere in the stage or in what it imports."""
    files = imported(Path("stages", f"{stage}.py"))
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))]
    read = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    for key in loaded_params(stage):
        assert key.split(".")[-1] in read, key


def test_every_key_of_params_yaml_belongs_to_a_stage() -> None:
    declared = {key.split(".")[0] for stage in STAGES for key in DVC["stages"][stage]["params"]}
    assert declared == set(KEYS)


@pytest.mark.parametrize("stage", STAGES)
def test_lists_are_sorted_and_unique(stage: str) -> None:
    code = [dep for dep in DVC["stages"][stage]["deps"] if dep.startswith(("src", "stages"))]
    assert code == sorted(set(code))


@pytest.mark.parametrize("stage", STAGES)
def test_one_name_four_times(stage: str) -> None:
    """Stage = stages/<name>.py = folder in results/, with a description; docstrings are the help."""
    definition = DVC["stages"][stage]
    assert definition["desc"]
    assert f"python -m stages.{stage} " in definition["cmd"]
    assert importlib.import_module(f"stages.{stage}").__doc__
    for kind in ("metrics", "plots"):
        for entry in definition.get(kind, []):
            ((path, options),) = entry.items()
            assert path.startswith(f"results/{stage}/")
            assert options["cache"] is False
    assert sorted(path.stem for path in Path("stages").glob("[a-z]*.py")) == sorted(STAGES)


def test_no_output_outside_git_switches_off_the_run_cache() -> None:
    """An `outs` entry with options such as `cache: false` or `persist` would: dvc/stage/cache.py."""
    for stage in STAGES:
        assert all(isinstance(out, str) for out in DVC["stages"][stage].get("outs", []))


def test_modules_hold_no_path_of_the_pipeline() -> None:
    for file in [*Path("src").rglob("*.py"), *Path("stages").glob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not node.value.startswith(("data/", "models/", "results/")), f"{file}:{node.lineno}"


def test_the_test_set_is_read_by_evaluate_alone() -> None:
    readers = [stage for stage in STAGES if "${path.test}" in DVC["stages"][stage]["deps"]]
    assert readers == ["evaluate"]


def test_nothing_sees_the_environment_but_for_places() -> None:
    """CIFAR10_URL and DVC_ROOT say where to look, torchrun's variables who takes part; nothing else is read."""
    names = set()
    for file in [*Path("src").rglob("*.py"), *Path("stages").glob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("os.environ.get", "os.getenv"):
                names.add(ast.literal_eval(node.args[0]))
            elif isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ":
                assert not isinstance(node.ctx, ast.Load), f"{file}:{node.lineno}"
    torchrun = {"TORCHELASTIC_RUN_ID", "TORCHELASTIC_ERROR_FILE", "WORLD_SIZE", "LOCAL_WORLD_SIZE"}
    assert names <= {"CIFAR10_URL", "DVC_ROOT"} | torchrun


CODE = ("src", "stages", "scripts", "study", "benchmarks")


def test_files_are_short() -> None:
    for folder in (*CODE, "tests"):
        for path in Path(folder).rglob("*.py"):
            assert len(path.read_text(encoding="utf-8").splitlines()) <= 300, path


def test_the_readme_maps_every_file() -> None:
    """One line per file, of the folders with code and of the presets."""
    readme = Path("README.md").read_text(encoding="utf-8")
    files = [path for folder in CODE for path in Path(folder).rglob("*.py") if path.name != "__init__.py"]
    for path in [*files, *Path("presets").iterdir()]:
        assert re.search(rf"^ +{re.escape(path.name)} ", readme, re.MULTILINE), path
