"""Loss and accuracy over batches of different sizes."""

import pytest
import torch

from src.base.errors import InputError
from src.evaluation.scores import scores
from src.training.meter import Meter, count_hits


def test_a_partial_batch_counts_by_its_images() -> None:
    meter = Meter(torch.device("cpu"))
    logits = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
    meter.add(torch.tensor(1.0), count_hits(logits.repeat(2, 1), torch.tensor([0, 1, 0, 0])), 4)  # 3 hits
    meter.add(torch.tensor(4.0), count_hits(logits[:1], torch.tensor([1])), 1)  # no hit
    loss, accuracy = meter.result()
    assert loss == pytest.approx((4 * 1.0 + 1 * 4.0) / 5)
    assert accuracy == 3 / 5


def test_equal_logits_are_counted_as_evaluation_counts_them() -> None:
    """Among equal logits the lower class comes first."""
    labels = torch.arange(10)
    assert count_hits(torch.zeros(10, 10), labels) == 1
    logits = torch.randint(0, 3, (500, 10), generator=torch.Generator().manual_seed(0)).float()
    labels = torch.arange(500) % 10
    assert int(count_hits(logits, labels)) / 500 == scores(logits, labels)["accuracy"]
    assert count_hits(torch.full((3, 10), torch.nan), torch.zeros(3, dtype=torch.int64)) == 0
    assert count_hits(logits[:0], labels[:0]) == 0  # the share of a process in a small batch


def test_hits_of_other_tensors_are_refused() -> None:
    logits, labels = torch.zeros(4, 10), torch.zeros(4, dtype=torch.int64)
    for wrong in ((logits.long(), labels), (logits[0], labels), (logits, labels[:1]), (logits, labels.float())):
        with pytest.raises(InputError):
            count_hits(*wrong)
