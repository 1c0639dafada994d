"""The scores of a network on the test set."""

from typing import Any

import torch.nn.functional as F
from sklearn import metrics
from torch import Tensor

from src.base.errors import InputError
from src.base.tensors import check, check_labels
from src.images.dataset import Dataset
from src.networks.outputs import places, predicted


def check_logits(logits: Tensor, labels: Tensor, classes: int) -> None:
    """Check finite logits, float [N, classes], and labels, int64 [N] in 0..classes-1.

    Raises:
        InputError: they are something else.
    """
    check_labels(labels, "N", classes)
    check("logits", logits, "float", (len(labels), classes), hint="one row per label, one column per class")
    if bad := int((~logits.isfinite().all(dim=1)).sum()):
        raise InputError(f"logits: {bad:,} of {len(logits):,} rows are not finite, expected finite numbers")


def scores(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Scores of finite logits, float [N, classes], against labels, int64 [N].

    `top5` is the share of images with the true class among the five highest logits. The loss is the mean cross-entropy
    in nats. `src/networks/outputs.py` has the rule for ties.

    Raises:
        InputError: logits or labels are something else.
    """
    check("logits", logits, "float", ("N", "classes"))
    check_logits(logits, labels, logits.shape[1])
    before = places(logits, labels)
    return {
        "accuracy": int((before < 1).sum()) / len(labels),
        "loss": F.cross_entropy(logits.double(), labels).item(),
        "top5": int((before < 5).sum()) / len(labels),
    }


def classification_report(test: Dataset, logits: Tensor, *, as_text: bool) -> Any:
    """scikit-learn's report, as text or as a dictionary, for finite logits, float [N, classes].

    Raises:
        InputError: the logits are something else.
    """
    check_logits(logits, test.labels, len(test.format.classes))
    return metrics.classification_report(
        y_true=test.labels.numpy(),
        y_pred=predicted(logits).numpy(),
        labels=range(len(test.format.classes)),
        target_names=test.format.classes,
        digits=4,
        output_dict=not as_text,
        zero_division=0,
    )
