"""torchvision's own networks with weights from here, and the way back."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
import torchvision
from torch import Tensor

from scripts import export
from src.base.errors import InputError
from src.networks import model_file
from src.networks.initialization import build
from src.networks.torchvision_layout import NETWORKS, from_torchvision, to_torchvision
from src.networks.vgg import VGG, Letter
from tests.conftest import FORMAT


def network(letter: Letter, size: int, seed: int = 0) -> VGG:
    image_format = replace(FORMAT, resize=size, crop=size)
    return build(letter, image_format, seed=seed, init="kaiming", init_std=0.01, dropout=0.5).eval()


def images(size: int) -> Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("letter", "size"),
    [
        *(("D", 32), ("A", 64)),
        *(pytest.param("A", size, marks=pytest.mark.slow) for size in (32, 96, 160, 224)),
        *(pytest.param(letter, 32, marks=pytest.mark.slow) for letter in ("B", "E")),
    ],
)
@torch.inference_mode()
def test_torchvisions_network_gives_the_same_outputs(letter: Letter, size: int) -> None:
    ours = network(letter, size)
    with torch.device("meta"):
        theirs = getattr(torchvision.models, NETWORKS[letter])(num_classes=10)
    theirs.load_state_dict(to_torchvision(ours), assign=True)
    expected = ours(images(size))
    torch.testing.assert_close(theirs.eval()(images(size)), expected, rtol=1e-4, atol=1e-4 * float(expected.std()))


@pytest.mark.parametrize("size", [32, pytest.param(64, marks=pytest.mark.slow), 224])
def test_there_and_back_again(size: int) -> None:
    ours = network("A", size)
    back = from_torchvision(to_torchvision(ours), ours)
    assert back.keys() == ours.state_dict().keys()
    for name, weight in ours.state_dict().items():
        exact = size == 224 or name != "fc6.weight"
        torch.testing.assert_close(back[name], weight, rtol=0, atol=0 if exact else 1e-6)


@torch.inference_mode()
def test_weights_of_torchvision_give_its_outputs_at_32_pixels() -> None:
    """torchvision repeats the single value of the last feature map 49 times."""
    torch.manual_seed(0)
    theirs = torchvision.models.vgg11(num_classes=10).eval()
    ours = network("A", 32)
    ours.load_state_dict(from_torchvision(theirs.state_dict(), ours))
    expected = theirs(images(32))
    torch.testing.assert_close(ours(images(32)), expected, rtol=1e-4, atol=1e-4 * float(expected.std()))


@pytest.mark.parametrize(
    ("letter", "size", "message"),
    [
        ("C", 32, "network C: torchvision has only A, B, D, E"),
        ("A-LRN", 32, "network A-LRN: torchvision has only A, B, D, E"),
        ("A", 256, "network for images of 256 pixels: torchvision averages them to 224 pixels"),
    ],
)
def test_what_torchvision_does_not_have_is_refused(letter: Letter, size: int, message: str) -> None:
    with torch.device("meta"):
        vgg = VGG(letter, classes=10, image_size=size)
    with pytest.raises(InputError) as error:
        to_torchvision(vgg)
    assert str(error.value) == message


def test_weights_of_another_network_are_refused() -> None:
    with torch.device("meta"):
        deeper, normalised = torchvision.models.vgg13().state_dict(), torchvision.models.vgg11_bn().state_dict()
    with pytest.raises(InputError, match=r"^not the layers of network A in torchvision: features\."):
        from_torchvision(deeper, network("A", 32))
    with pytest.raises(InputError, match=r"^weights with batch normalisation, which the networks here do not have$"):
        from_torchvision(normalised, network("A", 32))


def test_weights_of_vgg11_fit_its_form_with_local_response_normalisation() -> None:
    state = to_torchvision(network("A", 32))
    weights = from_torchvision(state, target := network("A-LRN", 32, seed=1))
    target.load_state_dict(weights)
    assert torch.equal(target.get_parameter("conv5_2.weight"), network("A", 32).get_parameter("conv5_2.weight"))


@pytest.mark.parametrize("suffix", [pytest.param(".pth", marks=pytest.mark.slow), ".safetensors"])
def test_export_writes_what_torchvision_loads(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / "model", tmp_path / f"out{suffix}"
    model_file.save(path, model_file.Model(network("A", 32), FORMAT))
    monkeypatch.setattr(sys, "argv", ["export", str(path), str(out)])
    export.main()
    printed = capsys.readouterr().out
    assert printed == f"{out}: for torchvision.models.vgg11(num_classes=10)\nclasses: a b c d e f g h i j\n"
    state = torch.load(out) if suffix == ".pth" else safetensors.torch.load_file(out)
    with torch.device("meta"):
        theirs = torchvision.models.vgg11(num_classes=10)
    theirs.load_state_dict(state, assign=True)
    # The same bytes under any name: `train_vgg11.start_sha256` is the digest of such a file.
    monkeypatch.setattr(sys, "argv", ["export", str(path), str(other := tmp_path / f"other{suffix}")])
    export.main()
    assert other.read_bytes() == out.read_bytes()


def test_export_refuses_another_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["export", str(tmp_path / "model"), str(tmp_path / "model.onnx")])
    with pytest.raises(InputError, match=r"model\.onnx: expected a name that ends in \.pth, \.pt, \.safetensors"):
        export.main()
