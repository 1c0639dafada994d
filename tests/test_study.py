"""The study: its grid, its rows from experiments, its tables and figures. The real queue is tried by `make study`."""

import json
import re
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import yaml

from scripts import study, study_figures, study_table
from scripts.grid import VARIED, Grid, Round, Run, parameters, plain, read, runs, varied
from scripts.study import Task
from src.errors import InputError
from src.params import load
from tests.test_params import DEFAULTS, STAGES

SCALES = sorted(Path("presets").glob("study-*"))
GRID = read(Path("study", "grid.yaml"))
VALUES = parameters(DEFAULTS)
RUN = Run(
    "tiny-normal-none-0", "tiny", "normal-none", 1, {"init": "normal", "train_vgg16.transfer": "none", "seed": "0"}
)


@pytest.mark.parametrize("scale", SCALES, ids=lambda path: path.name)
def test_every_run_of_the_grid_is_valid(tmp_path: Path, scale: Path) -> None:
    path = tmp_path / "params.yaml"
    for run in runs(GRID, scale, VALUES):
        path.write_text(with_settings(run.settings), encoding="utf-8")
        for stage in STAGES.values():
            load(stage, path)


def with_settings(settings: dict[str, str]) -> str:
    """params.yaml as `dvc exp run -S` would change it."""
    params = yaml.safe_load(DEFAULTS)
    for key, value in settings.items():
        *sections, name = key.split(".")
        section = params
        for part in sections:
            section = section[part]
        assert name in section, key
        section[name] = int(value) if value.isdigit() else plain(value)
    return yaml.safe_dump(params)


def test_the_grid_varies_what_it_says() -> None:
    settings = [run.settings for scale in SCALES for run in runs(GRID, scale, VALUES)]
    assert {key for each in settings for key in each} <= set(VARIED) <= set(VALUES)
    assert {cell for round_ in GRID.rounds for cell in round_.cells} == set(GRID.cells)


def test_no_two_runs_are_the_same() -> None:
    for scale in SCALES:
        all_runs = runs(GRID, scale, VALUES)
        assert len({tuple(varied(run, VALUES).values()) for run in all_runs}) == len(all_runs)


def test_a_cell_goes_before_the_scale(tmp_path: Path) -> None:
    scale = tmp_path / "tiny"
    scale.write_text("train_vgg11.epochs=2\nbatch_size=32\n", encoding="utf-8")
    grid = Grid(
        cells={"a": "init=none train_vgg11.epochs=0", "b": "init=none"},
        rounds=[Round(question="?", seeds=[0, 1], cells=["a"]), Round(question="?", seeds=[0], cells=["b"])],
    )
    first, second, third = runs(grid, scale, VALUES)
    assert [run.name for run in (first, second, third)] == ["tiny-a-0", "tiny-a-1", "tiny-b-0"]
    assert first.settings == {"train_vgg11.epochs": "0", "batch_size": "32", "init": "none", "seed": "0"}
    assert (second.settings["seed"], third.settings["train_vgg11.epochs"], third.round) == ("1", "2", 2)
    scale.write_text("init=none\ntrain_vgg11.epochs=0\n", encoding="utf-8")
    assert [run.name for run in runs(grid, scale, VALUES)] == ["tiny-a-0", "tiny-a-1"]  # b is now the same as a


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cells: {a: init}\nrounds: []", "a: 'init': expected key=value"),
        ("cells: {a: dropout=0}\nrounds: []", "a: 'dropout=0': expected key=value; keys: seed, init"),
        ("cells: {}\nrounds: [{question: q, seeds: [0], cells: [b]}]", "round 1: no such cell: b"),
        ("cells: {}\nrounds: [{question: q, seeds: [-1], cells: [b]}]", "not a grid: "),
        ("cells: [", "not a grid: "),
    ],
)
def test_what_is_no_grid(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=re.escape(f"{path}: {message}")):
        read(path)


def test_values_are_compared_as_numbers() -> None:
    assert plain("1e-05") == plain(0.00001) == plain("0.00001")
    assert plain("8") == plain(8.0)
    assert plain(True) == plain("true")
    assert plain("none") == "none"
    assert parameters("a: {b: 1e-16, c: x}\nd: 1") == {"a.b": 1e-16, "a.c": "x", "d": 1.0}


LAYERS = "network,layer,activation_std,gradient_rms,weight_rms,image_share\n"


