"""Test both networks: scores, reports, confusion matrices, mistakes, and the curves of their training."""

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
from src.networks.model_file import load_for


class Params(Section):
    runtime: RuntimeParams


def main() -> None:
    paths = cli.paths(__doc__, "test", "vgg11", "vgg16", "history11", "history16", "results")
    params = load(Params)
    launch.on_each_device(params.runtime.devices, lambda: evaluate(paths, params))


def evaluate(paths: argparse.Namespace, params: Params) -> None:
    runtime = start_runtime(params.runtime)
    test = dataset.load(paths.test)
    histories = {"VGG11": read_history(paths.history11), "VGG16": read_history(paths.history16)}
    files = {"VGG11": paths.vgg11, "VGG16": paths.vgg16}
    models = {name: load_for(path, test.format, paths.test) for name, path in files.items()}
    logits = {name: predict(model.network, test, runtime) for name, model in models.items()}
    if not processes.is_first():
        return
    # scikit-learn and Matplotlib take 1.5 s to load. Wrong input is reported before that.
    from src.base import plot_style
    from src.evaluation import figures, report, scores

    metrics = {}
    for name, outputs in logits.items():
        metrics[name.lower()] = scores.scores(outputs, test.labels)
        report.write(paths.results / name.lower(), name, test, outputs)
        print(f"{name}: " + ", ".join(f"{score} {value:.4f}" for score, value in metrics[name.lower()].items()))
        print(scores.classification_report(test, outputs, as_text=True))
    plot_style.save(figures.curves(histories, len(test.format.classes)), paths.results / "curves.png")
    write_text(paths.results / "metrics.json", json.dumps(metrics, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    cli.run(main)
