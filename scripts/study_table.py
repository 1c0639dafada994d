"""The study's experiments as tables, read from the commits in which DVC keeps them: nothing is checked out."""

import csv
import io
import json
import math
import statistics
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from scripts.experiment import git
from scripts.grid import VARIED, Run, Value, parameters, plain, varied
from src.errors import InputError
from src.files import write_csv
from src.inspection import LayerSignal, below
from src.optimization import OptimizerParams
from src.params import Section, load
from src.prediction import learned, learns, movement, weakest_signal

NETWORKS = ("vgg11", "vgg16")
SCORES = ("train/loss", "train/accuracy", "validation/loss", "validation/accuracy")
COLUMNS = (
    *("name", "scale", "cell", *VARIED, "commit", "code"),
    *("vgg11_layers_below_eps", "vgg11_predicted", "vgg11_learned"),
    *("vgg11_final_validation_accuracy", "vgg11_best_validation_accuracy", "vgg11_test_accuracy"),
    *("layers_below_eps_before_transfer", "layers_below_eps_after_transfer", "steps", "movement", "weakest_signal"),
    *("predicted", "learned", "final_validation_accuracy", "best_validation_accuracy", "test_accuracy"),
    "error",
)
"""Of study.csv. Without a network's name they are VGG16's. `commit` is the experiment's, `code` the one it ran from;
`movement`, of all `steps`, and `weakest_signal` are those of src/prediction.py, as is what is `predicted`: yes, no or
seed. `error` says why training ended early."""
CURVE_COLUMNS = ("name", "network", "epoch", *SCORES)
LAYER_COLUMNS = ("name", "network", *LayerSignal._fields)

Row = dict[str, str]


@dataclass(frozen=True)
class Record:
    """What one run adds to the tables: a row of study.csv, a row an epoch, and a row a layer."""

    row: Row
    curves: list[Row]
    layers: list[Row]


class OptimizerOnly(Section):
    optimizer: OptimizerParams


def experiments() -> list[str]:
    """The commits of all finished experiments of this clone, whatever commit they started from."""
    lines = git("for-each-ref", "--sort=creatordate", "--format=%(objectname) %(refname)", "refs/exps").decode()
    references = (line.split() for line in lines.splitlines())
    # refs/exps/<2 digits>/<38 digits>/<name>; DVC keeps its queue and more beside them.
    return [commit for commit, name in references if len(name.split("/")) == 5 and len(name.split("/")[3]) == 38]


def find(run: Run, commits: Iterable[str], defaults: Mapping[str, Value]) -> str:
    """The newest commit with the parameters of a run and its results; empty when there is none."""
    found = ""
    for commit in commits:
        has = commit_parameters(commit)
        if has and matches(run, has, defaults):
            found = commit
    return found


def matches(run: Run, has: Mapping[str, Value], defaults: Mapping[str, Value]) -> bool:
    """Whether these are the parameters of a run.

    Keys that only one of both has do not count: an older experiment has no key of a newer option.
    """
    wanted = dict(defaults) | {key: plain(value) for key, value in run.settings.items()}
    return all(has[key] == value for key, value in wanted.items() if key in has)


@cache
def commit_parameters(commit: str) -> dict[str, Value]:
    """The parameters of an experiment; none when it did not run to the end of the pipeline."""
    if not git("ls-tree", commit, "results/evaluate/metrics.json"):
        return {}
    return parameters(show(commit, "params.yaml"))


def recorded(run: Run, rows: Iterable[Row], defaults: Mapping[str, Value]) -> Row | None:
    """The row of study.csv with the varied parameters of a run."""
    wanted = varied(run, defaults)
    return next((row for row in rows if all(plain(row[key]) == value for key, value in wanted.items())), None)


