"""Ties, and what evaluation refuses: logits, labels, images and histories of another kind."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from src.base.errors import InputError
from src.compute.runtime import Runtime
from src.evaluation import figures, history, predictions, report, scores
from src.images.transforms import prepare
from tests.conftest import CENTRE, FORMAT, coloured_squares

DATA = coloured_squares(40)
LOGITS = torch.randn(40, 10, generator=torch.Generator().manual_seed(0))
TIED = torch.randint(0, 3, (40, 10), generator=torch.Generator().manual_seed(0)).float()


def refusal(use: Callable[[], object]) -> str:
    with pytest.raises(InputError) as error:
        use()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_equal_logits_have_one_rule() -> None:
    """All classes tie, so class 0 is predicted, and classes 0 to 4 are the top five."""
    zeros = torch.zeros(10, 10)
    found = scores.scores(zeros, torch.arange(10))
    assert (found["accuracy"], found["top5"]) == (0.1, 0.5)
    for label, top in ((0, 1.0), (4, 1.0), (5, 0.0), (9, 0.0)):
        found = scores.scores(zeros, torch.full((10,), label))
        assert (found["accuracy"], found["top5"]) == (float(label == 0), top)


def test_scores_and_report_agree_on_ties(tmp_path: Path) -> None:
    order = TIED.argsort(dim=1, descending=True, stable=True).tolist()  # equal ones in the order of the classes
    labels = DATA.labels.tolist()
    found = scores.scores(TIED, DATA.labels)
    assert found["accuracy"] == np.mean([row[0] == label for row, label in zip(order, labels, strict=True)])
    assert found["top5"] == np.mean([label in row[:5] for row, label in zip(order, labels, strict=True)])
    report.write(tmp_path, "VGG11", DATA, TIED)
    rows = [line.split(",") for line in (tmp_path / "confusion.csv").read_text().splitlines()[1:]]
    assert [FORMAT.classes.index(guess) for _, guess in rows] == [row[0] for row in order]
    assert json.loads((tmp_path / "classification_report.json").read_text())["accuracy"] == found["accuracy"]
    mistakes = report.confident_mistakes(TIED, DATA.labels)
    assert sorted(mistakes.tolist()) == [i for i, row in enumerate(order) if row[0] != labels[i]]


def test_a_network_of_few_classes_has_a_top_5() -> None:
    labels = torch.tensor([0, 1, 2])
    assert scores.scores(torch.zeros(3, 3), labels)["top5"] == 1.0


WRONG: dict[str, tuple[Any, Any, str]] = {
    "nan": (LOGITS.index_fill(0, torch.tensor([1, 2]), torch.nan), DATA.labels, "logits: 2 of 40 rows are not finite"),
    "inf": (LOGITS.index_fill(0, torch.tensor([3]), torch.inf), DATA.labels, "logits: 1 of 40 rows are not finite"),
    "integers": (LOGITS.long(), DATA.labels, "logits: int64 [40, 10], expected float"),
    "fewer rows": (LOGITS[:39], DATA.labels, "logits: float32 [39, 10], expected float [40, 10]"),
    "one row": (LOGITS[0], DATA.labels, "logits: float32 [10], expected float"),
    "no row": (LOGITS[:0], DATA.labels[:0], "logits: float32 [0, 10], expected float"),
    "NumPy": (LOGITS.numpy(), DATA.labels, "logits: NumPy array float32 [40, 10], expected a tensor, float"),
    "labels from 1": (LOGITS, DATA.labels + 1, "labels: 1..10, expected int64 in 0..9"),
    "labels below 0": (LOGITS, DATA.labels - 1, "labels: -1..8, expected int64 in 0..9"),
    "float labels": (LOGITS, DATA.labels.float(), "labels: float32 [40], expected int64"),
    "one-hot labels": (LOGITS, torch.eye(10, dtype=torch.int64)[DATA.labels], "labels: int64 [40, 10], expected int64"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_scores_check_what_they_get(kind: str) -> None:
    logits, labels, message = WRONG[kind]
    assert refusal(lambda: scores.scores(logits, labels)).startswith(message)


@pytest.mark.parametrize("kind", [kind for kind in WRONG if "labels" not in kind and kind != "no row"])
def test_reports_check_what_they_get(kind: str, tmp_path: Path) -> None:
    logits, _, message = WRONG[kind]
    for use in (
        lambda: report.write(tmp_path / "report", "VGG11", DATA, logits),
        lambda: report.mistakes_gallery("VGG11", DATA, logits),
        lambda: scores.classification_report(DATA, logits, as_text=True),
    ):
        assert refusal(use).startswith(message)
    assert not (tmp_path / "report").exists()


def test_a_report_is_on_the_classes_of_the_data() -> None:
    message = refusal(lambda: scores.classification_report(DATA, LOGITS[:, :9], as_text=True))
    assert message.startswith("logits: float32 [40, 9], expected float [40, 10]")


def test_figures_check_what_they_get() -> None:
    images, counts, classes = DATA.images[:2], np.ones((10, 10), np.int64), FORMAT.classes
    for wrong in (images.float() / 255, images.permute(0, 2, 3, 1), images[:, :1], images[0]):
        assert refusal(partial(figures.gallery, wrong, ["a"] * len(wrong), "")).startswith("image: ")
    for captions in ([], ["a"], ["a"] * 3):
        message = refusal(partial(figures.gallery, images, captions, ""))
        assert message.startswith(f"gallery: 2 images and {len(captions)} captions")
    wrong_counts: list[Any] = [counts[:9], counts / 2, torch.from_numpy(counts), counts - 2]
    for other in wrong_counts:
        assert refusal(partial(figures.confusion_matrix, other, classes, "")).startswith("counts: ")
    table = {name: np.ones((3, 2)) for name in history.TABLES}
    message = refusal(lambda: figures.curves({"VGG11": table | {"train/loss": np.ones(3)}}, 10))
    assert message == "VGG11, train/loss: NumPy array float64 [3], expected float64 [epochs, 2]"


@pytest.mark.parametrize("name", ["validation/accuracy", "train/loss"])
@pytest.mark.parametrize(
    "rows", ["1 nan", "1 inf", "1 -0.1", "0.5 0.1", "2 0.1", "1 0.1|1 0.1", "1 0.1|3 0.1", "1 0|2 0|3 0"]
)
def test_a_history_has_finite_values_of_consecutive_epochs(name: str, rows: str, tmp_path: Path) -> None:
    for table in history.TABLES:
        (tmp_path / table).parent.mkdir(exist_ok=True)
        content = (rows if table == name else "1 0.5|2 0.5").replace(" ", "\t").replace("|", "\n")
        (tmp_path / f"{table}.tsv").write_text(f"step\tvalue\n{content}\n", encoding="utf-8")
    assert f"{name.split('/')[0]}" in refusal(lambda: history.read_history(tmp_path))


def test_accuracy_is_a_share(tmp_path: Path) -> None:
    for table in history.TABLES:
        (tmp_path / table).parent.mkdir(exist_ok=True)
        (tmp_path / f"{table}.tsv").write_text("step\tvalue\n0\t50.0\n", encoding="utf-8")
    assert refusal(lambda: history.read_history(tmp_path)).startswith(f"{tmp_path / 'train/accuracy.tsv'}: ")


class Recorder(nn.Module):
    """Keeps what it sees, and has as many outputs as it is told."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.last, self.seen = nn.Linear(3 * 32 * 32, outputs), list[Tensor]()

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(images)
        outputs: Tensor = self.last(images.flatten(1))
        return outputs


def test_a_network_in_bf16_sees_images_in_float32() -> None:
    data = replace(DATA, format=replace(FORMAT, resize=40))
    network: Any = Recorder(10)
    predictions.predict(network, data, Runtime(torch.device("cpu"), torch.bfloat16, compile=False), CENTRE)
    assert torch.equal(torch.cat(network.seen), prepare(data.images, data.format))


def test_a_network_of_other_classes_is_refused() -> None:
    runtime = Runtime(torch.device("cpu"), torch.float32, compile=False)
    recorder: Any = Recorder(9)
    message = refusal(lambda: predictions.predict(recorder, DATA, runtime, CENTRE))
    assert message.startswith("the network's outputs: float32 [40, 9], expected float32 [40, 10]")
