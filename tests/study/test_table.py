"""The tables: rows from experiments, what counts as done, totals over seeds."""

import shutil
from pathlib import Path

import pytest
import yaml

from src.evaluation.history import TABLES
from study import table
from study.grid import TRAINED, Run, read, runs
from tests.study.conftest import (
    LOCK,
    RUN,
    VALUES,
    experiment,
    git,
    keep_experiment,
    make_run,
    results,
    with_settings,
)

DOCS = Path("docs").absolute()


def test_an_experiment_is_found_by_its_parameters(repository: str) -> None:
    first = experiment(RUN)
    eps = make_run("tiny-eps-0", {"optimizer.eps": "1e-16"})
    other = experiment(eps._replace(name="another-name"))
    queued = experiment(RUN._replace(name="queued"))
    git("update-ref", "refs/exps/celery/stash", queued)  # DVC's own, no experiment
    git("update-ref", "-d", f"refs/exps/{repository[:2]}/{repository[2:]}/queued")
    keep_experiment("unfinished", {"params.yaml": with_settings(RUN.settings | {"seed": "3"})})
    assert table.find_done([RUN, eps, make_run("tiny-x-3")]) == {RUN.name: first, "tiny-eps-0": other}


def test_an_experiment_of_another_clone_is_found_after_a_fetch(repository: str, tmp_path: Path) -> None:
    """As docs/sharing.md says: two machines run parts of a grid, one collects."""
    other = make_run("tiny-other-0", {"init": "kaiming"})
    commit, there = experiment(other), tmp_path / "there"
    git("clone", "-q", ".", str(there))
    git("-C", str(there), "fetch", "-q", "origin", "refs/exps/*:refs/exps/*")
    git("update-ref", "-d", f"refs/exps/{repository[:2]}/{repository[2:]}/{other.name}")
    mine = experiment(RUN)
    assert table.find_done([RUN, other]) == {RUN.name: mine}
    git("fetch", "-q", str(there), "refs/exps/*:refs/exps/*")
    assert table.find_done([RUN, other]) == {RUN.name: mine, other.name: commit}
    assert table.record(other, commit)[table.STUDY][0]["init"] == "kaiming"


def test_the_newest_of_equal_experiments_counts(repository: str) -> None:
    experiment(RUN)
    newest = experiment(RUN._replace(name="again"))
    assert table.find_done([RUN]) == {RUN.name: newest}


def test_an_experiment_without_a_test(repository: str) -> None:
    """It is no run of a grid with tests, and its row has no scores of a test: those in results/ are of HEAD."""
    untested = RUN._replace(stages=TRAINED)
    lock = LOCK | {"evaluate": {"deps": [{"path": "models/vgg16.safetensors", "md5": "of HEAD"}]}}
    files = {"dvc.lock": yaml.safe_dump({"stages": lock}), "params.yaml": with_settings(RUN.settings)}
    commit = keep_experiment(RUN.name, results() | files)
    assert table.find_done([RUN]) == {}
    assert table.find_done([untested]) == {RUN.name: commit}
    (row,) = table.record(untested, commit)[table.STUDY]
    assert (row["learned"], row["best_validation_accuracy"]) == ("no", "0.1000")
    assert [column for column in table.COLUMNS if "test" in column and row[column]] == ["evaluate.test"]
    table.write(RUN.name, {table.STUDY: [row]})
    assert table.find_done([RUN]) == {}
    whole = experiment(RUN)
    keep_experiment("untested-again", results() | files)
    assert table.find_done([RUN, untested]) == {RUN.name: whole}
    (row,) = table.record(untested, whole)[table.STUDY]
    assert row["test_accuracy"] == "0.1000"
    table.write(RUN.name, {table.STUDY: [row]})
    git("update-ref", "-d", f"refs/exps/{repository[:2]}/{repository[2:]}/{RUN.name}")
    assert table.find_done([RUN, untested._replace(name="tiny-twin-0")]) == {RUN.name: "", "tiny-twin-0": ""}


def test_a_stage_that_did_not_run_with_the_parameters_is_not_done(repository: str) -> None:
    """As after `dvc exp run -S seed=1 train_vgg11`: VGG16 is that of HEAD."""
    lock = LOCK | {"train_vgg16": LOCK["train_vgg16"] | {"params": {"params.yaml": {"seed": 1}}}}
    files = {"dvc.lock": yaml.safe_dump({"stages": lock}), "params.yaml": with_settings(RUN.settings)}
    keep_experiment(RUN.name, results() | files)
    assert table.find_done([RUN, RUN._replace(name="untested", stages=TRAINED)]) == {}


