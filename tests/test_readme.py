"""Every command of the README runs in a test, or is listed here with the reason why it does not."""

import re
import subprocess
from pathlib import Path

import pytest

README = Path("README.md").read_text(encoding="utf-8")

PIPELINE = "tests/test_pipeline.py::"
GOING_BACK = f"{PIPELINE}test_going_back_restores_instead_of_training_again"
EXPERIMENT = f"{PIPELINE}test_an_experiment_leaves_the_workspace_alone"
QUEUE = f"{PIPELINE}test_queued_experiments_run_what_they_were_queued_with_two_at_a_time"
COMMANDS = {
    "make demo": EXPERIMENT,
    "make repro": f"{PIPELINE}test_another_clone_comes_to_the_same_bytes",
    "make PYTHON=python3.12 setup": "not run here: CI sets up with this Python",
    "make setup": "not run here: CI sets up before the tests",
    "make test": "not run here: it is this test run",
    "make experiment PRESET=presets/original": "tests/test_presets.py::test_every_preset_runs_from_end_to_end",
    "make experiment PRESET=presets/paper": "tests/test_presets.py::test_every_preset_runs_from_end_to_end",
    "export TORCH=cpu": "tests/test_readme.py::test_a_set_up_without_cuda_takes_versions_from_the_same_file",
    "make test-gpu": "not run here: it needs a GPU",
    "make study": "tests/study/test_runner.py::test_what_is_missing_runs_in_order",
    "make study-list": "tests/study/test_runner.py::test_the_listing_says_what_is_done_and_what_is_left",
    "make predict IMAGES='cat.jpg holiday/'": "tests/scripts/test_predict.py::test_a_folder_stands_for_its_pictures",
    "make report": "tests/scripts/test_report.py::test_results_of_the_workspace",
    "make report EXPERIMENT=demo": "tests/scripts/test_report.py::test_results_of_a_revision_against_another_one",
    "make pr-report BASE=main": "tests/scripts/test_pr_report.py::test_says_what_changed",
    "make same BASE=main": "tests/scripts/test_same.py::",
    "make torture": "tests/test_torture.py::test_a_stage_that_is_stopped_again_and_again_ends_with_the_same_bytes",
    "source .venv/bin/activate": "tests/test_habits.py::",
    "dvc status": "tests/test_sharing.py::test_a_second_clone_gets_everything_and_computes_nothing",
    "dvc exp": "not a whole command",
    "dvc exp run -S init=none": GOING_BACK,
    "dvc exp run --temp -S init=none -S train_vgg16.epochs=10": "not run here: DVC's own work",
    "dvc exp run -S runtime.devices=8": "tests/compute/test_processes.py::",
    "dvc exp run --queue -S 'init=normal,none,kaiming'": QUEUE,
    "dvc queue start": QUEUE,
    "dvc exp show": EXPERIMENT,
    "dvc exp apply NAME": EXPERIMENT,
    "dvc metrics show": GOING_BACK,
    "dvc metrics diff": GOING_BACK,
    "dvc metrics diff main": GOING_BACK,
    "dvc params diff main": GOING_BACK,
    "dvc plots diff": GOING_BACK,
    "dvc plots diff main": GOING_BACK,
    "dvc plots show": "tests/test_plots.py::test_the_template_loads_nothing",
    "dvc cache dir --local FOLDER; dvc config --local cache.type symlink": "tests/test_sharing.py::"
    "test_earlier_runs_come_with_a_copy_of_the_cache_and_not_with_the_run_cache",
    "python -m scripts.predict models/vgg11.safetensors holiday/ --csv": "tests/scripts/test_predict.py::"
    "test_json_and_csv_say_the_same",
    "python -m scripts.export models/vgg16.safetensors vgg16.pth": "tests/networks/test_torchvision_layout.py::"
    "test_export_writes_what_torchvision_loads",
}


def commands(text: str) -> set[str]:
    """What stands in `code` or in an indented block and begins with the name of a program."""
    found = [match[1] or match[2] for match in re.finditer(r"`([^`\n]+)`|^ {4}(.+)$", text, re.MULTILINE)]
    stripped = [re.split(r"\s+# ", line)[0].strip().removeprefix("$ ") for line in found]
    return {line for line in stripped if re.match("(make|dvc|python|git|source|pip|export) ", line)}


def test_every_command_is_listed() -> None:
    assert commands(README) == set(COMMANDS)


@pytest.mark.parametrize("place", sorted({place for place in COMMANDS.values() if place.startswith("tests/")}))
def test_the_tests_of_the_commands_exist(place: str) -> None:
    file, _, name = place.partition("::")
    assert f"def {name or 'test_'}" in Path(file).read_text(encoding="utf-8")


@pytest.mark.parametrize("command", sorted(command for command in COMMANDS if command.startswith("make ")))
def test_make_knows_the_command(command: str) -> None:
    arguments = command.replace("'", "").replace("cat.jpg holiday/", "cat.jpg").split()[1:]
    subprocess.run(["make", "--dry-run", *arguments], check=True, capture_output=True)


def test_a_set_up_without_cuda_takes_versions_from_the_same_file() -> None:
    """The installation itself needs PyTorch's own index."""
    make = ["make", "--dry-run", "--always-make", "setup", "TORCH=cpu"]
    printed = subprocess.run(make, check=True, capture_output=True, text=True).stdout
    (line,) = [line for line in printed.splitlines() if "uv pip install" in line]
    assert "--torch-backend cpu --constraint requirements.txt --requirements pyproject.toml --group dev" in line
    options = subprocess.run(["uv", "pip", "install", "--help"], check=True, capture_output=True, text=True).stdout
    assert all(option in options for option in ("--torch-backend", "--constraint", "--requirements", "--group"))


def test_the_summary_in_korean_has_the_same_numbers() -> None:
    """The table of results, cell by cell."""
    korean = Path("README.ko.md").read_text(encoding="utf-8")
    tables = []
    for text in (README, korean):
        rows = [line for line in text.splitlines() if line.startswith("|") and "`init=" in line]
        tables.append([re.findall(r"\d\.\d{4}", row) for row in rows[:3]])
    assert tables[0] == tables[1]
    assert len(tables[0]) == 3


def headings(page: Path) -> set[str]:
    """The anchors that GitHub makes of the headings of a page."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_links_lead_to_files_and_headings_that_exist() -> None:
    pages = [*Path().glob("*.md"), *Path("docs").rglob("*.md")]
    for page in pages:
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
            target, _, heading = link.partition("#")
            place = page.parent / target if target else page
            assert "://" in link or place.exists(), f"{page}: {link}"
            assert "://" in link or not heading or heading in headings(place), f"{page}: {link}"
