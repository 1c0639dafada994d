"""No step of training waits for the device. Tensors of the meta device, which have no values, stand for a GPU."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from src.base import tensors
from src.images import augmentation, batches
from src.images.augmentation import AugmentParams
from src.images.batches import in_order, shuffled
from src.images.transforms import prepare, scaled_mean
from src.training.meter import Meter, count_hits
from tests.conftest import FORMAT, coloured_squares

ALL = AugmentParams(random_crop=True, flip=True, colour_shift=True)
META = torch.device("meta")


class Waiting(TorchDispatchMode):
    """Refuses what would wait for a GPU: to read a value, and to mix tensors of the CPU into work of the device."""

    sending = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        flat = [leaf for argument in args for leaf in (argument if isinstance(argument, list | tuple) else [argument])]
        given = [leaf for leaf in flat if isinstance(leaf, Tensor)]
        result = func(*args, **(kwargs or {}))
        made = [leaf for leaf in (result if isinstance(result, list | tuple) else [result]) if isinstance(leaf, Tensor)]
        devices = {tensor.device.type for tensor in given + made}
        if not self.sending:
            assert devices != {"cpu", "meta"}, f"{name} copies between CPU and device"
            assert name != "_local_scalar_dense", "a value is read"
            assert name != "lift_fresh" or "meta" not in devices, "numbers of Python are sent"
        return result


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> Waiting:
    """Copies by `send` are allowed: the next test shows that they do not wait."""
    mode = Waiting()

    def send(values: Tensor, device: torch.device) -> Tensor:
        mode.sending = True
        try:
            return tensors.send(values, device)
        finally:
            mode.sending = False

    for module in (augmentation, batches):
        monkeypatch.setattr(module, "send", send)
    return mode


def test_what_would_wait_is_seen(waiting: Waiting) -> None:
    """The next tests can fail."""
    images, few = torch.empty(4, 3, device=META), torch.tensor([0, 1])
    steps: list[Callable[[], object]] = [
        lambda: images.new_tensor([1.0, 2.0]),
        lambda: few.to(META),
        lambda: images[few],
        lambda: images.sum().item(),
        lambda: images.nonzero(),
    ]
    for step in steps:
        with pytest.raises((AssertionError, RuntimeError, NotImplementedError)), waiting:
            step()


def test_pinned_memory_is_copied_without_waiting() -> None:
    values, gpu = mock.create_autospec(Tensor, instance=True), torch.device("cuda", 0)
    assert tensors.send(values, gpu) is values.pin_memory.return_value.to.return_value
    values.pin_memory.return_value.to.assert_called_once_with(gpu, non_blocking=True)
    assert tensors.send(few := torch.tensor([1]), torch.device("cpu")) is few


@pytest.mark.parametrize("resize", [32, 40, (36, 44)])
def test_a_step_does_not_wait(resize: int | tuple[int, int], waiting: Waiting) -> None:
    data = coloured_squares(20).to(META)
    data = replace(data, format=replace(FORMAT, resize=resize))
    scaled_mean(data.format, META)  # made once, before the first step
    augmentation.principal_components(data.format)
    logits, meter = torch.empty(8, 10, device=META), Meter(META)
    with waiting:
        for images, labels, size in shuffled(data, 8, ALL, seed=0, epoch=1):
            assert images.device == labels.device == META
            meter.add(logits.mean(), count_hits(logits[: len(labels)], labels), size)
        for images, labels in in_order(data, 8):
            assert images.device == labels.device == META
    assert meter.images == 20


def test_constants_are_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    image_format = replace(FORMAT, resize=43, mean=(0.1, 0.2, 0.3))  # of no other test
    made = mock.Mock(wraps=torch.tensor)
    solved = mock.Mock(wraps=torch.linalg.eigh)
    monkeypatch.setattr(torch, "tensor", made)
    monkeypatch.setattr(torch.linalg, "eigh", solved)
    data = replace(coloured_squares(20), format=image_format)
    for _ in range(2):
        list(shuffled(data, 4, ALL, seed=0, epoch=1))
        list(in_order(data, 4))
    assert (made.call_count, solved.call_count) == (2, 1)  # the mean and the covariance
    prepare(data.images.to(META), image_format)
    assert made.call_count == 3  # one mean per device


def test_constants_of_inference_serve_training() -> None:
    """A tensor that is made in inference mode cannot take part in a backward pass."""
    image_format = replace(FORMAT, resize=44, mean=(0.1, 0.2, 0.3))  # of no other test
    with torch.inference_mode():
        prepare(coloured_squares(2).images, image_format)
    for values in (scaled_mean(image_format, torch.device("cpu")), *augmentation.principal_components(image_format)):
        assert not values.is_inference()
