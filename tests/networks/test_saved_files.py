"""Data sets and models on disk: complete, equal for equal content, refused when damaged."""

from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

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
