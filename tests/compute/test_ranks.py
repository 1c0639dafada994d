"""Two processes (Gloo) train what one trains: what tests/compute/ranks.py writes is compared."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch import Tensor

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with what tests/compute/ranks.py writes, in one process and in two."""
    folder = tmp_path_factory.mktemp("ranks")
    for devices in ("1", "2"):
        command = [sys.executable, "-m", "tests.compute.ranks", devices, str(folder)]
        subprocess.run(command, cwd=ROOT, check=True, timeout=300)
    return folder


def ranks(folder: Path, name: str) -> tuple[Any, dict[str, Tensor]]:
    """What tests/compute/ranks.py measured, and the gradients of its first step."""
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8")), load_file(folder / f"{name}.safetensors")


# Winograd's algorithm rounds more.
@pytest.mark.parametrize(
    ("convolution", "of_gradients", "of_logits"), [("library", 1e-5, 1e-5), ("winograd", 5e-5, 1e-4)]
)
def test_two_processes_follow_one(trained: Path, convolution: str, of_gradients: float, of_logits: float) -> None:
    """VGG11, kaiming, fp32, augmentation, uneven batches, one of them of a single image."""
    (one, gradients), (two, others) = (ranks(trained, f"{devices}-{convolution}") for devices in (1, 2))
    assert len(gradients) == 2 * 11
    for name, gradient in gradients.items():
        assert gradient.norm() > 1e-4, name
        assert (others[name] - gradient).norm() < of_gradients * gradient.norm(), name
    assert len(one["losses"]) == 8
    assert two["losses"] == pytest.approx(one["losses"], rel=1e-5)
    assert two["parts"] == [12, 14]  # images of two epochs: each image is seen by one of the two
    assert len(set(two["weights"])) == 1
    assert two["validation"] == pytest.approx(one["validation"], rel=1e-5)
    for logits, expected in zip(two["logits"], one["logits"], strict=True):
        assert logits == pytest.approx(expected, rel=1e-3, abs=of_logits)
