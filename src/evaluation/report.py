"""The report on one network: tables, confusion matrix and mistakes on the test set."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from sklearn import metrics
from torch import Tensor

from src.base.files import write_csv, write_text
from src.base.plot_style import save
from src.evaluation import figures
from src.evaluation.scores import check_logits, classification_report
from src.images.dataset import Dataset
from src.networks.outputs import places, predicted

MISTAKES = 25


def write(folder: Path, network: str, test: Dataset, logits: Tensor) -> None:
    """Write the files of the report on one network.

    - classification_report.json: scikit-learn's report
    - classification_report.csv: the same as a table, one row per class. There is no file with the text form:
      DVC cannot plot it, and such an output in git would switch off the run cache.
    - confusion.csv: one row per image, names of its true and its predicted class
    - confusion_matrix.png: the counts of these pairs
    - mistakes.png: the images of the most confident mistakes

    Raises:
        InputError: the logits are not finite, float [N, classes].
    """
    classes = test.format.classes
    report = classification_report(test, logits, as_text=False)
    true, guesses = test.labels.numpy(), predicted(logits).numpy()
    write_text(folder / "classification_report.json", json.dumps(report, indent=2) + "\n")
    write_csv(folder / "classification_report.csv", report_rows(report))
    pairs = [(classes[i], classes[j]) for i, j in zip(true, guesses, strict=True)]
    write_csv(folder / "confusion.csv", [("actual", "predicted"), *pairs])

    counts = metrics.confusion_matrix(y_true=true, y_pred=guesses, labels=range(len(classes)))
    title = f"{network} on {len(test):,} test images: accuracy {report['accuracy']:.2%}"
    save(figures.confusion_matrix(counts, classes, title), folder / "confusion_matrix.png")
    save(mistakes_gallery(network, test, logits), folder / "mistakes.png")


def mistakes_gallery(network: str, test: Dataset, logits: Tensor) -> Figure:
    """A figure of the most confident mistakes."""
    check_logits(logits, test.labels, len(test.format.classes))
    mistakes = confident_mistakes(logits, test.labels)
    if not len(mistakes):
        return figures.gallery([], [], f"{network}: no mistake on {len(test):,} test images")
    shown = mistakes[:MISTAKES]
    guesses, probabilities = predicted(logits[shown]), logits[shown].double().softmax(dim=1).amax(dim=1)
    classes = test.format.classes
    captions = [
        f"{classes[i]} → {classes[j]}, {probability:.1%}"
        for i, j, probability in zip(test.labels[shown], guesses, probabilities, strict=True)
    ]
    title = f"{network}: the {len(shown)} most confident of {len(mistakes):,} mistakes"
    return figures.gallery(test.images[shown], captions, f"{title} (true → predicted class, its probability)")


def confident_mistakes(logits: Tensor, labels: Tensor) -> Tensor:
    """Indices, int64, of the misclassified images, the highest probability of the wrong class first."""
    mistakes = places(logits, labels).nonzero().flatten()
    probabilities = logits[mistakes].double().softmax(dim=1).amax(dim=1)
    return mistakes[probabilities.argsort(descending=True, stable=True)]


def report_rows(report: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """scikit-learn's report as a table with a header, without accuracy, which belongs to no class."""
    columns = ("precision", "recall", "f1-score")
    rows = [
        (name, *(f"{values[column]:.4f}" for column in columns), f"{values['support']:.0f}")
        for name, values in report.items()
        if name != "accuracy"
    ]
    return [("class", *columns, "support"), *rows]
