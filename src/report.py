"""What the outputs of a network on the test set come to: its scores, and the tables and pictures of a report."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from matplotlib.figure import Figure
from sklearn import metrics
from torch import Tensor

from src import figures
from src.dataset import Dataset
from src.files import write_csv, write_text

TOP = 5
MISTAKES = 25


def scores(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Scores of float32 logits [N, classes] against int64 labels [N].

    Precision, recall and F1 are means over the classes, each class counting the same; they are 0 for a class that
    is never predicted. The loss is the mean cross-entropy in nats.
    """
    true, predicted, classes = labels.numpy(), logits.argmax(dim=1).numpy(), range(logits.shape[1])
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        y_true=true, y_pred=predicted, labels=classes, average="macro", zero_division=0
    )
    top = metrics.top_k_accuracy_score(y_true=true, y_score=logits.numpy(), k=TOP, labels=classes)
    return {
        "accuracy": float(metrics.accuracy_score(y_true=true, y_pred=predicted)),
        "loss": F.cross_entropy(logits.double(), labels).item(),
        f"top{TOP}_accuracy": float(top),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
    }


def classification_report(test: Dataset, logits: Tensor, *, as_text: bool) -> Any:
    """scikit-learn's report, as text or as a dictionary."""
    return metrics.classification_report(
        y_true=test.labels.numpy(),
        y_pred=logits.argmax(dim=1).numpy(),
        labels=range(len(test.format.classes)),
        target_names=test.format.classes,
        digits=4,
        output_dict=not as_text,
        zero_division=0,
    )


def write(folder: Path, network: str, test: Dataset, logits: Tensor) -> None:
    """Write what one network does on the test set.

    - classification_report.json: scikit-learn's report
    - classification_report.csv: the same as a table, a line a class (DVC cannot plot its text, nor keep it in git
      without giving up the run cache)
    - confusion.csv: a line an image, names of its true and its predicted class
    - confusion_matrix.png: the same as counts
    - mistakes.png: the images of the most confident mistakes
    """
    classes = test.format.classes
    true, predicted = test.labels.numpy(), logits.argmax(dim=1).numpy()
    report = classification_report(test, logits, as_text=False)
    write_text(folder / "classification_report.json", json.dumps(report, indent=2) + "\n")
    write_csv(folder / "classification_report.csv", report_rows(report))
    pairs = [(classes[i], classes[j]) for i, j in zip(true, predicted, strict=True)]
    write_csv(folder / "confusion.csv", [("actual", "predicted"), *pairs])

    counts = metrics.confusion_matrix(y_true=true, y_pred=predicted, labels=range(len(classes)))
    title = f"{network} on {len(test):,} test images: accuracy {report['accuracy']:.2%}"
    figures.save(figures.confusion_matrix(counts, classes, title), folder / "confusion_matrix.png")
    figures.save(mistakes_gallery(network, test, logits), folder / "mistakes.png")


def mistakes_gallery(network: str, test: Dataset, logits: Tensor) -> Figure:
    """The network's most confident mistakes as a picture."""
    mistakes = confident_mistakes(logits, test.labels)
    if not len(mistakes):
        return figures.gallery([], [], f"{network}: no mistake on {len(test):,} test images")
    shown = mistakes[:MISTAKES]
    predicted, probabilities = logits[shown].argmax(dim=1), logits[shown].double().softmax(dim=1).amax(dim=1)
    classes = test.format.classes
    captions = [
        f"{classes[i]} → {classes[j]}, {probability:.1%}"
        for i, j, probability in zip(test.labels[shown], predicted, probabilities, strict=True)
    ]
    title = f"{network}: the {len(shown)} most confident of {len(mistakes):,} mistakes"
    return figures.gallery(test.images[shown], captions, f"{title} (true → predicted class, its probability)")


def confident_mistakes(logits: Tensor, labels: Tensor) -> Tensor:
    """Indices, int64, of the misclassified images, the highest probability of the wrong class first."""
    mistakes = (logits.argmax(dim=1) != labels).nonzero().flatten()
    probabilities = logits[mistakes].double().softmax(dim=1).amax(dim=1)
    return mistakes[probabilities.argsort(descending=True, stable=True)]


def report_rows(report: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """scikit-learn's report as a table with a header; accuracy, which belongs to no class, is left out."""
    columns = ("precision", "recall", "f1-score")
    rows = [
        (name, *(f"{values[column]:.4f}" for column in columns), f"{values['support']:.0f}")
        for name, values in report.items()
        if name != "accuracy"
    ]
    return [("class", *columns, "support"), *rows]
