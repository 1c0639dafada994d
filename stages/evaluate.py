"""Test both networks, and both together: scores, reports, confusion matrices, mistakes, and the curves of training."""

import argparse
import json

from src.base import cli
from src.base.files import write_text
from src.base.params import Section, load
from src.compute import launch, processes
from src.compute.runtime import RuntimeParams, start_runtime
from src.evaluation.history import read_history
from src.evaluation.predictions import predict
from src.images import dataset
from src.images.views import EvaluateParams
from src.networks.model_file import load_for
from src.networks.outputs import average
from src.networks.vgg import titles


class Params(Section):
    evaluate: EvaluateParams
    runtime: RuntimeParams


def main() -> None:
    paths = cli.paths(__doc__, "test", "vgg11", "vgg16", "history11", "history16", "results")
    params = load(Params)
    launch.on_each_device(params.runtime.devices, lambda: evaluate(paths, params))


def evaluate(paths: argparse.Namespace, params: Params) -> None:
    runtime = start_runtime(params.runtime)
    test = dataset.load(paths.test)
    histories = read_history(paths.history11), read_history(paths.history16)
    networks = [load_for(path, test.format, paths.test).network for path in (paths.vgg11, paths.vgg16)]
    logits = [predict(network, test, runtime, params.evaluate) for network in networks]
    if not processes.is_first():
        return
    # scikit-learn and Matplotlib take 1.5 s to load. Wrong input is reported before that.
    from src.base import plot_style
    from src.evaluation import figures, report, scores

    letters = (network.letter for network in networks)
    names = titles(dict(zip(("train_vgg11", "train_vgg16"), letters, strict=True))).values()
    for key, name, outputs in zip(("vgg11", "vgg16"), names, logits, strict=True):
        report.write(paths.results / key, name, test, outputs)
        print(f"{name}\n{scores.classification_report(test, outputs, as_text=True)}")
    tested = {"vgg11": logits[0], "vgg16": logits[1], "fusion": average(logits)}  # section 4.5
    metrics = {key: scores.scores(outputs, test.labels) for key, outputs in tested.items()}
    for key, history in zip(("vgg11", "vgg16"), histories, strict=True):  # in the same table: settings are chosen by it
        metrics[key]["val_accuracy"] = float(history["validation/accuracy"][-1, 1])
    for (key, values), name in zip(metrics.items(), (*names, "both together"), strict=True):
        print(f"{name}: " + ", ".join(f"{score} {value:.4f}" for score, value in values.items()))
        write_text(paths.results / f"{key}.json", json.dumps(values, indent=2) + "\n")
    curves = figures.curves(dict(zip(names, histories, strict=True)), len(test.format.classes))
    plot_style.save(curves, paths.results / "curves.png")


if __name__ == "__main__":
    cli.run(main)
