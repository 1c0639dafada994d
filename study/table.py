"""The tables of the study, read from the commits in which DVC keeps experiments: nothing is checked out."""

import csv
import json
import math
import statistics
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from scripts import markdown, workspace
from scripts.experiment import experiments, read_experiment, unpack
from scripts.parameters import plain, repeated
from scripts.results import TESTED
from src.base.errors import InputError
from src.base.files import write_csv
from src.evaluation.history import TABLES, read_history
from src.inspection.signals import LayerSignal
from src.training.optimizer import OptimizerParams
from study.grid import VARIED, Grid, Run
from study.prediction import learned, learns, movement, weakest_signal

STUDY, CURVES, LAYERS = (Path("docs", name) for name in ("study.csv", "study/curves.csv", "study/layers.csv"))
COLUMNS = (
    *("name", "scale", "cell", *VARIED, "commit", "code"),
    *("vgg11_layers_below_eps", "vgg11_predicted", "vgg11_learned"),
    *("vgg11_final_validation_accuracy", "vgg11_best_validation_accuracy", "vgg11_test_accuracy", "vgg11_test_loss"),
    *("layers_below_eps_before_transfer", "layers_below_eps_after_transfer", "steps", "movement", "weakest_signal"),
    *("predicted", "learned", "final_validation_accuracy", "best_validation_accuracy", "test_accuracy", "test_loss"),
    *("fusion_test_accuracy", "fusion_test_loss", "error"),
)
"""Of study.csv, one row per run. A column without the name of a network is of train_vgg16, `fusion` of both networks
together. `commit` is that of the experiment, `code` the one from which it ran, `movement` that of all `steps`. `error`
says why training ended early."""
MEASURED = COLUMNS[COLUMNS.index("vgg11_layers_below_eps") : -1]
"""The columns that a page may show."""
SHOWN = (  # on the page
    *("vgg11_best_validation_accuracy", "layers_below_eps_before_transfer", "layers_below_eps_after_transfer"),
    *("movement", "weakest_signal", "predicted", "learned", "best_validation_accuracy", "test_accuracy"),
)
CURVE = ("name", "network", "epoch")
"""What names a row of curves.csv."""
Row = dict[str, str]


def check(grid: Grid, wanted: list[Run]) -> None:
    """Check that the tables are whole, that they can be shown, and that no other run has the name of a wanted one.

    Raises:
        InputError: it is not so.
    """
    if unknown := [column for column in (grid.table.columns if grid.table else ()) if column not in MEASURED]:
        raise InputError(f"the grid's table: {', '.join(unknown)}: no such column; there are: {', '.join(MEASURED)}")
    if grid.table:
        markdown.find(Path(grid.table.page), grid.table.place)
    check_table(STUDY, COLUMNS, key=("name",))
    check_table(CURVES, (*CURVE, *TABLES), key=CURVE)
    check_table(LAYERS, ("name", "network", *LayerSignal._fields), key=("name", "network", "layer"))
    rows = {row["name"]: row for row in read(STUDY)}
    for run in wanted:
        if run.name in rows and not is_of(rows[run.name], run):
            raise InputError(
                f"{run.name}: {STUDY} has a run of this name with other parameters; rename the cell, or remove the row"
            )


def check_table(path: Path, columns: Iterable[str], key: tuple[str, ...]) -> None:
    """Check that a table has these columns and whole rows, and that no two rows have the same key, as after a merge.

    Raises:
        InputError: it is not so.
    """
    if not path.exists():
        return
    table, keys = csv.DictReader(path.read_text(encoding="utf-8").splitlines()), list[str]()
    if missing := {*columns} - {*(table.fieldnames or ())}:
        raise InputError(f"{path}: has no column {', '.join(sorted(missing))}; was there a conflict in a merge?")
    for row in table:
        if None in row or None in row.values():
            raise InputError(f"{path}: line {table.line_num}: is not whole; was there a conflict in a merge?")
        keys.append(", ".join(row[column] for column in key))
    if twice := repeated(keys):
        raise InputError(f"{path}: {twice}: twice; keep one")


