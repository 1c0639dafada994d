"""The loop over the missing runs, with a stand-in for DVC. `make study` tries the real one."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from src.base.errors import InputError
from study import __main__ as study
from study import figures, table
from study.grid import Grid, Round
from tests.study.conftest import RUN, experiment, git, keep_experiment, make_run, results, with_settings, write

ROUNDS = [Round(question="One?", seeds=[0], cells=["normal-none"]), Round(question="Two?", seeds=[1, 2], cells=["x"])]
GRID = Grid(cells={"normal-none": "", "x": ""}, rounds=ROUNDS, panels={"one": ["normal-none", "x"]})
WANTED = [RUN, *(make_run(f"tiny-x-{seed}")._replace(round=2) for seed in (1, 2))]
BY_NAME = {run.name: run for run in WANTED}
NAN = "error: epoch 1, step 3: the loss is nan at learning rate 0.0001; lower optimizer.lr, or change init"
LOGITS = "error: the network's outputs for 3 of 297 images are not finite on cpu; change init"


class Runner:
    """In place of `run_experiment`: keeps what was asked for; what a run does can be changed by name."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[str]]] = []
        self.ways: dict[str, Callable[[list[str]], object]] = {}

    def __call__(self, name: str, settings: list[str], output: list[str], stages: tuple[str, ...]) -> None:
        assert stages == BY_NAME[name].stages
        self.calls.append((name, settings))
        self.ways.get(name, lambda _output: experiment(BY_NAME[name]))(output)

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.calls]


@pytest.fixture
def runner(repository: str, monkeypatch: pytest.MonkeyPatch) -> Runner:
    runner = Runner()
    monkeypatch.setattr(study, "run_experiment", runner)
    monkeypatch.setattr(figures, "draw", lambda _grid, _scale: None)
    return runner


def fails_with(*lines: str) -> Callable[[list[str]], None]:
    def way(output: list[str]) -> None:
        output += [f"{line}\n" for line in lines]
        raise InputError("dvc exp run failed")

    return way


def test_what_is_missing_runs_in_order(runner: Runner, capsys: pytest.CaptureFixture[str]) -> None:
    experiment(WANTED[1])
    study.run_missing(GRID, WANTED)
    assert runner.names == [RUN.name, "tiny-x-2"]
    assert runner.calls[0][1] == ["init=normal", "train_vgg16.transfer=none", "seed=0"]
    assert sorted(row["name"] for row in table.read(table.STUDY)) == sorted(BY_NAME)
    verdict = "best validation accuracy 0.1000, learned: no, predicted: no"
    assert capsys.readouterr().out.splitlines() == [
        f"{RUN.name}: {verdict}; 1 left, about 0 minutes",
        f"tiny-x-2: {verdict}; 0 left, about 0 minutes",
    ]
    study.run_missing(GRID, WANTED)
    assert len(runner.calls) == 2  # nothing is left