@pytest.fixture
def commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A repository, the current folder, with an experiment of `RUN` as DVC keeps it; its commit."""
    monkeypatch.chdir(tmp_path)
    study_table.commit_parameters.cache_clear()
    git("init", "-q", "-b", "main")
    write({"params.yaml": DEFAULTS, "docs/study.md": "By hand.\n\n<!-- cells -->\n<!-- /cells -->\n"})
    git("add", "-A")
    git("commit", "-q", "-m", "code")
    head = git("rev-parse", "HEAD")
    return experiment(head, RUN.name, {})


def git(*arguments: str) -> str:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def write(files: dict[str, str]) -> None:
    for name, text in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text, encoding="utf-8")


def experiment(head: str, name: str, changes: dict[str, str]) -> str:
    """Commit an experiment on top of `head` and go back to it."""
    curves = "step\tvalue\n1\t{}\n2\t{}\n"
    files = {
        "params.yaml": with_settings(RUN.settings | changes),
        "results/inspect_init/layers.csv": LAYERS + "vgg11,conv1_1,0.1,1e-7,0.01,0.9\nvgg11,fc8,1e-3,1e-9,0.01,0.3\n",
        "results/inspect_transfer/layers.csv": LAYERS
        + "before_transfer,conv1_1,0.1,1e-12,0.01,0.9\nbefore_transfer,fc8,1e-9,1e-12,0.01,0.3\n"
        + "after_transfer,conv1_1,0.1,1e-12,0.01,0.9\nafter_transfer,fc8,1e-9,1e-12,0.01,0.3\n",
        "results/preprocess/metrics.json": json.dumps({"images": {"train": 45000}}),
        "results/evaluate/metrics.json": json.dumps({"vgg11": {"accuracy": 0.41}, "vgg16": {"accuracy": 0.1}}),
        "results/evaluate/vgg16/classification_report.json": json.dumps(
            dict.fromkeys((*"0123456789", "accuracy", "macro avg", "weighted avg"), 0)
        ),
    }
    for network, accuracy in (("vgg11", (0.4, 0.375)), ("vgg16", (0.1, 0.1))):
        for score in study_table.SCORES:
            files[f"results/train_{network}/plots/metrics/{score}.tsv"] = curves.format(*accuracy)
    write(files)
    git("add", "-A")
    git("commit", "-q", "-m", name)
    git("update-ref", f"refs/exps/{head[:2]}/{head[2:]}/{name}", "HEAD")
    made = git("rev-parse", "HEAD")
    git("reset", "-q", "--hard", head)
    return made


def test_an_experiment_is_found_by_its_parameters(commit: str) -> None:
    head = git("rev-parse", "HEAD")
    git("update-ref", "refs/exps/celery/stash", commit)  # DVC's own, no experiment
    other = experiment(head, "another-name", {"optimizer.eps": "1e-16"})
    commits = study_table.experiments()
    assert sorted(commits) == sorted([commit, other])
    assert study_table.find(RUN, commits, VALUES) == commit
    changed = Run("n", "tiny", "eps", 1, RUN.settings | {"optimizer.eps": "1e-16"})
    assert study_table.find(changed, commits, VALUES) == other
    assert study_table.find(Run("n", "tiny", "x", 1, RUN.settings | {"seed": "3"}), commits, VALUES) == ""
    assert study_table.find(RUN, [head], VALUES) == ""  # the same parameters without results


def test_a_row_from_an_experiment(commit: str) -> None:
    record = study_table.record(RUN, commit, VALUES)
    assert list(record.row) == list(study_table.COLUMNS)
    expected = {
        "cell": "normal-none",
        "optimizer.eps": "1e-08",
        "train_vgg16.epochs": "30",
        "commit": commit[:10],
        "code": git("rev-parse", "HEAD")[:10],
        "vgg11_layers_below_eps": "1",
        "vgg11_predicted": "yes",
        "vgg11_learned": "yes",
        "vgg11_final_validation_accuracy": "0.3750",
        "vgg11_best_validation_accuracy": "0.4000",
        "vgg11_test_accuracy": "0.4100",
        "layers_below_eps_after_transfer": "2",
        "steps": "5280",  # 30 epochs of 176 batches
        "movement": "0.01",  # 5,280 x 1e-8 / 0.01 x (1 + 0.9)
        "weakest_signal": "3e-10",
        "predicted": "no",
        "learned": "no",
        "test_accuracy": "0.1000",
        "error": "",
    }
    assert {key: record.row[key] for key in expected} == expected
    assert record.curves[0] == {"name": RUN.name, "network": "vgg11", "epoch": "1"} | dict.fromkeys(
        study_table.SCORES, "0.4"
    )
    assert len(record.curves) == 4
    assert [row["network"] for row in record.layers] == ["vgg11"] * 2 + ["before_transfer"] * 2 + ["after_transfer"] * 2


def test_nothing_is_expected_of_a_network_that_is_not_trained(commit: str) -> None:
    run = Run(RUN.name, RUN.scale, RUN.cell, 1, RUN.settings | {"train_vgg11.epochs": "0"})
    row = study_table.record(run, commit, VALUES).row
    assert (row["vgg11_predicted"], row["vgg11_learned"], row["predicted"]) == ("", "", "no")


def test_tables_are_brought_up_to_date_and_keep_other_runs(commit: str) -> None:
    table, folder = Path("docs", "study.csv"), Path("docs", "study")
    first = study_table.record(RUN, commit, VALUES)
    other = Run("big-normal-none-0", "big", "normal-none", 1, RUN.settings | {"batch_size": "8"})
    overflowed = study_table.failed(other, "epoch 1, step 2: the loss is nan", VALUES)
    study_table.write(table, folder, [overflowed], [other.name])
    study_table.write(table, folder, [first], [RUN.name])
    before = {path: path.read_bytes() for path in (table, *folder.iterdir())}
    study_table.write(table, folder, [first], [RUN.name])
    assert {path: path.read_bytes() for path in before} == before
    rows = study_table.read_rows(table)
    assert [row["name"] for row in rows] == [RUN.name, other.name]
    assert study_table.recorded(RUN, rows, VALUES) == rows[0]
    assert study_table.recorded(other, rows, VALUES) == rows[1]
    assert study_table.recorded(Run("n", "s", "c", 1, RUN.settings | {"seed": "5"}), rows, VALUES) is None
    text = study_table.summary(rows)
    assert text.index("At `presets/tiny`:") < text.index("At `presets/big`:")
    assert "| normal-none | 1 | 0.4000 | 2 → 2 | 0.01 | 3e-10 | no | no | 0.1000 | 0.1000 |" in text
    assert "| normal-none | 1 | - | ? → ? | ? | ? | ? | no | - | - |" in text
    assert "VGG16: predicted rightly in 1 of 1 runs.\n" in text
    assert "VGG11: predicted rightly in 1 of 1 runs.\n" in text

    written = study_figures.draw(table, folder)
    assert {path.name for path in written} == {
        f"{scale}-{name}.png" for scale in ("tiny", "big") for name in ("layers", "curves", "prediction")
    }
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written)


def test_mean_spread_misses_and_what_is_left_to_the_seed() -> None:
    rows = [
        dict.fromkeys(study_table.COLUMNS, "")
        | {"name": f"s-c-{seed}", "scale": "s", "cell": "c", "seed": str(seed), "predicted": said, "learned": learned}
        | {"best_validation_accuracy": accuracy, "movement": f"{4 - int(seed):g}", "weakest_signal": f"1e-0{seed}"}
        for seed, said, learned, accuracy in (
            (2, "yes", "yes", "0.4"),
            (3, "yes", "no", "0.1"),
            (1, "seed", "yes", "0.4"),
        )
    ]
    text = study_table.summary(rows[:2])
    assert "| c | 2 | - | ? → ? | 1 to 2 | 1e-03 to 1e-02 | yes | yes in 1, no in 1 | 0.2500 ± 0.2121 | - |" in text
    assert "VGG16: predicted rightly in 1 of 2 runs; misses: s-c-3." in text
    assert "VGG11: predicted rightly in 0 of 0 runs." in text
    text = study_table.summary(rows)
    assert "| yes in 2, seed in 1 | yes in 2, no in 1 |" in text
    assert "1 of 2 runs; misses: s-c-3; left to the seed in 1, of which 1 learned." in text
    assert [study.outcome(row).partition(": ")[2] for row in rows] == [
        "learned, as predicted",
        "did not learn, against the prediction",
        "learned, left to the seed",
    ]


def test_a_vgg11_that_many_runs_share_counts_once() -> None:
    rows = [
        dict.fromkeys(study_table.COLUMNS, "")
        | {"name": name, "scale": "s", "cell": name, "train_vgg16.transfer": name}
        | {"vgg11_predicted": "yes", "vgg11_learned": "no"}
        for name in ("paper", "all")
    ]
    assert "VGG11: predicted rightly in 0 of 1 runs; misses: paper." in study_table.summary(rows)


def test_the_page_has_a_place_for_the_cells() -> None:
    page = study.PAGE.read_text(encoding="utf-8")
    assert page.count("<!-- cells -->\n") == page.count("<!-- /cells -->\n") == 1


def test_the_listing_says_what_is_done_and_what_is_left(commit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    left = [Run(f"tiny-x-{seed}", "tiny", "x", 2, RUN.settings | {"seed": str(seed)}) for seed in (1, 2)]
    rounds = [Round(question=question, seeds=[0], cells=["x"]) for question in ("One?", "Two?")]
    grid = Grid(cells={"x": ""}, rounds=rounds)
    wanted = [RUN, *left]
    found = study.done(wanted, VALUES)
    assert found == {RUN.name: commit}
    assert [run.name for run in study.missing(wanted, VALUES)] == ["tiny-x-1", "tiny-x-2"]
    study.collect(wanted, VALUES)
    assert "| normal-none | 1 | 0.4000 |" in Path("docs", "study.md").read_text(encoding="utf-8")
    assert study.listing(grid, wanted, found, {"tiny-x-1": "Running"}).splitlines() == [
        "round 1: One?",
        f"  done     {RUN.name:45} best validation accuracy 0.1000: did not learn, as predicted",
        "round 2: Two?",
        "  running  tiny-x-1",
        "  left     tiny-x-2",
        "1 of 3 runs done, 2 left",
    ]


def test_a_run_whose_experiment_is_gone_is_done_by_its_row(commit: str) -> None:
    study.collect([RUN], VALUES)
    git("update-ref", "-d", f"refs/exps/{git('rev-parse', 'HEAD')[:2]}/{git('rev-parse', 'HEAD')[2:]}/{RUN.name}")
    assert study.done([RUN], VALUES) == {RUN.name: ""}
    table = Path("docs", "study.csv").read_bytes()
    study.collect([RUN], VALUES)
    assert Path("docs", "study.csv").read_bytes() == table


def test_uncommitted_code_is_refused(commit: str) -> None:
    study.check()
    write({"src/vgg.py": "", "docs/notes.md": ""})
    with pytest.raises(InputError, match="uncommitted changes in src/: commit them first"):
        study.check()


STATUS = """Task     Name                Created       Status
1111111  tiny-x-1            05:46 AM      Running
2222222  tiny-normal-none-0  Nov 24, 2026  Queued
3333333  tiny-x-1            05:46 AM      Failed
4444444                      05:46 AM      Success

