"""`make same`, on a small repository of its own, with real git and DVC."""

import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
import yaml
from dvc.dependency.param import ParamsDependency

import scripts.same
from tests.scripts.small_pipeline import PIPELINE, TRAIN, commit, git, run

PRESET = "lr=0.5\n"
COMMENT = f"# A comment changes no result.\n{TRAIN}"


@pytest.fixture
def project(clone: Path) -> Path:
    """A clone without a cache, and with a preset."""
    (clone / "presets").mkdir()
    (clone / "presets" / "tiny").write_text(PRESET)
    commit(clone, "preset")
    return clone


def same(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run(folder, *arguments, script="same")


def change(folder: Path, text: str) -> None:
    (folder / "train.sh").write_text(text)
    commit(folder, "change")


def test_a_comment_changes_no_byte(project: Path) -> None:
    change(project, COMMENT)
    result = same(project, "preset")
    assert (result.returncode, result.stdout) == (
        0,
        "All 5 outputs of 4 stages have the same bytes as at preset.\n",
    ), result.stderr
    assert git(project, "status", "--porcelain") == ""


def test_names_all_that_differs_from_the_first_stage_on(project: Path) -> None:
    change(project, f"{TRAIN}echo more >> model.txt\n")
    result = same(project, "preset", "--record")
    assert (result.returncode, result.stderr.splitlines()[-2:]) == (
        1,
        ["Not the same as at preset, from train on:", "train: model.txt"],
    )
    assert git(project, "status", "--porcelain") == ""  # nothing is recorded


@pytest.mark.slow
def test_the_preset_decides_what_runs(project: Path) -> None:
    """Both commits have a learning rate of their own. The preset gives them the same one."""
    assert same(project, "old").returncode == 0
    (project / "presets" / "none").write_text("# nothing\n")
    commit(project, "none")
    assert "train: metrics.json" in same(project, "old", "--preset", "presets/none").stderr


def test_records_the_new_code_without_data_and_models(project: Path) -> None:
    """The clone has no cache, so DVC itself could not record the change: a comment, and a parameter that is new."""
    before = yaml.safe_load((project / "dvc.lock").read_text())
    (project / "params.yaml").write_text("lr: 0.75\nmomentum: 0.0\n")
    (project / "dvc.yaml").write_text(PIPELINE.replace("params: [lr]", "params: [lr, momentum]"))
    change(project, COMMENT.replace("params.yaml", "params.yaml | sed 1q"))
    assert "train:" in dvc_status(project)
    result = same(project, "preset", "--record")
    assert result.stdout.splitlines()[-1] == "dvc.lock now has the code of HEAD in: train", result.stderr
    after = yaml.safe_load((project / "dvc.lock").read_text())
    (old,) = (dep for dep in before["stages"]["train"]["deps"] if dep["path"] == "train.sh")
    (new,) = (dep for dep in after["stages"]["train"]["deps"] if dep["path"] == "train.sh")
    assert old.pop("md5") != new["md5"]
    old |= {"md5": new["md5"], "size": new["size"]}
    before["stages"]["train"]["params"]["params.yaml"]["momentum"] = 0.0
    assert before == after  # and nothing else
    assert not {"train.sh", "params.yaml"} & set(dvc_status(project).replace(":", " ").split())


@pytest.mark.parametrize(
    ("present", "recorded"),
    [
        ({"augment": {"flip": False, "cutout": False}}, True),
        ({"augment": {"flip": False}, "new": 1}, True),
        ({"augment": {"flip": True, "cutout": False}}, False),
        ({"augment": {"cutout": False}}, False),
    ],
)
def test_new_parameters_may_be_recorded(present: dict[str, object], recorded: bool) -> None:
    dep = mock.Mock(spec=ParamsDependency, hash_info=mock.Mock(value={"augment": {"flip": False}}))
    dep.read_params.return_value = present
    assert scripts.same.may_be_recorded(dep) == recorded


@pytest.mark.slow
def test_a_record_that_was_out_of_date_stays_so(project: Path) -> None:
    change(project, f"{TRAIN}echo more >> model.txt\n")
    git(project, "tag", "--force", "stale")
    (project / "train.sh").write_text(f"{TRAIN}echo more >> model.txt\n# A comment.\n")
    commit(project, "comment")
    result = same(project, "stale", "--record")
    assert result.stdout.splitlines()[-2:] == [
        "dvc.lock now has the code of HEAD in: no stage",
        "Still out of date: train, evaluate. Their record was so before, or a parameter has another value.",
    ], result.stderr
    assert git(project, "status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "unknown git revision 'nowhere'"),
        (["old", "--record"], "dvc.lock is not that of old"),
        (["preset", "--preset", "presets/other"], "no such preset"),
        (["empty"], "empty: the preset cannot be applied"),
    ],
)
def test_what_cannot_be_compared(project: Path, arguments: list[str], message: str) -> None:
    result = same(project, *arguments)
    assert result.returncode == 1
    assert message in result.stderr.splitlines()[-1]


def test_uncommitted_changes_are_refused(project: Path) -> None:
    (project / "train.sh").write_text(COMMENT)
    assert "uncommitted changes in train.sh: commit them" in same(project, "preset").stderr


def test_a_pipeline_that_fails(project: Path) -> None:
    change(project, "echo said by the stage; exit 3\n")
    lines = same(project, "preset").stderr.splitlines()
    assert lines[-1] == "error: the pipeline of HEAD fails, see above"
    assert "said by the stage" in lines


def dvc_status(folder: Path) -> str:
    return subprocess.run(
        [sys.executable, "-m", "dvc", "status"], cwd=folder, check=True, capture_output=True, text=True
    ).stdout