def record(run: Run, commit: str, defaults: Mapping[str, Value]) -> Record:
    """Read what an experiment measured, and say what was to be expected of it.

    Raises:
        InputError: its results are not those of this pipeline.
    """
    try:
        optimizer = optimizer_of(show(commit, "params.yaml"))
        init = read_layers(show(commit, "results/inspect_init/layers.csv"))
        transferred = read_layers(show(commit, "results/inspect_transfer/layers.csv"))
        test = json.loads(show(commit, "results/evaluate/metrics.json"))
        report = json.loads(show(commit, "results/evaluate/vgg16/classification_report.json"))
        classes = len(report) - 3  # beside the classes: accuracy and two averages
        curves = {network: read_curves(commit, network) for network in NETWORKS}
        images = json.loads(show(commit, "results/preprocess/metrics.json"))["images"]["train"]
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(f"{run.name}: {commit[:7]}: not results of this pipeline ({error})") from None

    after = transferred["after_transfer"]
    settings = varied(run, defaults)
    batches = math.ceil(images / float(settings["batch_size"]))
    steps = {network: batches * int(settings[f"train_{network}.epochs"]) for network in NETWORKS}
    row = first_columns(run, defaults) | {
        "commit": commit[:10],
        "code": git("rev-parse", f"{commit}^").decode().strip()[:10],
        "vgg11_layers_below_eps": str(below(init["vgg11"], optimizer.eps)),
        "layers_below_eps_before_transfer": str(below(transferred["before_transfer"], optimizer.eps)),
        "layers_below_eps_after_transfer": str(below(after, optimizer.eps)),
        "steps": str(steps["vgg16"]),
        "movement": f"{steps['vgg16'] * movement(after, optimizer):.3g}",
        "weakest_signal": f"{weakest_signal(after):.2g}",
    }
    for network, layers in (("vgg11", init["vgg11"]), ("vgg16", after)):
        prefix = "vgg11_" if network == "vgg11" else ""
        validation = [float(scores["validation/accuracy"]) for scores in curves[network]]
        row[f"{prefix}final_validation_accuracy"] = f"{validation[-1]:.4f}"
        row[f"{prefix}best_validation_accuracy"] = f"{max(validation):.4f}"
        row[f"{prefix}test_accuracy"] = f"{test[network]['accuracy']:.4f}"
        if steps[network]:  # of a network that is not trained nothing is expected
            row[f"{prefix}predicted"] = learns(layers, optimizer, steps[network])
            row[f"{prefix}learned"] = yes(learned(max(validation), classes))
    return Record(
        row,
        [{"name": run.name, "network": network, **scores} for network in NETWORKS for scores in curves[network]],
        [
            {"name": run.name, "network": network, **{key: str(value) for key, value in layer._asdict().items()}}
            for network, layers in (("vgg11", init["vgg11"]), *transferred.items())
            for layer in layers
        ],
    )


def failed(run: Run, error: str, defaults: Mapping[str, Value]) -> Record:
    """What there is of a run whose training ended in numbers that are not finite: DVC keeps no experiment of it."""
    return Record(first_columns(run, defaults) | {"learned": yes(False), "error": error}, [], [])


def first_columns(run: Run, defaults: Mapping[str, Value]) -> Row:
    row = dict.fromkeys(COLUMNS, "") | {"name": run.name, "scale": run.scale, "cell": run.cell}
    for key, value in varied(run, defaults).items():
        row[key] = f"{value:g}" if isinstance(value, float) else value
    return row


def yes(value: bool) -> str:
    return "yes" if value else "no"


def optimizer_of(text: str) -> OptimizerParams:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "params.yaml")
        path.write_text(text, encoding="utf-8")
        return load(OptimizerOnly, path).optimizer


def read_layers(text: str) -> dict[str, list[LayerSignal]]:
    """Layers by network from layers.csv."""
    layers: dict[str, list[LayerSignal]] = {}
    for row in csv.DictReader(io.StringIO(text)):
        numbers = (float(row[name]) for name in LayerSignal._fields[1:])
        layers.setdefault(row["network"], []).append(LayerSignal(row["layer"], *numbers))
    return layers


def read_curves(commit: str, network: str) -> list[Row]:
    """DVCLive's tables of one training run as one: a row an epoch."""
    epochs: dict[str, Row] = {}
    for name in SCORES:
        table = show(commit, f"results/train_{network}/plots/metrics/{name}.tsv")
        for line in table.splitlines()[1:]:
            epoch, value = line.split("\t")
            epochs.setdefault(epoch, {"epoch": epoch})[name] = f"{float(value):.6g}"
    return list(epochs.values())


def show(commit: str, path: str) -> str:
    return git("show", f"{commit}:{path}").decode()