def test_tables_figures_and_page_are_up_to_date_after_each_run(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def draw(grid: Grid, scale: str) -> None:
        assert (grid, scale) == (GRID, "tiny")
        page = study.PAGE.read_text(encoding="utf-8")
        assert page.startswith("By hand.\n")
        seen.append((len(table.read(table.STUDY)), len(table.read(table.CURVES)), page.count("\n| x |")))

    monkeypatch.setattr(figures, "draw", draw)
    study.run_missing(GRID, WANTED)
    assert seen == [(0, 0, 0), (1, 4, 0), (2, 8, 1), (3, 12, 1)]


def test_the_time_that_is_left_is_the_mean_of_the_runs_so_far(
    runner: Runner, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter((0.0, 600.0, 1800.0, 1800.0))
    monkeypatch.setattr(study, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    study.run_missing(GRID, WANTED)
    left = re.findall(r"(\d) left, about (\d+) minutes", capsys.readouterr().out)
    assert left == [("2", "20"), ("1", "15"), ("0", "0")]


def test_a_failure_does_not_stop_the_others(runner: Runner, capsys: pytest.CaptureFixture[str]) -> None:
    runner.ways[RUN.name] = fails_with("error: no space left")
    runner.ways["tiny-x-2"] = fails_with()
    with pytest.raises(InputError, match=f"^failed: {RUN.name}, tiny-x-2; the same command tries them again$"):
        study.run_missing(GRID, WANTED)
    assert runner.names == list(BY_NAME)
    assert f"{RUN.name}: failed, dvc exp run failed; 2 left" in capsys.readouterr().out
    assert [row["name"] for row in table.read(table.STUDY)] == ["tiny-x-1"]
    runner.ways.clear()
    study.run_missing(GRID, WANTED)
    assert runner.names[3:] == [RUN.name, "tiny-x-2"]


@pytest.mark.parametrize("message", [NAN, LOGITS])
def test_an_overflow_is_a_result(runner: Runner, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    runner.ways["tiny-x-1"] = fails_with("epoch 1", message, "ERROR: failed to reproduce 'train_vgg16'")
    study.run_missing(GRID, WANTED)
    row = table.read(table.STUDY)[1]
    reason = message.removeprefix("error: ")
    assert (row["name"], row["seed"], row["learned"], row["error"]) == ("tiny-x-1", "1", "no", reason)
    assert f"tiny-x-1: {reason}; 1 left" in capsys.readouterr().out
    study.run_missing(GRID, WANTED)
    assert runner.names == list(BY_NAME)


def test_what_dvc_prints_is_shown_and_read(
    repository: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Through the real `run_experiment`, with a program in place of DVC."""
    program = tmp_path / "dvc"
    program.write_text(f"#!/bin/sh\necho $*\necho '{NAN}' >&2\nexit 1\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setattr(figures, "draw", lambda _grid, _scale: None)
    monkeypatch.setattr(sys, "executable", str(program))
    study.run_missing(GRID, [RUN])
    command = "exp run --name tiny-normal-none-0 --set-param=init=normal --set-param=train_vgg16.transfer=none"
    shown = capsys.readouterr().out
    assert f"{command} --set-param=seed=0 {' '.join(RUN.stages)}\n{NAN}\n" in shown
    assert table.read(table.STUDY)[0]["error"] == NAN.removeprefix("error: ")


def test_it_goes_on_after_ctrl_c(runner: Runner) -> None:
    def stop(_output: list[str]) -> None:
        raise KeyboardInterrupt

    runner.ways["tiny-x-1"] = stop
    with pytest.raises(KeyboardInterrupt):
        study.run_missing(GRID, WANTED)
    assert [row["name"] for row in table.read(table.STUDY)] == [RUN.name]
    runner.ways.clear()
    study.run_missing(GRID, WANTED)
    assert runner.names == [RUN.name, "tiny-x-1", "tiny-x-1", "tiny-x-2"]


def test_what_finishes_elsewhere_does_not_run(runner: Runner) -> None:
    """Such as an experiment that was queued by hand, or fetched from another clone, while the first run went on."""
    runner.ways[RUN.name] = lambda _output: [experiment(run) for run in (WANTED[2], RUN)]
    study.run_missing(GRID, WANTED)
    assert runner.names == [RUN.name, "tiny-x-1"]


def test_an_experiment_with_other_parameters_is_a_failure(runner: Runner) -> None:
    params = with_settings(RUN.settings | {"seed": "7"})
    runner.ways[RUN.name] = lambda _output: keep_experiment(RUN.name, results() | {"params.yaml": params})
    with pytest.raises(InputError, match=f"^failed: {RUN.name};"):
        study.run_missing(GRID, [RUN])
    assert runner.names == [RUN.name]  # not again and again


def test_a_run_whose_experiment_is_gone_is_done_by_its_row(runner: Runner, repository: str) -> None:
    study.run_missing(GRID, [RUN])
    git("update-ref", "-d", f"refs/exps/{repository[:2]}/{repository[2:]}/{RUN.name}")
    before = table.STUDY.read_bytes()
    study.run_missing(GRID, [RUN])
    assert runner.names == [RUN.name]
    assert table.STUDY.read_bytes() == before


@pytest.mark.parametrize("untracked", ["no", "normal", "all"])
def test_uncommitted_code_is_refused(runner: Runner, untracked: str) -> None:
    git("config", "status.showUntrackedFiles", untracked)
    write({"src/vgg.py": "", "docs/notes.md": ""})
    with pytest.raises(InputError, match=r"^uncommitted changes in src/: commit them first, so"):
        study.run_missing(GRID, WANTED)
    assert not runner.calls


def test_code_that_changes_during_a_run_stops_the_next(runner: Runner) -> None:
    def change(_output: list[str]) -> None:
        experiment(RUN)
        write({"params.yaml": "seed: 5\n", "stages/evaluate.py": ""})

    runner.ways[RUN.name] = change
    with pytest.raises(InputError, match=r"^uncommitted changes in params\.yaml, stages/: commit"):
        study.run_missing(GRID, WANTED)
    assert runner.names == [RUN.name]
    assert len(table.read(table.STUDY)) == 1


@pytest.mark.parametrize(
    ("path", "text", "problem"),
    [
        ("preprocess/metrics.json", '{"images": {}}', r"KeyError\('train'\)"),
        ("train_vgg16/plots/metrics/train/loss.tsv", "step\n", r"InputError\(.*not a table"),
    ],
)
def test_an_experiment_without_usable_results_is_named(runner: Runner, path: str, text: str, problem: str) -> None:
    files = results() | {f"results/{path}": text, "params.yaml": with_settings(RUN.settings)}
    commit = keep_experiment(RUN.name, files)
    with pytest.raises(InputError, match=rf"^{RUN.name}: experiment {commit[:10]} is unusable, remove it: {problem}"):
        study.collect(GRID, [RUN])


def test_the_listing_says_what_is_done_and_what_is_left(runner: Runner) -> None:
    experiment(RUN)
    study.collect(GRID, WANTED)
    table.write("tiny-x-1", {table.STUDY: [table.new_row(WANTED[1], learned="no", error="the loss is nan")]})
    assert study.listing(GRID, WANTED).splitlines() == [
        "round 1: One?",
        f"  done {RUN.name}: best validation accuracy 0.1000, learned: no, predicted: no",
        "round 2: Two?",
        "  done tiny-x-1: the loss is nan",
        "  left tiny-x-2",
        "2 of 3 runs done, 1 left",
    ]


@pytest.fixture
def project(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """The command line, in a repository with a grid and a scale."""
    write(
        {
            "study/grid.yaml": "cells: {normal-none: init=normal, x: init=normal}\npanels: {one: [x]}\nrounds:\n"
            "  - {question: One, seeds: [0], cells: [normal-none]}\n  - {question: Two, seeds: [1, 2], cells: [x]}\n",
            "presets/tiny": "train_vgg16.transfer=none\n",
        }
    )

    def main(*flags: str) -> None:
        monkeypatch.setattr(sys, "argv", ["study", "presets/tiny", *flags])
        study.main()

    return main


def test_rounds_limit_what_runs(
    project: Callable[..., None], runner: Runner, capsys: pytest.CaptureFixture[str]
) -> None:
    project("--rounds", "1")
    assert runner.names == [RUN.name]
    assert capsys.readouterr().out.splitlines()[-1] == "1 of 1 runs done, 0 left"
    project()
    assert runner.names == list(BY_NAME)
    for number in ("0", "-1"):
        with pytest.raises(InputError, match=f"^--rounds: {number}, expected at least 1$"):
            project("--rounds", number)
    for name, arguments in runner.calls:
        assert sorted(arguments) == sorted(f"{key}={value}" for key, value in BY_NAME[name].settings.items())
    assert capsys.readouterr().out.splitlines()[-1] == "3 of 3 runs done, 0 left"


def test_another_grid(project: Callable[..., None], runner: Runner, capsys: pytest.CaptureFixture[str]) -> None:
    write(
        {"other.yaml": "cells: {y: init=xavier}\npanels: {one: [y]}\nrounds: [{question: Q, seeds: [3], cells: [y]}]"}
    )
    project("--grid", "other.yaml", "--list")
    assert capsys.readouterr().out.splitlines()[:2] == ["round 1: Q", "  left tiny-y-3"]


def test_list_and_collect_run_nothing(
    project: Callable[..., None], runner: Runner, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment(RUN)
    write({"src/vgg.py": ""})  # uncommitted code does not matter
    project("--list")
    assert not table.STUDY.exists()
    project("--collect")
    assert [row["name"] for row in table.read(table.STUDY)] == [RUN.name]
    assert capsys.readouterr().out.count("1 of 3 runs done, 2 left") == 2
    assert not runner.calls
