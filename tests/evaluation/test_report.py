import csv
import io
import json
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics
from torch import Tensor, nn

from src.base.errors import InputError
from src.compute.runtime import Runtime
from src.evaluation import history, predictions, report, scores
from src.images import dataset
from src.images.dataset import Dataset
from src.images.format import ImageFormat
from src.images.transforms import prepare
from src.networks import model_file
from src.networks.vgg import VGG
from stages import evaluate
from tests.conftest import CENTRE

ROOT = Path(__file__).parents[2]
CPU = Runtime(torch.device("cpu"), torch.float32, compile=False)
PICTURES = ("confusion_matrix.png", "mistakes.png")
FORMAT = ImageFormat(("cat", "dog", "ship"), 32, 32, 1, (0.5, 0.4, 0.3), ((0.0,) * 3,) * 3)


def random_test(count: int, image_format: ImageFormat = FORMAT) -> Dataset:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)
    return Dataset(images, torch.arange(count) % len(image_format.classes), image_format)


def linear() -> Any:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 3), nn.Dropout(0.5))


@pytest.mark.parametrize("batch", [1, 4, 7, 100])
def test_predict_counts_a_smaller_last_batch(batch: int) -> None:
    test, network = random_test(7), linear()
    logits = predictions.predict(network, test, CPU, CENTRE, batch)
    expected = network[:2](prepare(test.images, FORMAT)).detach()
    assert (logits.dtype, logits.device.type, logits.shape) == (torch.float32, "cpu", (7, 3))
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)


def test_predict_in_bf16_returns_float32() -> None:
    logits = predictions.predict(linear(), random_test(3), replace(CPU, dtype=torch.bfloat16), CENTRE)
    assert logits.dtype == torch.float32
    assert torch.equal(logits, logits.bfloat16().float())


