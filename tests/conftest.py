"""Small data and settings that several tests use, and how the tests share a machine."""

import os
import signal
from collections.abc import Iterator
from unittest import mock

import psutil
import pytest
import torch
from hypothesis import settings

from src.compute.runtime import REFERENCE, cores
from src.images.augmentation import AugmentParams
from src.images.dataset import Dataset
from src.images.format import ImageFormat
from src.images.views import EvaluateParams
from src.training.optimizer import OptimizerParams, ScheduleParams
from src.training.run import TrainingParams
from tests.project import ROOT, own_environment

FORMAT = ImageFormat(
    classes=tuple("abcdefghij"),
    resize=32,
    crop=32,
    pixel_scale=1,
    mean=(0.5, 0.4, 0.3),
    covariance=((0.06, 0.05, 0.04), (0.05, 0.06, 0.05), (0.04, 0.05, 0.07)),
)

CENTRE = EvaluateParams(test="centre", scales="auto", flip=False)

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
    runtime=REFERENCE.model_copy(update={"convolution": "auto"}),
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


settings.register_profile("short", max_examples=40)
settings.register_profile("long", max_examples=300)
settings.load_profile("short")  # `make test-all` takes the long one

LONGEST = ("test_pipeline.py", "test_torture.py", "test_processes.py", "test_ranks.py", "test_golden.py")
"""The files that take longest, the longest first."""


def pytest_configure() -> None:
    """Give each worker of pytest-xdist its own cores. The processes that its tests start inherit them.

    On shared cores the threads of one process spin while those of another compute, which takes several times as long.
    """
    os.chdir(ROOT)  # tests name files of the project from there, wherever pytest was started
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as in a script's `make test &`; tests press Ctrl-C
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if "PYTEST_XDIST_WORKER" in os.environ and hasattr(psutil.Process, "cpu_affinity"):
        index, count = int(os.environ["PYTEST_XDIST_WORKER"][2:]), int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
        process = psutil.Process()
        allowed = process.cpu_affinity()
        process.cpu_affinity(allowed[index::count] or allowed)
        torch.set_num_threads(cores())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that at the end no worker waits for one of them."""
    order = {name: index for index, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


@pytest.fixture(autouse=True, scope="session")
def _own_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test sees the settings of the developer, or their repository."""
    with mock.patch.dict(os.environ, own_environment(tmp_path_factory.mktemp("home")), clear=True):
        yield


@pytest.fixture(autouse=True)
def _deterministic() -> Iterator[None]:
    """Undo what a test sets for the whole process."""
    before = torch.get_deterministic_debug_mode(), torch.get_num_threads()
    yield
    torch.set_deterministic_debug_mode(before[0])
    torch.set_num_threads(before[1])
    torch.set_flush_denormal(False)
