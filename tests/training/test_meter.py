"""Loss and accuracy over batches of different sizes."""

import pytest
import torch

from src.training.meter import Meter, count_hits


def test_a_partial_batch_counts_by_its_images() -> None:
    meter = Meter(torch.device("cpu"))
    logits = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
    meter.add(torch.tensor(1.0), count_hits(logits.repeat(2, 1), torch.tensor([0, 1, 0, 0])), 4)  # 3 hits
    meter.add(torch.tensor(4.0), count_hits(logits[:1], torch.tensor([1])), 1)  # no hit
    loss, accuracy = meter.result()
    assert loss == pytest.approx((4 * 1.0 + 1 * 4.0) / 5)
    assert accuracy == 3 / 5
