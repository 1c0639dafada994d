"""The command that names the classes of pictures."""

import csv
import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

from scripts import predict
from src.base.errors import InputError
from src.images.pictures import read_picture
from src.images.transforms import prepare
from src.networks import model_file
from src.networks.initialization import build
from tests.conftest import FORMAT

Command = Callable[..., str]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "vgg11.safetensors"
    network = build("A", FORMAT, seed=0, init="kaiming", init_std=0.01, dropout=0.5)
    model_file.save(path, model_file.Model(network, FORMAT))
    return path


@pytest.fixture
def command(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Run the command in a folder with pictures; returns what it prints."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "holiday" / "beach").mkdir(parents=True)
    for index, name in enumerate(("a.png", "holiday/z.png", "holiday/b.jpg", "holiday/beach/c.gif")):
        Image.effect_noise((50 + index, 40), 90).save(name)
    Path("holiday/notes.txt").write_text("no picture")

    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["predict", str(model), *arguments])
        predict.main()
        return capsys.readouterr().out

    return run


def expected(model: Path, name: str) -> list[tuple[str, float]]:
    """All classes with their probabilities, the largest first, computed for one picture alone."""
    trained = model_file.load(model)
    with torch.inference_mode():
        logits = trained.network(prepare(read_picture(Path(name), name)[None], trained.format))[0]
    shares = zip(trained.format.classes, logits.double().softmax(dim=0).tolist(), strict=True)
    return sorted(shares, key=lambda share: -share[1])


def test_the_classes_of_a_picture(command: Command, model: Path) -> None:
    guesses = expected(model, "a.png")[:2]
    assert command("a.png", "--top", "2") == f"a.png: {', '.join(f'{label} {share:.1%}' for label, share in guesses)}\n"


def test_a_folder_stands_for_its_pictures(command: Command) -> None:
    names = [line.split(": ")[0] for line in command("holiday", "a.png").splitlines()]
    assert names == ["holiday/b.jpg", "holiday/beach/c.gif", "holiday/z.png", "a.png"]


def test_json_and_csv_say_the_same(command: Command, model: Path) -> None:
    rows = [json.loads(line) for line in command("holiday", "--json", "--top", "20").splitlines()]
    table = list(csv.DictReader(io.StringIO(command("holiday", "--csv", "--top", "20"))))
    assert [row["file"] for row in rows] == list(dict.fromkeys(row["file"] for row in table))
    for row in rows:
        found = [(guess["class"], guess["probability"]) for guess in row["classes"]]
        mine = [line for line in table if line["file"] == row["file"]]
        assert [line["rank"] for line in mine] == [str(rank) for rank in range(1, 11)]
        for other in (found, [(line["class"], float(line["probability"])) for line in mine]):
            assert [label for label, _ in other] == [label for label, _ in expected(model, row["file"])]
            shares = [share for _, share in expected(model, row["file"])]
            assert [share for _, share in other] == pytest.approx(shares, abs=2e-6)


def test_batches_do_not_matter(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    once = command("holiday", "--csv")
    monkeypatch.setattr(predict, "inference_batch", lambda _crop: 2)
    again = csv.DictReader(io.StringIO(command("holiday", "--csv")))
    for one, other in zip(csv.DictReader(io.StringIO(once)), again, strict=True):
        assert float(one.pop("probability")) == pytest.approx(float(other.pop("probability")), abs=2e-6)
        assert one == other


def test_standard_input(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    piped = io.TextIOWrapper(io.BytesIO(Path("a.png").read_bytes()))
    monkeypatch.setattr(sys, "stdin", piped)
    assert command("-").replace("-:", "a.png:") == command("a.png")


def test_wrong_files_are_named_and_the_others_done(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    Path("holiday/broken.png").write_bytes(b"broken")
    with pytest.raises(InputError, match=r"^3 of 6 could not be read, see above$"):
        command("missing.png", "holiday", "holiday/notes.txt")
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 3
    assert printed.err.splitlines() == [
        "missing.png: cannot be read (No such file or directory)",
        "holiday/broken.png: not a picture that Pillow can read",
        "holiday/notes.txt: not a picture that Pillow can read",
    ]


def test_a_folder_that_cannot_be_read_is_named_and_the_others_done(
    command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`os.walk` reports such a folder. An administrator may read every folder."""
    walk = os.walk

    def closed(top: str, onerror: Callable[[OSError], object]) -> Iterator[tuple[str, list[str], list[str]]]:
        onerror(PermissionError(13, "Permission denied", f"{top}/beach"))
        return ((folder, folders, files) for folder, folders, files in walk(top) if not folder.endswith("beach"))

    monkeypatch.setattr(os, "walk", closed)
    with pytest.raises(InputError, match=r"^1 of 3 could not be read, see above$"):
        command("holiday")
    printed = capsys.readouterr()
    assert [line.split(": ")[0] for line in printed.out.splitlines()] == ["holiday/b.jpg", "holiday/z.png"]
    assert printed.err.splitlines() == ["holiday/beach: Permission denied"]


def test_a_folder_without_pictures_is_refused(command: Command) -> None:
    Path("empty").mkdir()
    with pytest.raises(InputError, match=r"^empty: no picture in this folder$"):
        command("empty")


@pytest.mark.parametrize("form", [(), ("--json",), ("--csv",)])
def test_outputs_that_are_not_finite_are_refused(
    form: tuple[str, ...], command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = model_file.load

    def load_large(path: Path) -> model_file.Model:
        model = loaded(path)
        with torch.no_grad():
            model.network.get_parameter("fc8.weight").fill_(3e38)
        return model

    monkeypatch.setattr(model_file, "load", load_large)
    with pytest.raises(InputError, match="the outputs of the model are not finite; it cannot be used"):
        command("a.png", *form)


def test_at_least_one_class_is_asked_for(command: Command) -> None:
    with pytest.raises(InputError, match=r"^--top: 0, expected at least 1$"):
        command("a.png", "--top", "0")
