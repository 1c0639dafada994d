"""What the outputs of a network mean: class probabilities, a predicted class, and the rank of the true class.

One rule for ties, in training and in evaluation: among equal logits the lower class comes first.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from src.base.tensors import check


def predicted(logits: Tensor) -> Tensor:
    """The class that comes first, for logits, float [N, classes]: int64 [N]."""
    check("logits", logits, "float", ("N", "classes"), empty=True)
    return logits.argmax(dim=1)  # of equal logits the first one, as its documentation says


def average(logits: Sequence[Tensor]) -> Tensor:
    """The logarithm of the mean class probabilities (sections 3.2 and 4.5). It serves as logits.

    Args:
        logits: of the same images, one tensor or more, float32 [N, classes]. A single one is returned as it is.

    Returns:
        float32 [N, classes].
    """
    if len(logits) == 1:
        return logits[0]
    posteriors = torch.stack([values.double().log_softmax(dim=1) for values in logits])
    return (posteriors.logsumexp(dim=0) - math.log(len(logits))).float()


def places(logits: Tensor, labels: Tensor) -> Tensor:
    """How many classes come before the true one: 0 where the prediction is right, below k where it is in the top k.

    Nothing here waits for the device. A logit that is not a number comes before all others. Its image counts as wrong.

    Args:
        logits: float [N, classes].
        labels: int64 [N], in 0..classes-1.

    Returns:
        int64 [N].
    """
    check("logits", logits, "float", ("N", "classes"), empty=True)
    check("labels", labels, "int64", (len(logits),), empty=True)
    logits = logits.detach()
    true = logits.gather(1, labels[:, None])
    classes = torch.arange(logits.shape[1], device=logits.device)
    behind = torch.where(classes < labels[:, None], logits < true, logits <= true)  # includes the true class itself
    return (~behind).sum(dim=1)