def read_rows(path: Path) -> list[Row]:
    """The rows of one of the study's tables; none when it is not there yet."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write(table: Path, folder: Path, records: Sequence[Record], order: Sequence[str]) -> None:
    """Bring the tables up to date: study.csv, and curves.csv and layers.csv in `folder`.

    Rows of other runs, such as those of another scale, stay.

    Args:
        order: names of runs; their rows come in this order, others after them.
    """
    names = {record.row["name"] for record in records}

    def merged(path: Path, new: list[Row]) -> list[Row]:
        rows = [row for row in read_rows(path) if row["name"] not in names] + new
        place = {name: index for index, name in enumerate(order)}
        return sorted(rows, key=lambda row: place.get(row["name"], len(place)))

    for path, columns, values in (
        (table, COLUMNS, merged(table, [record.row for record in records])),
        (folder / "curves.csv", CURVE_COLUMNS, merged(folder / "curves.csv", [r for x in records for r in x.curves])),
        (folder / "layers.csv", LAYER_COLUMNS, merged(folder / "layers.csv", [r for x in records for r in x.layers])),
    ):
        write_csv(path, [columns, *([row.get(column, "") for column in columns] for row in values)])


def summary(rows: Sequence[Row]) -> str:
    """The cells of each scale as a Markdown table, with mean and standard deviation over seeds, and the hits of the
    prediction.
    """
    return "\n\n".join(
        f"At `presets/{scale}`:\n\n{cells([row for row in rows if row['scale'] == scale])}"
        for scale in dict.fromkeys(row["scale"] for row in rows)
    )


def cells(rows: Sequence[Row]) -> str:
    lines = [
        "| cell | seeds | VGG11: validation accuracy | VGG16: layers below eps, before → after transfer | movement "
        "| weakest signal | predicted to learn | learned | best validation accuracy | test accuracy |",
        "|---|---:|---:|---:|---:|---:|---|---|---:|---:|",
    ]
    for cell in dict.fromkeys(row["cell"] for row in rows):
        group = [row for row in rows if row["cell"] == cell]
        vgg11 = spread([row for row in group if row["vgg11_learned"]], "vgg11_best_validation_accuracy")
        below_eps = " → ".join(span(group, f"layers_below_eps_{when}_transfer") for when in ("before", "after"))
        moved, signal = span(group, "movement"), span(group, "weakest_signal")
        verdicts = " | ".join(share(group, column) for column in ("predicted", "learned"))
        scores = " | ".join(spread(group, column) for column in ("best_validation_accuracy", "test_accuracy"))
        lines.append(f"| {cell} | {len(group)} | {vgg11} | {below_eps} | {moved} | {signal} | {verdicts} | {scores} |")
    for title, prefix in (("VGG16", ""), ("VGG11", "vgg11_")):
        lines.append(f"\n{title}: {hits(distinct(rows, prefix), prefix)}.")
    return "\n".join(lines)


def hits(rows: Sequence[Row], prefix: str) -> str:
    """How often the prediction was right, where it was wrong, and how often it left it to the seed."""
    judged = [row for row in rows if row[f"{prefix}predicted"] and row[f"{prefix}learned"]]
    definite = [row for row in judged if row[f"{prefix}predicted"] != "seed"]
    missed = [row for row in definite if row[f"{prefix}predicted"] != row[f"{prefix}learned"]]
    text = f"predicted rightly in {len(definite) - len(missed)} of {len(definite)} runs"
    if missed:
        text += f"; misses: {', '.join(row['name'] for row in missed)}"
    if left := [row[f"{prefix}learned"] for row in judged if row[f"{prefix}predicted"] == "seed"]:
        text += f"; left to the seed in {len(left)}, of which {left.count('yes')} learned"
    return text


def distinct(rows: Sequence[Row], prefix: str) -> list[Row]:
    """One row for each trained network: many runs share a VGG11, which counts once."""
    if not prefix:
        return list(rows)
    keys = [key for key in VARIED if not key.startswith("train_vgg16")]
    return list({tuple(row[key] for key in keys): row for row in reversed(rows)}.values())[::-1]


def span(rows: Sequence[Row], column: str) -> str:
    """A number, or the lowest and the highest of several runs."""
    values = [row[column] for row in rows if row[column]]
    if not values:
        return "?"
    return " to ".join(dict.fromkeys((min(values, key=float), max(values, key=float))))


def share(rows: Sequence[Row], column: str) -> str:
    """A verdict, or how often each was given."""
    values = [row[column] for row in rows if row[column]]
    counts = {value: values.count(value) for value in ("yes", "no", "seed") if value in values}
    if len(counts) == 1:
        return values[0]
    return ", ".join(f"{value} in {count}" for value, count in counts.items()) or "?"


def spread(rows: Sequence[Row], column: str) -> str:
    """Mean, and the sample standard deviation where there is more than one value."""
    values = [float(row[column]) for row in rows if row[column]]
    if not values:
        return "-"
    deviation = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.4f}{deviation}"