def is_of(row: Row, run: Run) -> bool:
    """Whether a row is of a run with these parameters."""
    return all(plain(row[key]) == run.parameters.get(key) for key in VARIED)


def is_tested(row: Row) -> bool:
    """Whether a row has all that its run can have: the scores of the test, or the error that ended the run."""
    return bool(row["test_accuracy"] or row["error"])


def find_done(wanted: list[Run]) -> dict[str, str]:
    """By name of each finished run: the newest commit with its parameters, or "" where only study.csv has the run.

    A commit with a test goes before newer ones without.
    """
    rows, found = read(STUDY), dict[str, str]()
    kept = sorted(experiments(), key=lambda experiment: "evaluate" in experiment.stages)  # those with a test last
    for run in wanted:
        mine = [row for row in rows if is_of(row, run)]
        tested = any(map(is_tested, mine))
        if tested or (mine and "evaluate" not in run.stages):
            found[run.name] = ""
        stages = {*run.stages, "evaluate"} if tested else run.stages  # nothing takes away the scores of a test
        for experiment in kept:
            same = all(experiment.parameters.get(key) == value for key, value in run.parameters.items())
            if same and experiment.stages.issuperset(stages):
                found[run.name] = experiment.commit
    return found


def same_as_another(run: Run) -> dict[Path, list[Row]]:
    """The rows of a run with the parameters of one that has rows already, such as that of another grid."""
    row = max((row for row in read(STUDY) if is_of(row, run)), key=is_tested)
    of_run = {"name": run.name, "scale": run.scale, "cell": run.cell}
    others = {path: group(read(path), "name").get(row["name"], []) for path in (CURVES, LAYERS)}
    copies = {path: [other | {"name": run.name} for other in rows] for path, rows in others.items()}
    return {STUDY: [row | of_run], **copies}


def new_row(run: Run, **known: str) -> Row:
    """A row of study.csv with the parameters of a run and some other columns."""
    known |= {key: f"{value:g}" if isinstance(value, float) else value for key, value in run.parameters.items()}
    known |= {"name": run.name, "scale": run.scale, "cell": run.cell}
    return {column: known.get(column, "") for column in COLUMNS}


def record(run: Run, commit: str) -> dict[Path, list[Row]]:
    """The rows of a run by table: what the experiment measured, and what the rule predicts."""
    row = new_row(run, commit=commit[:10], code=workspace.git("rev-parse", f"{commit}^").decode()[:10])
    values = {key: run.parameters[f"optimizer.{key}"] for key in OptimizerParams.model_fields}
    optimizer, curves = OptimizerParams.model_validate(values), list[Row]()
    with tempfile.TemporaryDirectory() as folder:
        unpack(commit, results := Path(folder, "results"))
        stages = ("preprocess", "inspect_init", "inspect_transfer")
        metrics = {name: json.loads((results / name / "metrics.json").read_bytes()) for name in stages}
        tested = {
            name: json.loads((results / f"evaluate/{name}.json").read_bytes())
            for name in (TESTED if "evaluate" in read_experiment(commit).stages else ())
        }
        layers = [layer for stage in ("init", "transfer") for layer in read(results / f"inspect_{stage}/layers.csv")]
        histories = {name: read_history(results / f"train_{name}/plots/metrics") for name in ("vgg11", "vgg16")}
    batches = math.ceil(metrics["preprocess"]["images"]["train"] / float(run.parameters["batch_size"]))
    for network, prefix, start in (("vgg11", "vgg11_", "vgg11"), ("vgg16", "", "after_transfer")):
        rows = [layer for layer in layers if layer["network"] == start]
        numbers = [[float(layer[column]) for column in LayerSignal._fields[1:]] for layer in rows]
        signals = [LayerSignal(layer["layer"], *each) for layer, each in zip(rows, numbers, strict=True)]
        for index, (epoch, _) in enumerate(histories[network]["train/loss"]):
            scores = {score: f"{histories[network][score][index, 1]:.6g}" for score in TABLES}
            curves.append({"name": run.name, "network": network, "epoch": f"{epoch:g}"} | scores)
        accuracy = histories[network]["validation/accuracy"][:, 1]
        row[f"{prefix}final_validation_accuracy"] = f"{accuracy[-1]:.4f}"
        row[f"{prefix}best_validation_accuracy"] = f"{accuracy.max():.4f}"
        steps = batches * int(run.parameters[f"train_{network}.epochs"])
        if steps:  # nothing is predicted for a network that is not trained
            row[f"{prefix}predicted"] = learns(signals, optimizer, steps)
            row[f"{prefix}learned"] = "yes" if learned(accuracy.max(), classes=10) else "no"
    for network, scores in tested.items():
        for score in ("accuracy", "loss"):
            row[f"{network}_test_{score}".removeprefix("vgg16_")] = f"{scores[score]:.4f}"
    row["steps"], row["movement"] = str(steps), f"{steps * movement(signals, optimizer):.3g}"  # of VGG16
    row["weakest_signal"] = f"{weakest_signal(signals):.2g}"
    row["vgg11_layers_below_eps"] = str(metrics["inspect_init"]["vgg11"]["layers_below_eps"])
    for when in ("before_transfer", "after_transfer"):
        row[f"layers_below_eps_{when}"] = str(metrics["inspect_transfer"][when]["layers_below_eps"])
    layers = [{"name": run.name} | layer for layer in layers if layer["network"] != "vgg16"]
    return {STUDY: [row], CURVES: curves, LAYERS: layers}


