"""Data sets and models on disk: complete, equal for equal content, refused when damaged."""

import copy
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from src.base.errors import InputError
from src.images import dataset
from src.networks import model_file
from src.networks.initialization import build
from src.networks.model_file import Model
from tests.conftest import FORMAT, coloured_squares


@pytest.fixture(scope="module")
def model() -> Model:
    return Model(build("A", FORMAT, seed=0, init="kaiming", init_std=0.01, dropout=0.5), FORMAT)


def test_a_data_set_comes_back_as_it_was(tmp_path: Path) -> None:
    data = coloured_squares(20)
    dataset.save(tmp_path / "a", data)
    back = dataset.load(tmp_path / "a")
    assert torch.equal(back.images, data.images)
    assert torch.equal(back.labels, data.labels)
    assert (back.images.dtype, back.labels.dtype, back.format) == (torch.uint8, torch.int64, data.format)
    assert len(back) == 20


def test_equal_data_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        dataset.save(tmp_path / name, coloured_squares(20))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_model_is_all_that_is_needed_to_predict(tmp_path: Path, model: Model) -> None:
    model_file.save(tmp_path / "model", model)
    back = model_file.load(tmp_path / "model")
    assert (back.network.letter, back.format) == ("A", FORMAT)
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(back.network(images), model.network.eval()(images))
    names = set(safetensors.torch.load_file(tmp_path / "model"))
    assert {"conv1_1.weight", "conv5_2.bias", "fc6.weight", "fc8.bias"} < names


def test_memory_layout_does_not_change_the_file(tmp_path: Path, model: Model) -> None:
    model_file.save(tmp_path / "a", model)
    network = model_file.load(tmp_path / "a").network.to(memory_format=torch.channels_last)
    model_file.save(tmp_path / "b", Model(network, FORMAT))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_damaged_files_are_refused(tmp_path: Path, model: Model) -> None:
    path = tmp_path / "file"
    model_file.save(path, model)
    content = path.read_bytes()
    safetensors.torch.save_file({"x": torch.zeros(1)}, tmp_path / "foreign")
    damaged = [b"", b"\xff" * 100, content[:1000], content[:-1], (tmp_path / "foreign").read_bytes()]
    damaged.append(content.replace(b'network\\": \\"A\\"', b'network\\": \\"B\\"', 1))  # the layers of another network
    damaged.append(content.replace(b'network\\": \\"A\\"', b'network\\": \\"X\\"', 1))
    assert damaged[-1] != content
    for data in damaged:
        path.write_bytes(data)
        with pytest.raises(InputError) as error:
            model_file.load(path)
        assert "\n" not in str(error.value)
        assert str(error.value).startswith(f"{path}: not a model of this project")
        with pytest.raises(InputError, match="not a data set of this project"):
            dataset.load(path)


def test_missing_files_are_refused(tmp_path: Path) -> None:
    for load in (dataset.load, model_file.load):
        with pytest.raises(InputError, match="run `dvc repro"):
            load(tmp_path / "none")


def test_the_difference_of_formats_is_named() -> None:
    assert FORMAT.difference(FORMAT) == ""
    assert FORMAT.difference(replace(FORMAT, crop=64)) == "crop 32 and 64"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"classes": tuple("abc")}, "network A: for 10 classes and images of 32 pixels, but the image format has 3 cl"),
        ({"resize": 64, "crop": 64}, "network A: for 10 classes and images of 32 pixels, but the image format has 10"),
        ({"crop": 64}, "image format: crop: 64, expected a whole number from 1 to resize"),
    ],
)
def test_a_model_fits_its_images(model: Model, values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}"):
        Model(model.network, replace(FORMAT, **values))


def test_weights_are_float32_and_finite(tmp_path: Path, model: Model) -> None:
    network = copy.deepcopy(model.network)
    with pytest.raises(InputError, match=r"^network A: conv1_1.weight: torch.float16, expected float32"):
        Model(network.half(), FORMAT)
    network = network.float()
    network.get_parameter("fc7.bias").data[5] = math.nan
    with pytest.raises(InputError, match=r"model: not written: fc7.bias has weights that are not finite"):
        model_file.save(tmp_path / "model", Model(network, FORMAT))
    assert not list(tmp_path.iterdir())


def test_a_file_of_other_weights_is_refused(tmp_path: Path, model: Model) -> None:
    """A model of half precision, or with the format of other images, is no model of this project."""
    model_file.save(tmp_path / "model", model)
    with safetensors.safe_open(tmp_path / "model", framework="pt") as file:
        metadata = file.metadata()
    weights = safetensors.torch.load_file(tmp_path / "model")
    other = {"model": json.dumps({"network": "A", "format": replace(FORMAT, crop=64).to_json()})}
    files = [({name: weight.half() for name, weight in weights.items()}, metadata), (weights, other)]
    for number, content in enumerate(files):
        safetensors.torch.save_file(content[0], tmp_path / str(number), content[1])
        with pytest.raises(InputError) as error:
            model_file.load(tmp_path / str(number))
        assert str(error.value).startswith(f"{tmp_path / str(number)}: not a model of this project (")
        assert "\n" not in str(error.value)


def test_a_file_of_other_images_is_refused(tmp_path: Path) -> None:
    data = coloured_squares(4)
    tensors = {"images": data.images, "labels": data.labels.to(torch.uint8)}
    metadata = {"format": FORMAT.to_json()}
    files: list[tuple[dict[str, Tensor], dict[str, str]]] = [
        (tensors | {"images": data.images.float() / 255}, metadata),
        (tensors | {"images": data.images.permute(0, 2, 3, 1).contiguous()}, metadata),
        (tensors | {"labels": data.labels}, metadata),
        (tensors | {"labels": tensors["labels"] + 7}, metadata),
        (tensors | {"labels": tensors["labels"][:3]}, metadata),
        ({"images": data.images[:0], "labels": tensors["labels"][:0]}, metadata),
        (tensors, {"format": replace(FORMAT, crop=64).to_json()}),
        (tensors, {"format": replace(FORMAT, mean=(math.nan,) * 3).to_json()}),
    ]
    for content, description in files:
        safetensors.torch.save_file(content, tmp_path / "data", description)
        with pytest.raises(InputError) as error:
            dataset.load(tmp_path / "data")
        assert str(error.value).startswith(f"{tmp_path / 'data'}: not a data set of this project (")
        assert "\n" not in str(error.value)
