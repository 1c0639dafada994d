"""The scores of a network on the test set."""

from typing import Any

import torch.nn.functional as F
from sklearn import metrics
from torch import Tensor

from src.images.dataset import Dataset

TOP = 5


def scores(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Scores of float32 logits [N, classes] against int64 labels [N].

    Precision, recall and F1 are means over the classes with equal weights. They are 0 for a class that is never
    predicted. The loss is the mean cross-entropy in nats.
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
