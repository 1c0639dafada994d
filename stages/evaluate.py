"""Test both networks: scores, reports, confusion matrices, mistakes, and the curves of their training."""

import argparse
import json

from src import cli, dataset, distributed, launch, model_file, runtime
from src.errors import InputError
from src.evaluation import predict, read_curves
from src.files import write_text
from src.params import Section, load
from src.runtime import RuntimeParams


class Params(Section):
    runtime: RuntimeParams


def main() -> None:
    paths = cli.paths(__doc__, "test", "vgg11", "vgg16", "curves11", "curves16", "results")
    params = load(Params)
    launch.on_each_device(params.runtime.devices, lambda: evaluate(paths, params))


def evaluate(paths: argparse.Namespace, params: Params) -> None:
    machine = runtime.start(params.runtime)
    test = dataset.load(paths.test)
    curves = {"VGG11": read_curves(paths.curves11), "VGG16": read_curves(paths.curves16)}
    models = {"VGG11": model_file.load(paths.vgg11), "VGG16": model_file.load(paths.vgg16)}
    for path, model in zip((paths.vgg11, paths.vgg16), models.values(), strict=True):
        if difference := model.format.difference(test.format):
            raise InputError(f"{path}: made for other images than {paths.test}: {difference}; run `dvc repro`")

    outputs = {name: predict(model.network, test, machine) for name, model in models.items()}
    if not distributed.is_first():
        return
    # scikit-learn and Matplotlib take 1.5 s to load: not before the inputs are known to be right, nor on each device.
    from src import figures, report

    results = {}
    for name, logits in outputs.items():
        results[name.lower()] = report.scores(logits, test.labels)
        report.write(paths.results / name.lower(), name, test, logits)
        print(f"{name}: " + ", ".join(f"{score} {value:.4f}" for score, value in results[name.lower()].items()))
        print(report.classification_report(test, logits, as_text=True))
    figures.save(figures.curves(curves, len(test.format.classes)), paths.results / "curves.png")
    write_text(paths.results / "metrics.json", json.dumps(results, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    cli.run(main)