def read(path: Path) -> list[Row]:
    """The rows of a table; none when the file does not exist yet."""
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines())) if path.exists() else []


def write(name: str, record: dict[Path, list[Row]]) -> None:
    """Put the rows of one run into the tables: in place of its earlier rows, or after all others."""
    for path in (STUDY, CURVES, LAYERS):
        rows = [row for mine in (group(read(path), "name") | {name: record.get(path, [])}).values() for row in mine]
        if columns := list(dict.fromkeys(column for row in rows for column in row)):
            write_csv(path, [columns, *([row.get(column, "") for column in columns] for row in rows)])


def group(rows: list[Row], column: str) -> dict[str, list[Row]]:
    """The rows by the value of a column, in the order of its first row."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row[column], []).append(row)
    return groups


def summary(rows: list[Row]) -> str:
    """The cells of each scale as a Markdown table, and how often each prediction had each outcome."""
    parts: list[str] = []
    for scale, mine in group(rows, "scale").items():
        parts += [f"At `presets/{scale}`:", by_cell(mine, SHOWN)]
        different = {row["commit"] or row["name"]: row for row in mine if row["predicted"]}.values()
        counts = Counter(f"predicted {row['predicted']}, learned {row['learned']}" for row in different)
        parts.append(f"Runs: {'; '.join(f'{verdict}: {count}' for verdict, count in sorted(counts.items()))}.")
    return "\n\n".join(parts)


def by_cell(rows: list[Row], columns: Iterable[str]) -> str:
    """The cells as a Markdown table, in the order of the rows."""
    columns = list(columns)
    header = ["cell", "seeds", *(column.replace("_", " ").replace("vgg", "VGG") for column in columns)]
    cells = group(rows, "cell").items()
    lines = [[cell, str(len(seeds)), *(over_seeds(seeds, column) for column in columns)] for cell, seeds in cells]
    return markdown.table(header, lines)


def over_seeds(rows: list[Row], column: str) -> str:
    """Mean and sample standard deviation of accuracies, the number of each verdict, the range of other numbers."""
    with_vgg11 = column.startswith(("vgg11", "fusion"))  # of no meaning where VGG11 was not trained
    values = [row[column] for row in rows if row[column] and (row["vgg11_learned"] or not with_vgg11)]
    if column.endswith(("predicted", "learned")):
        return ", ".join(f"{values.count(value)} {value}" for value in sorted(set(values), reverse=True)) or "-"
    if column.endswith("accuracy") and len(values) > 1:
        return f"{statistics.mean(map(float, values)):.4f} ± {statistics.stdev(map(float, values)):.4f}"
    values.sort(key=float)
    return " to ".join(dict.fromkeys(values[:1] + values[-1:])) or "-"
