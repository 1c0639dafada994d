"""Training that starts from the weights of a file."""

import hashlib
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
import torchvision
from torch import Tensor

from src.base.errors import InputError
from src.networks import model_file
from src.networks.initialization import build
from src.networks.model_file import Model
from src.networks.start import start_from
from src.networks.torchvision_layout import keys, to_torchvision
from src.networks.vgg import VGG
from tests.conftest import FORMAT


def network(seed: int) -> VGG:
    return build("A", FORMAT, seed=seed, init="kaiming", init_std=0.01, dropout=0.5)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


SOURCE = network(1)
WRITERS: dict[str, Callable[[Path], object]] = {
    "model.safetensors": lambda path: model_file.save(path, Model(SOURCE, FORMAT)),
    "torchvision.pth": lambda path: torch.save(to_torchvision(SOURCE), path),
    "torchvision.safetensors": lambda path: safetensors.torch.save_file(to_torchvision(SOURCE), path),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name == "torchvision.safetensors")) for name in WRITERS]
)
def test_every_layer_of_an_equal_network_is_copied(name: str, tmp_path: Path) -> None:
    WRITERS[name](path := tmp_path / name)
    target = network(2)
    result = start_from(path, sha256(path), target)
    assert (len(result.copied), result.kept) == (11, ())
    for key, weight in SOURCE.state_dict().items():
        torch.testing.assert_close(target.state_dict()[key], weight, rtol=0, atol=1e-6)


def test_layers_of_another_shape_are_drawn_anew_and_named(tmp_path: Path) -> None:
    """As for ImageNet's weights, which have 1,000 classes."""
    state = to_torchvision(SOURCE)
    state |= {"classifier.6.weight": torch.zeros(1000, 4096), "classifier.6.bias": torch.zeros(1000)}
    torch.save(state, path := tmp_path / "vgg11.pth")
    target = network(2)
    result = start_from(path, sha256(path), target)
    assert result.kept == ("fc8",)
    assert torch.equal(target.get_parameter("fc8.weight"), network(2).get_parameter("fc8.weight"))
    assert torch.equal(target.get_parameter("conv3_2.weight"), SOURCE.get_parameter("conv3_2.weight"))


def test_the_digest_of_the_file_is_part_of_the_parameters(tmp_path: Path) -> None:
    (path := tmp_path / "file").write_bytes(b"content")
    with pytest.raises(InputError) as error:
        start_from(path, "none", network(0))
    assert str(error.value) == f"params.yaml: train_vgg11.start_sha256: none: {path} has {sha256(path)}"


@pytest.mark.parametrize("name", ["a\0b", "a" * 10_000])
def test_a_name_that_no_file_has_is_one_line(name: str) -> None:
    with pytest.raises(InputError, match=r"; train_vgg11\.start names this file$"):
        start_from(Path(name), "none", network(0))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"file: No such file or directory; train_vgg11\.start names this file$"):
        start_from(tmp_path / "file", "none", network(0))


TORCHVISION = dict.fromkeys([f"{key}.{part}" for key in keys(SOURCE) for part in ("weight", "bias")], torch.ones(1))


def fc8(weight: Tensor, path: Path) -> None:
    torch.save({"fc8.weight": weight, "fc8.bias": torch.ones(10)}, path)


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "text": (lambda path: path.write_text("weights"), "not a file of weights"),
    "a whole network": (lambda path: torch.save(SOURCE, path), r"not a file of weights \(refused\)"),
    "a list": (lambda path: torch.save([1, 2], path), "not a state dict: expected tensors by name"),
    "nothing": (lambda path: torch.save({}, path), "not a state dict: expected tensors by name"),
    "no names": (lambda path: torch.save({0: torch.ones(2)}, path), "not a state dict: expected tensors by name"),
    "numbers": (lambda path: torch.save({"epoch": 1}, path), "not a state dict: expected tensors by name"),
    "whole numbers": (
        lambda path: fc8(torch.ones(10, 4096).int(), path),
        r"fc8.weight: int32 \[10, 4096\], expected float",
    ),
    "complex": (lambda path: fc8(torch.ones(10, 4096) * 1j, path), "fc8.weight: complex64 .*, expected floating-point"),
    "NaN": (lambda path: fc8(torch.full((10, 4096), math.nan), path), r"fc8.weight: float32 .*: has NaN, infinity, or"),
    "large": (
        lambda path: fc8(torch.full((10, 4096), 1e300, dtype=torch.float64), path),
        r"fc8.weight: float64 .*that float32 cannot",
    ),
    "sparse": (
        lambda path: fc8(torch.ones(10, 4096).to_sparse(), path),
        "fc8.weight: float32 .*: sparse, quantised or",
    ),
    "no content": (
        lambda path: fc8(torch.ones(10, 4096, device="meta"), path),
        "fc8.weight: float32 .*without content",
    ),
    "empty": (
        lambda path: torch.save({**TORCHVISION, "classifier.0.weight": torch.ones(0, 9)}, path),
        r"classifier.0.weight: float32 \[0, 9\], expected floating-point numbers",
    ),
    "batch normalisation": (
        lambda path: torch.save(torchvision.models.vgg11_bn().features[:3].state_dict(prefix="features."), path),
        "weights with batch normalisation, which the networks here do not have",
    ),
    "a name of two lines": (
        lambda path: torch.save({"features.0\n\x1b": torch.ones(2)}, path),
        r"not the layers of network A in torchvision: ",
    ),
    "other layers": (lambda path: torch.save({"a": torch.ones(2)}, path), "no layer has the shape of a layer of"),
}


@pytest.mark.filterwarnings("ignore:Validating sparse tensor invariants")
@pytest.mark.parametrize("kind", WRONG)
def test_other_files_are_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    write, message = WRONG[kind]
    write(path := tmp_path / "file.pth")
    target = network(0)
    before: dict[str, Tensor] = {name: weight.clone() for name, weight in target.state_dict().items()}
    with pytest.raises(InputError, match=rf"^{path}: {message}") as error:
        start_from(path, sha256(path), target)
    assert "\n" not in str(error.value)
    assert all(torch.equal(weight, before[name]) for name, weight in target.state_dict().items())
