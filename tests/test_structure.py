"""Declared = used: dvc.yaml, params.yaml, the code and the README's map say the same thing."""

import ast
import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml

from src.params import KEYS, Part

DVC: dict[str, Any] = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))
STAGES = list(DVC["stages"])


def imported(path: Path) -> set[Path]:
    """The files of this project that a file imports, itself included, and what those import."""
    found: set[Path] = set()
    to_read = {path}
    while to_read:
        file = to_read.pop()
        found.add(file)
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                assert node.level == 0, f"{file}: relative import"
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            candidates = {Path(*name.split(".")).with_suffix(".py") for name in names}
            to_read |= {candidate for candidate in candidates if candidate.exists()} - found
        package = file.with_name("__init__.py")
        if package.exists() and package.stat().st_size:
            found.add(package)
    return found


def declared_code(stage: str) -> set[Path]:
    return {Path(dep) for dep in DVC["stages"][stage]["deps"] if dep.endswith(".py")}


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
    """The next test can fail: an import that is hidden, renamed or of a second hand counts."""
    monkeypatch.chdir(tmp_path)
    files = {
        "stages/a.py": "import src.b\ndef f():\n    from src import c as d\n",
        "src/__init__.py": "# runs before the modules of its folder\n",
        "src/b.py": "if False:\n    from src.e import name\n",
        **dict.fromkeys(("src/c.py", "src/e.py", "src/not_imported.py"), ""),
    }
    for name, content in files.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(content, encoding="utf-8")
    assert {path.as_posix() for path in imported(Path("stages/a.py"))} == set(files) - {"src/not_imported.py"}


@pytest.mark.parametrize("stage", STAGES)
def test_code_deps_are_what_the_stage_imports(stage: str) -> None:
    assert declared_code(stage) == imported(Path("stages", f"{stage}.py"))


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
    code = [dep for dep in DVC["stages"][stage]["deps"] if dep.endswith(".py")]
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
    for file in [*Path("src").glob("*.py"), *Path("stages").glob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not node.value.startswith(("data/", "models/", "results/")), f"{file}:{node.lineno}"


def test_the_test_set_is_read_by_evaluate_alone() -> None:
    readers = [stage for stage in STAGES if "${path.test}" in DVC["stages"][stage]["deps"]]
    assert readers == ["evaluate"]


def test_nothing_sees_the_environment_but_for_places() -> None:
    """CIFAR10_URL and DVC_ROOT say where to look, TORCHELASTIC_RUN_ID who started the process; nothing else is read."""
    names = set()
    for file in [*Path("src").glob("*.py"), *Path("stages").glob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("os.environ.get", "os.getenv"):
                names.add(ast.literal_eval(node.args[0]))
            elif isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ":
                assert isinstance(node.ctx, ast.Store), f"{file}:{node.lineno}"
    assert names <= {"CIFAR10_URL", "DVC_ROOT", "TORCHELASTIC_RUN_ID"}