Worker status: 0 active, 1 idle
"""


def test_the_queue_as_dvc_prints_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "dvc_output", lambda *_arguments: STATUS)
    assert [(task.revision, task.name, task.status) for task in study.queue() if task.name.startswith("tiny")] == [
        ("3333333", "tiny-x-1", "Failed"),
        ("2222222", "tiny-normal-none-0", "Queued"),
        ("1111111", "tiny-x-1", "Running"),
    ]


KILL_AND_REMOVE = [("queue", "kill"), ("queue", "remove")]


@pytest.mark.parametrize(
    ("status", "alive", "seed", "calls"),
    [
        ("Running", True, "0", []),
        ("Running", False, "0", KILL_AND_REMOVE),  # a stopped machine left it
        ("Running", True, "1", KILL_AND_REMOVE),  # the grid has changed since
        ("Queued", False, "0", []),
        ("Queued", False, "1", [("queue", "remove")]),
        ("Failed", False, "0", [("queue", "remove")]),
    ],
)
def test_the_queue_is_cleared_of_what_is_not_wanted(
    commit: str, monkeypatch: pytest.MonkeyPatch, status: str, alive: bool, seed: str, calls: list[tuple[str, str]]
) -> None:
    made: list[tuple[str, ...]] = []
    run = Run("tiny-x", "tiny", "x", 1, RUN.settings | {"seed": seed})
    task = Task(commit[:7], run.name, status)  # queued with the seed 0
    monkeypatch.setattr(study, "queue", list)  # once it is killed
    monkeypatch.setattr(study, "runs_still", lambda _task: alive)
    monkeypatch.setattr(study, "dvc", lambda *arguments: made.append(arguments[:2]))
    assert study.clear([run], [task], VALUES) == (set() if calls else {run.name})
    assert made == calls


def test_an_experiment_in_the_way_is_removed(commit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[str, ...]] = []
    monkeypatch.setattr(study, "dvc", lambda *arguments: made.append(arguments))
    assert study.clear([RUN], [], VALUES) == set()
    assert made == [("exp", "remove", "--quiet", RUN.name)]


@pytest.mark.skipif(not hasattr(psutil.Process, "cpu_affinity"), reason="no process chooses its cores here")
def test_workers_share_the_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[tuple[str, ...]] = []
    monkeypatch.setattr(study, "dvc", lambda *arguments: commands.append(arguments))
    monkeypatch.setattr(study, "QUEUE", tmp_path)
    (tmp_path / "celery").mkdir()
    cores = set(psutil.Process().cpu_affinity())
    command = [sys.executable, "-c", "import time; time.sleep(60)", "queue-worker"]
    with subprocess.Popen(command) as first, subprocess.Popen(command) as second:
        for name, process in (("1", first), ("2", second)):
            path = tmp_path / "celery" / f"dvc-exp-worker-{name}.json"
            path.write_text(json.dumps({"pid": process.pid}), encoding="utf-8")
        try:
            study.start_workers(2)
            shares = [set(psutil.Process(process.pid).cpu_affinity()) for process in (first, second)]
        finally:
            first.kill()
            second.kill()
    assert commands == [("queue", "start", "--jobs", "2")]
    assert shares[0] | shares[1] == cores
    assert len(cores) == 1 or (abs(len(shares[0]) - len(shares[1])) <= 1 and not shares[0] & shares[1])


def queue_of(run: Run, seed: str) -> str:
    """Commit what DVC keeps of a task that is queued with the parameters of a run and a seed."""
    write({"params.yaml": with_settings(run.settings | {"seed": seed})})
    git("commit", "-q", "-a", "-m", "queued")
    made = git("rev-parse", "HEAD")
    git("reset", "-q", "--hard", "HEAD^")
    return made


def test_an_overflow_is_a_result(commit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    overflowed, broken, changed, never_began = (
        Run(f"tiny-x-{seed}", "tiny", "x", 1, RUN.settings | {"seed": seed}) for seed in "1234"
    )
    nan = "epoch 1\nerror: epoch 1, step 3: the loss is nan at learning rate 0.0001; lower it\nERROR: failed"
    tasks, logs = {}, {}
    for run, seed, log in ((overflowed, "1", nan), (broken, "2", "error: no space left"), (changed, "0", nan)):
        revision = queue_of(run, seed)
        tasks[run.name], logs[revision] = Task(revision, run.name, "Failed"), log
    tasks[never_began.name] = Task(queue_of(never_began, "4"), never_began.name, "Failed")

    def dvc_output(*arguments: str) -> str:
        if arguments[2] not in logs:
            raise InputError("dvc queue logs failed: No output logs found")
        return logs[arguments[2]]

    monkeypatch.setattr(study, "dvc_output", dvc_output)
    everything = [overflowed, broken, changed, never_began]
    study.note_overflows(everything, tasks, VALUES)
    (row,) = study_table.read_rows(Path("docs", "study.csv"))
    assert (row["name"], row["learned"]) == (overflowed.name, "no")
    assert row["error"] == "epoch 1, step 3: the loss is nan at learning rate 0.0001; lower it"
    assert study.missing(everything, VALUES) == [broken, changed, never_began]


def test_a_process_is_alive_when_it_is_the_one_that_was_noted(tmp_path: Path) -> None:
    path = tmp_path / "worker.json"
    assert not study.is_alive(path, "cat")
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write("there\n")
        process.stdin.flush()
        assert process.stdout.readline() == "there\n"  # before it has started it has no command line yet
        path.write_text(json.dumps({"pid": process.pid}), encoding="utf-8")
        assert study.is_alive(path, "cat")
        assert not study.is_alive(path, "queue-worker")
        process.kill()
        process.wait()
    assert not study.is_alive(path, "cat")