@pytest.mark.parametrize("text", ["1.0e-05", "1e-05", "0.00001", "1.0E-5"])
def test_numbers_are_compared_and_not_their_text(repository: str, text: str) -> None:
    """PyYAML takes 1e-05, which DVC writes, for text."""
    params = with_settings(RUN.settings).replace("lr: 0.0001\n", f"lr: {text}\n")
    assert f"lr: {text}" in params
    commit = keep_experiment("e", results() | {"params.yaml": params})
    for setting in ("1e-05", "0.00001", "1e-5"):
        run = make_run(RUN.name, {"optimizer.lr": setting})
        assert table.find_done([run]) == {RUN.name: commit}
        table.write(run.name, {table.STUDY: [table.new_row(run, test_accuracy="0.1")]})
    git("update-ref", "-d", f"refs/exps/{repository[:2]}/{repository[2:]}/e")
    assert table.find_done([run]) == {RUN.name: ""}
    assert table.find_done([make_run(RUN.name, {"optimizer.lr": "1.1e-05"})]) == {}


def test_a_parameter_that_no_cell_varies_counts(repository: str) -> None:
    params = with_settings(RUN.settings).replace("dropout: 0.5", "dropout: 0.4")
    keep_experiment("e", results() | {"params.yaml": params})
    assert table.find_done([RUN]) == {}


def test_the_rows_of_an_experiment(repository: str) -> None:
    commit = experiment(RUN)
    record = table.record(RUN, commit)
    (row,) = record[table.STUDY]
    assert list(row) == list(table.COLUMNS)
    expected = {
        "cell": "normal-none",
        "optimizer.eps": "1e-08",
        "train_vgg16.epochs": "6",
        "commit": commit[:10],
        "code": repository[:10],
        "vgg11_layers_below_eps": "1",
        "vgg11_predicted": "yes",
        "vgg11_learned": "yes",
        "vgg11_final_validation_accuracy": "0.3750",
        "vgg11_best_validation_accuracy": "0.4000",
        "vgg11_test_accuracy": "0.4100",
        "layers_below_eps_before_transfer": "2",
        "layers_below_eps_after_transfer": "2",
        "steps": "1056",  # 6 epochs of 176 batches
        "movement": "0.00201",  # 1,056 x 1e-8 / 0.01 x (1 + 0.9)
        "weakest_signal": "3e-10",
        "predicted": "no",
        "learned": "no",
        "test_accuracy": "0.1000",
        "fusion_test_accuracy": "0.4200",
        "fusion_test_loss": "1.7000",
        "error": "",
    }
    assert {key: row[key] for key in expected} == expected
    curves = record[table.CURVES]
    assert curves[0] == {"name": RUN.name, "network": "vgg11", "epoch": "1"} | dict.fromkeys(TABLES, "0.4")
    assert [(row["network"], row["epoch"]) for row in curves] == [
        *(("vgg11", "1"), ("vgg11", "2"), ("vgg16", "1"), ("vgg16", "2"))
    ]
    layers = record[table.LAYERS]
    assert [row["network"] for row in layers] == ["vgg11"] * 2 + ["before_transfer"] * 2 + ["after_transfer"] * 2
    assert layers[1] == {"name": RUN.name, "network": "vgg11", "layer": "fc8", "activation_std": "1e-3"} | {
        "gradient_rms": "1e-9",
        "weight_rms": "0.01",
        "image_share": "0.3",
    }


def test_nothing_is_predicted_for_a_network_that_is_not_trained(repository: str) -> None:
    run = make_run(RUN.name, {"train_vgg11.epochs": "0"})
    (row,) = table.record(run, experiment(run))[table.STUDY]
    assert (row["vgg11_predicted"], row["vgg11_learned"], row["predicted"]) == ("", "", "no")


def row_of(run: Run, **columns: str) -> table.Row:
    return table.new_row(run) | columns


def test_rows_come_in_place_of_those_of_the_same_run_and_else_last(repository: str) -> None:
    runs_ = [make_run(f"tiny-x-{seed}") for seed in range(3)]
    for run in runs_:
        curves = [{"name": run.name, "epoch": str(epoch)} for epoch in (1, 2)]
        table.write(run.name, {table.STUDY: [row_of(run)], table.CURVES: curves})
    before = {path: path.read_bytes() for path in (table.STUDY, table.CURVES)}
    table.write(runs_[1].name, {table.STUDY: [row_of(runs_[1])], table.CURVES: table.read(table.CURVES)[2:4]})
    assert {path: path.read_bytes() for path in before} == before
    table.write(runs_[1].name, {table.STUDY: [row_of(runs_[1], error="the loss is nan, at once")]})
    rows = table.read(table.STUDY)
    assert [(row["seed"], row["error"]) for row in rows] == [("0", ""), ("1", "the loss is nan, at once"), ("2", "")]
    assert [(row["name"], row["epoch"]) for row in table.read(table.CURVES)] == [
        *(("tiny-x-0", "1"), ("tiny-x-0", "2"), ("tiny-x-2", "1"), ("tiny-x-2", "2"))
    ]
    assert not table.LAYERS.exists()


