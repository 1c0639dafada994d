"""What a trained network does on the test set: its outputs, its scores, and the tables of a report."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn import metrics
from torch import Tensor, nn
from tqdm import tqdm

from src import distributed, figures
from src.dataset import Dataset
from src.errors import InputError
from src.files import write_csv, write_text
from src.images import prepare
from src.runtime import Runtime

BATCH = 250
"""Images at a time: at 224 pixels VGG16 needs 3 GB for each of two layers in float32, less than in training."""
TOP = 5
MISTAKES = 25
CURVES = tuple(f"{split}/{metric}" for split in ("train", "validation") for metric in ("loss", "accuracy"))


@torch.inference_mode()
def predict(network: nn.Module, dataset: Dataset, runtime: Runtime, batch: int = BATCH) -> Tensor:
    """The logits of all images, float32 [N, classes], on the CPU; every process does its share of the batches.

    Raises:
        InputError: one of them is not finite.
    """
    network = runtime.place(network).eval()
    batches = torch.split(dataset.images.to(runtime.device), batch)
    share = range(len(batches))[distributed.rank() :: distributed.size()]
    logits = []
    for index in tqdm(share, unit="batch", leave=False, disable=None):
        with runtime.autocast():
            logits.append(network(prepare(batches[index], dataset.format)).float())
    mine = dict(zip(share, (part.cpu() for part in logits), strict=True))
    parts = {index: part for process in distributed.everyones(mine) for index, part in process.items()}
    result = torch.cat([parts[index] for index in range(len(batches))])
    if bad := int((~result.isfinite().all(dim=1)).sum()):
        raise InputError(
            f"the network's outputs for {bad:,} of {len(result):,} images are not finite on {runtime}; "
            "try runtime.precision=fp32"
        )
    return result


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


def write_report(folder: Path, network: str, test: Dataset, logits: Tensor) -> None:
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


def read_curves(folder: Path) -> dict[str, NDArray[np.float64]]:
    """DVCLive's tables of one training run, by name (`CURVES`): float64 [epochs, 2], the epoch and the value.

    Raises:
        InputError: a table is missing, empty, or no table of numbers.
    """
    tables = {}
    for name in CURVES:
        path = folder / f"{name}.tsv"
        try:
            rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()[1:]]
            epochs, values = np.array(rows, dtype=np.float64).T
        except (FileNotFoundError, ValueError) as error:
            raise InputError(f"{path}: not a table of epochs and values ({error}); run `dvc repro`") from None
        tables[name] = np.stack([epochs, values], axis=1)
    return tables
