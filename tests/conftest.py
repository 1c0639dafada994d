"""Small data and settings that several tests use, and how the tests share a machine."""

import os
from collections.abc import Iterator

import psutil
import pytest
import torch

from src.batches import AugmentParams
from src.dataset import Dataset, ImageFormat
from src.optimization import OptimizerParams, ScheduleParams
from src.runtime import RuntimeParams, cores
from src.training import TrainingParams

FORMAT = ImageFormat(
    classes=tuple("abcdefghij"),
    resize=32,
    crop=32,
    pixel_scale=1,
    mean=(0.5, 0.4, 0.3),
    covariance=((0.06, 0.05, 0.04), (0.05, 0.06, 0.05), (0.04, 0.05, 0.07)),
)

NO_AUGMENT = AugmentParams(random_crop=False, flip=False, colour_shift=False)

PARAMS = TrainingParams(
    seed=0,
    augment=NO_AUGMENT,
    init="kaiming",
    init_std=0.01,
    dropout=0.5,
    batch_size=16,
    optimizer=OptimizerParams(name="adam", lr=1e-3, momentum=0.0, weight_decay=0.0, eps=1e-8),
    schedule=ScheduleParams(name="constant", patience=0),
    runtime=RuntimeParams(device="cpu", precision="fp32", deterministic=True, compile=False, devices=1),
)


def coloured_squares(count: int, seed: int = 0) -> Dataset:
    """Images that a small network can learn: noise, and a bright square at one of ten places, the class."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 10
    images = torch.randint(0, 100, (count, 3, 32, 32), generator=generator, dtype=torch.uint8)
    for image, label in zip(images, labels.tolist(), strict=True):
        row, column = divmod(label, 4)
        image[:, 8 * row + 2 : 8 * row + 10, 8 * column : 8 * column + 8] = 220
    return Dataset(images, labels, FORMAT)


LONGEST = ("test_pipeline.py", "test_torture.py", "test_distributed.py", "test_training.py")
"""The files that take longest, the longest first."""


def pytest_configure() -> None:
    """Give each worker of pytest-xdist, and what its tests start, cores of its own.

    On shared cores the threads of one process spin while those of another compute, which takes several times as long.
    """
    if "PYTEST_XDIST_WORKER" in os.environ and hasattr(psutil.Process, "cpu_affinity"):
        index, count = int(os.environ["PYTEST_XDIST_WORKER"][2:]), int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
        process = psutil.Process()
        allowed = process.cpu_affinity()
        process.cpu_affinity(allowed[index::count] or allowed)
        torch.set_num_threads(cores())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that no worker is alone with one of them at the end."""
    order = {name: index for index, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


@pytest.fixture(autouse=True)
def _deterministic() -> Iterator[None]:
    """Undo what a test sets for the whole process."""
    before = torch.get_deterministic_debug_mode(), torch.get_num_threads()
    yield
    torch.set_deterministic_debug_mode(before[0])
    torch.set_num_threads(before[1])
    torch.set_flush_denormal(False)