def test_the_recorded_tables_stay_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their rows are runs of the grid, and to write the rows of a run again changes no byte."""
    grids, scales = (
        sorted(Path(name).glob(pattern)) for name, pattern in (("study", "*.yaml"), ("presets", "study-*"))
    )
    wanted = [run for grid in grids for scale in scales for run in runs(read(grid), scale, VALUES)]
    monkeypatch.chdir(tmp_path)
    git("init", "-q")
    shutil.copytree(DOCS, "docs")
    names = [row["name"] for row in table.read(table.STUDY)]
    assert names
    assert set(names) <= set(table.find_done(wanted))  # one run can be a cell of two grids
    for name in (names[0], names[-1]):
        rows = {path: table.group(table.read(path), "name")[name] for path in (table.STUDY, table.CURVES, table.LAYERS)}
        table.write(name, rows)
    for path in (table.STUDY, table.CURVES, table.LAYERS):
        assert path.read_bytes() == (DOCS.parent / path).read_bytes()
    assert table.read(table.STUDY)[0].keys() == dict.fromkeys(table.COLUMNS).keys()


def test_a_summary_has_totals_over_seeds() -> None:
    rows = [
        row_of(make_run(f"tiny-c-{seed}"), predicted=said, learned=learned, movement=str(4 - seed))
        | {"best_validation_accuracy": accuracy, "weakest_signal": f"1e-0{seed}"}
        for seed, said, learned, accuracy in (
            (2, "yes", "yes", "0.4"),
            (3, "yes", "no", "0.1"),
            (1, "seed", "yes", "0.4"),
        )
    ]
    text = table.summary(rows[:2])
    assert "| c | 2 | - | - | - | 1 to 2 | 1e-03 to 1e-02 | 2 yes | 1 yes, 1 no | 0.2500 ± 0.2121 | - |" in text
    assert text.endswith("Runs: predicted yes, learned no: 1; predicted yes, learned yes: 1.")
    text = table.summary(rows)
    assert "| 2 yes, 1 seed | 2 yes, 1 no |" in text
    assert text.endswith("predicted seed, learned yes: 1; predicted yes, learned no: 1; predicted yes, learned yes: 1.")


def test_a_summary_has_one_row_per_cell_and_one_table_per_scale() -> None:
    trained = {"vgg11_learned": "yes", "vgg11_best_validation_accuracy": "0.3000"}
    untrained = {"vgg11_learned": "", "vgg11_best_validation_accuracy": "0.1000"}
    rows = [
        row_of(make_run("tiny-a-0"), **trained, test_accuracy="0.2500", movement="0.5"),
        row_of(make_run("tiny-b-0"), learned="no", error="the loss is nan"),
        row_of(make_run("tiny-a-1"), **untrained, test_accuracy="0.2500", movement="0.5"),
        row_of(make_run("tiny-a-0")._replace(scale="big")),
    ]
    text = table.summary(rows)
    tiny, big = text.split("At `presets/big`:\n\n")
    assert tiny.startswith("At `presets/tiny`:\n\n| cell | seeds | VGG11 best validation accuracy | layers below eps ")
    assert "| a | 2 | 0.3000 | - | - | 0.5 | - | - | - | - | 0.2500 ± 0.0000 |\n" in tiny
    assert "| b | 1 | - | - | - | - | - | - | 1 no | - | - |\n" in tiny
    assert "| a | 1 | - |" in big


def test_the_pages_have_a_place_for_their_tables() -> None:
    places = [("docs/study/cells.md", "cells"), ("docs/study.md", "biases")]
    tables = [grid.table for grid in map(read, Path("study").glob("*.yaml")) if grid.table]
    assert all(set(each.columns) <= set(table.COLUMNS) for each in tables)
    for page, name in [*places, *((each.page, each.place) for each in tables)]:
        text = Path(page).read_text(encoding="utf-8")
        assert text.count(f"<!-- {name} -->\n") == text.count(f"<!-- /{name} -->\n") == 1
