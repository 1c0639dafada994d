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
    histories = {"vgg11": read_history(paths.history11), "vgg16": read_history(paths.history16)}
    models = {"vgg11": paths.vgg11, "vgg16": paths.vgg16}
    networks = {key: load_for(path, test.format, paths.test).network for key, path in models.items()}
    logits = {key: predict(network, test, runtime, params.evaluate) for key, network in networks.items()}
    if not processes.is_first():
        return
    # scikit-learn and Matplotlib take 1.5 s to load. Wrong input is reported before that.
    from src.base import plot_style
    from src.evaluation import figures, report, scores

    trained = titles({f"train_{key}": network.letter for key, network in networks.items()})
    names = {key: trained[f"train_{key}"] for key in networks}
    for key, name in names.items():
        report.write(paths.results / key, name, test, logits[key])
        print(f"{name}\n{scores.classification_report(test, logits[key], as_text=True)}")
    tested = logits | {"fusion": average(list(logits.values()))}  # section 4.5
    for key, outputs in tested.items():
        values = scores.scores(outputs, test.labels)
        if key in histories:  # settings are chosen by it, so it stands in the same table
            values["val_accuracy"] = float(histories[key]["validation/accuracy"][-1, 1])
        print(
            f"{names.get(key, 'both together')}: {', '.join(f'{score} {value:.4f}' for score, value in values.items())}"
        )
        write_text(paths.results / f"{key}.json", json.dumps(values, indent=2) + "\n")
    curves = figures.curves({names[key]: history for key, history in histories.items()}, len(test.format.classes))
    plot_style.save(curves, paths.results / "curves.png")


if __name__ == "__main__":
    cli.run(main)