def test_predict_refuses_outputs_that_are_not_finite() -> None:
    class Overflow(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return (images.flatten(1)[:, :3] * 0).index_fill(0, torch.tensor([1]), math.inf)

    overflow: Any = Overflow()
    with pytest.raises(InputError, match=r"^the network's outputs for 1 of 3 images are not finite on cpu .*precision"):
        predictions.predict(overflow, random_test(3), CPU, CENTRE)


def test_scores_of_an_example_worked_by_hand() -> None:
    # True classes 0 0 1 2, predicted 0 1 1 1.
    # In order of the logits, the true class of the last image is the sixth, of the others among the first two.
    logits = torch.tensor(
        [
            [9.0, 1, 0, 2, 3, 4],
            [8, 9, 0, 2, 3, 4],
            [0, 9, 1, 2, 3, 4],
            [1, 9, 0, 2, 3, 4],
        ]
    )
    labels = torch.tensor([0, 0, 1, 2])
    found = scores.scores(logits, labels)
    losses = [math.log(sum(math.exp(x - row[y]) for x in row)) for row, y in zip(logits.tolist(), [0, 0, 1, 2])]  # noqa: B905
    assert found == pytest.approx(
        {
            "accuracy": 2 / 4,
            "loss": sum(losses) / 4,
            "top5": 3 / 4,
        },
        rel=1e-12,
    )
    assert {type(value) for value in found.values()} == {float}


def test_scores_are_scikit_learns() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(500, 10, generator=generator), torch.arange(500) % 10
    found = scores.scores(logits, labels)
    predicted = logits.argmax(dim=1)
    assert found["accuracy"] == metrics.accuracy_score(y_true=labels, y_pred=predicted)
    probabilities = logits.double().softmax(dim=1)
    assert found["loss"] == pytest.approx(metrics.log_loss(labels, probabilities), rel=1e-12)
    assert found["top5"] == np.mean([label in row.topk(5).indices for row, label in zip(logits, labels)])  # noqa: B905


def test_report_files(tmp_path: Path) -> None:
    test = replace(random_test(4), labels=torch.tensor([0, 0, 1, 2]))
    logits = torch.eye(3)[torch.tensor([0, 1, 1, 1])]
    report.write(tmp_path / "vgg11", "VGG11", test, logits)
    assert all((tmp_path / "vgg11" / name).read_bytes().startswith(b"\x89PNG") for name in PICTURES)
    assert (tmp_path / "vgg11/confusion.csv").read_bytes() == b"actual,predicted\ncat,cat\ncat,dog\ndog,dog\nship,dog\n"
    assert (tmp_path / "vgg11/classification_report.csv").read_text().splitlines() == [
        "class,precision,recall,f1-score,support",
        "cat,1.0000,0.5000,0.6667,2",
        "dog,0.3333,1.0000,0.5000,1",
        "ship,0.0000,0.0000,0.0000,1",
        "macro avg,0.4444,0.5000,0.3889,4",
        "weighted avg,0.5833,0.5000,0.4583,4",
    ]
    written = json.loads((tmp_path / "vgg11/classification_report.json").read_text())
    assert list(written) == ["cat", "dog", "ship", "accuracy", "macro avg", "weighted avg"]
    assert written["dog"] == pytest.approx({"precision": 1 / 3, "recall": 1, "f1-score": 1 / 2, "support": 1})


def test_mistakes_are_ordered_by_confidence() -> None:
    labels = torch.tensor([0, 1, 2, 0, 1])
    logits = torch.tensor([[0.0, 1, 0], [0, 5, 0], [9, 0, 0], [0, 0, 1], [0, 0, 3]])
    assert report.confident_mistakes(logits, labels).tolist() == [2, 4, 0, 3]


def test_gallery_of_mistakes() -> None:
    logits = torch.eye(3)[torch.zeros(60, dtype=torch.int64)]
    logits[4] *= 10
    figure = report.mistakes_gallery("VGG11", random_test(60), logits)
    captions = [text.get_text() for text in figure.axes[0].texts]
    assert len(captions) == 25
    assert captions[0] == "dog → cat, 100.0%"
    assert captions[1] == "dog → cat, 57.6%"
    assert figure.get_suptitle().startswith("VGG11: the 25 most confident of 40 mistakes")


def test_gallery_without_a_mistake() -> None:
    test = random_test(6)
    figure = report.mistakes_gallery("VGG11", test, torch.eye(3)[test.labels])
    assert [text.get_text() for text in figure.texts] == ["VGG11: no mistake on 6 test images"]


def write_history(folder: Path) -> None:
    for name in history.TABLES:
        path = folder / f"{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"step\t{path.stem}\n1\t0.5\n2\t1e-05\n")


def test_the_history_is_read_as_dvclive_writes_them(tmp_path: Path) -> None:
    write_history(tmp_path)
    tables = history.read_history(tmp_path)
    assert set(tables) == {"train/loss", "train/accuracy", "validation/loss", "validation/accuracy"}
    assert all(table.tolist() == [[1, 0.5], [2, 1e-5]] for table in tables.values())


@pytest.mark.parametrize("content", [None, "", "step\tloss\n", "step\tloss\n1\n", "step\tloss\n1\tx\n", "step\n1\n2\n"])
def test_a_damaged_table_is_named(content: str | None, tmp_path: Path) -> None:
    write_history(tmp_path)
    path = tmp_path / "validation/loss.tsv"
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(InputError) as error:
        history.read_history(tmp_path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the stage reads: a test split and one model for both networks, of digits at 32 pixels; and curves."""
    folder = tmp_path_factory.mktemp("inputs")
    image_format = replace(FORMAT, classes=tuple("0123456789"))
    torch.manual_seed(0)
    model_file.save(folder / "model", model_file.Model(VGG("A", classes=10, image_size=32), image_format))
    dataset.save(folder / "test", random_test(30, image_format))
    dataset.save(folder / "other", random_test(30, replace(image_format, resize=64)))
    write_history(folder / "history")
    return folder


@pytest.fixture
def stage(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Path], None]:
    """Run the stage on a test split, in this process and without its process-wide settings of PyTorch."""
    monkeypatch.chdir(ROOT)  # where params.yaml is
    monkeypatch.setattr(evaluate, "start_runtime", lambda params: CPU)

    def run(test: str, results: Path) -> None:
        files = {"test": test, "vgg11": "model", "vgg16": "model", "history11": "history", "history16": "history"}
        flags = [argument for flag, name in files.items() for argument in (f"--{flag}", str(inputs / name))]
        monkeypatch.setattr(sys, "argv", ["evaluate", *flags, "--results", str(results)])
        evaluate.main()

    return run


def test_stage_writes_the_same_files_on_each_run(stage: Callable[[str, Path], None], tmp_path: Path) -> None:
    stage("test", tmp_path / "a")
    stage("test", tmp_path / "b")
    first, second = (
        {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (tmp_path / "a", tmp_path / "b")
    )
    tables = {"classification_report.csv", "classification_report.json", "confusion.csv"}
    reports = {f"{net}/{name}" for net in ("vgg11", "vgg16") for name in {*tables, *PICTURES}}
    assert set(first) == {"vgg11.json", "vgg16.json", "fusion.json", "curves.png", *reports}
    assert first == second

    scores = {name: json.loads(first[f"{name}.json"]) for name in ("vgg11", "vgg16", "fusion")}
    assert first["vgg11.json"].decode() == json.dumps(scores["vgg11"], indent=2) + "\n"
    assert scores["vgg11"] == scores["vgg16"]
    assert scores["vgg11"].pop("val_accuracy") == 1e-5  # of the last epoch
    assert scores["fusion"] == pytest.approx(scores["vgg11"], rel=1e-6)  # of a network with itself
    assert set(scores["fusion"]) == {"accuracy", "loss", "top5"}
    rows = list(csv.DictReader(io.StringIO(first["vgg16/confusion.csv"].decode())))
    assert [row["actual"] for row in rows] == [str(i % 10) for i in range(30)]
    assert np.mean([row["actual"] == row["predicted"] for row in rows]) == pytest.approx(scores["vgg16"]["accuracy"])


def test_stage_refuses_a_model_of_other_images(
    stage: Callable[[str, Path], None], inputs: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as error:
        stage("other", tmp_path / "results")
    model, other = inputs / "model", inputs / "other"
    assert str(error.value) == f"{model}: made for other images than {other}: resize 32 and 64; run `dvc repro`"
    assert not (tmp_path / "results").exists()
