"""One rule for ties: among equal logits the lower class comes first."""

import pytest
import torch
from torch import Tensor

from src.base.errors import InputError
from src.networks.outputs import average, places, predicted

TIES = torch.randint(0, 3, (300, 10), generator=torch.Generator().manual_seed(0)).float()  # three values for ten logits
TRUE = torch.arange(300) % 10


def ordered(row: Tensor) -> list[int]:
    """The classes by falling logit. Python's sort keeps the order of equal ones."""
    return sorted(range(len(row)), key=lambda index: -float(row[index]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_among_equal_logits_the_lower_class_comes_first(dtype: torch.dtype) -> None:
    logits = TIES.to(dtype)
    assert places(logits, TRUE).tolist() == [
        ordered(row).index(y) for row, y in zip(logits, TRUE.tolist(), strict=True)
    ]
    assert predicted(logits).tolist() == [ordered(row)[0] for row in logits]


@pytest.mark.parametrize("classes", [1, 2, 3, 17, 100, 1000])
@pytest.mark.parametrize("images", [1, 7, 500])
def test_the_first_place_is_the_prediction(images: int, classes: int) -> None:
    """Whatever kernel `argmax` uses for this shape."""
    logits = torch.randint(0, 2, (images, classes), generator=torch.Generator().manual_seed(0)).float()
    assert not places(logits, predicted(logits)).any()
    assert not predicted(torch.zeros(images, classes)).any()
    assert torch.equal(predicted(logits.T.contiguous().T), predicted(logits))


def test_infinities_have_a_place_and_nan_is_never_right() -> None:
    inf, nan = float("inf"), float("nan")
    assert places(torch.tensor([[inf, inf, 0.0], [-inf, -inf, -inf]]), torch.tensor([1, 2])).tolist() == [1, 2]
    logits = torch.tensor([[nan, 1, 2], [nan, 1, 2], [nan, nan, nan]])
    assert places(logits, torch.tensor([0, 2, 0])).gt(0).all()


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (TIES.long(), TRUE, "logits: int64 [300, 10], expected float [N, classes]"),
        (TIES[0], TRUE[:1], "logits: float32 [10], expected float [N, classes]"),
        (TIES, TRUE[:1], "labels: int64 [1], expected int64 [300]"),
        (TIES, TRUE[:, None], "labels: int64 [300, 1], expected int64 [300]"),
        (TIES, TRUE.float(), "labels: float32 [300], expected int64 [300]"),
    ],
)
def test_other_logits_and_labels_are_refused(logits: Tensor, labels: Tensor, message: str) -> None:
    with pytest.raises(InputError) as error:
        places(logits, labels)
    assert str(error.value) == message


def test_the_average_is_that_of_class_probabilities() -> None:
    parts = list(torch.randn(3, 50, 10, generator=torch.Generator().manual_seed(0)) * 5)
    expected = sum(part.double().softmax(dim=1) for part in parts) / 3
    for shifts in ((0.0, 0.0, 0.0), (100.0, -50.0, 7.0)):  # added to all classes, they change no probability
        shifted = [part + shift for part, shift in zip(parts, shifts, strict=True)]
        found = average(shifted)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double().exp(), expected, rtol=1e-4, atol=1e-7)
    assert average(parts[:1]) is parts[0]


def test_certain_networks_are_averaged_without_overflow() -> None:
    """One network is sure of class 0, the other of class 1: each has probability 1/2, a third class has none."""
    found = average([torch.tensor([[1e4, 0, 0]]), torch.tensor([[0, 1e4, 0]])])
    assert found.isfinite().all()
    torch.testing.assert_close(found.softmax(dim=1), torch.tensor([[0.5, 0.5, 0.0]]))
