"""The benchmarks measure what they say: the same network and images in all ways, counted right. No times."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import pipeline, report, variants, ways
from benchmarks.comparison import Comparison, Result
from benchmarks.flops import forward_flops, parameters, training_flops
from benchmarks.ways import Case, PilImages, Project, Reference, Usual, Way, parts, synthetic, torchvision_network
from benchmarks.workers import Worker, interleave, peak_memory, peak_of, work
from src.images import prepare
from src.initialization import initialize
from src.vgg import VGG, Column
from tests import counter
from tests.counter import Counter

SMALL = Case("A", 32, 4)


@pytest.fixture
def few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small data, and float32 also where the hardware has something faster: rounding can be told from mistakes."""
    monkeypatch.setattr(ways, "IMAGES", 4)
    monkeypatch.setattr("src.runtime.native_dtype", lambda _device: torch.float32)
    monkeypatch.setattr(ways, "native_dtype", lambda _device: torch.float32)


def run_on_meta(network: nn.Module, side: int) -> Tensor:
    images = torch.empty(2, 3, side, side, device="meta")
    output: Tensor = network(images)
    return output


@pytest.mark.parametrize(("column", "side"), [("A", 32), ("D", 32), ("A", 224), ("D", 224)])
def test_flops_are_what_pytorch_counts(column: Column, side: int) -> None:
    with torch.device("meta"):
        network = VGG(column, classes=10, image_size=side)
        flops = forward_flops(network, torch.empty(2, 3, side, side))
    with FlopCounterMode(display=False) as counter:
        output = run_on_meta(network, side)
    assert flops == counter.get_total_flops()
    with counter:
        output.sum().backward()
    first = 2 * 2 * 27 * 64 * side**2  # of the first layer, whose inputs need no gradient
    assert 3 * flops - first == counter.get_total_flops() + flops
    assert training_flops(column, side) == 3 * flops // 2


@pytest.mark.usefixtures("few_images")
def test_all_ways_train_the_same_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """With equal weights the losses before and after a step are equal, dropout off; each gets at its own batches."""
    monkeypatch.chdir("tests")  # to its params.yaml: the other ways have Adam's settings as they are there
    trained: list[Way] = [Project(SMALL), Reference(SMALL), Usual(SMALL)]
    initialize(trained[0].network, "kaiming", 0.01)
    weights = [weight.clone() for weight in trained[0].network.parameters()]
    images, labels = trained[0].batch()
    losses = []
    for way in trained:
        assert sum(p.numel() for p in way.network.parameters()) == parameters("A", 32)
        with torch.no_grad():
            for weight, value in zip(way.network.parameters(), weights, strict=True):
                weight.copy_(value)
        way.network.eval()
        before = F.cross_entropy(way.network(images), labels).item()
        way.learn(images, labels)
        losses.append((before, F.cross_entropy(way.network(images), labels).item()))
    for before, after in losses[1:]:
        assert before == pytest.approx(losses[0][0], rel=1e-4)
        assert after == pytest.approx(losses[0][1], rel=1e-2)
        assert after != before
    for way in trained:
        images, labels = way.batch()
        assert (images.shape, labels.shape) == ((4, 3, 32, 32), (4,))
        assert all(seconds > 0 for seconds in parts(way, 1).values())  # of the second epoch


@pytest.mark.parametrize("column", ["A", "D"])
@pytest.mark.parametrize("side", [32, 64, 224])
def test_torchvisions_network_is_the_one_of_the_paper(column: Column, side: int) -> None:
    with torch.device("meta"):
        network = torchvision_network(Case(column, side, 1))
    assert sum(p.numel() for p in network.parameters()) == parameters(column, side)
    assert run_on_meta(network, side).shape == (2, 10)


@pytest.mark.usefixtures("few_images")
@pytest.mark.parametrize(("side", "rounding"), [(32, 0.0), (224, 1.0)])
def test_all_ways_see_the_same_images(side: int, rounding: float) -> None:
    """At 224 PIL and v2 round to whole 0..255, once for rows and once for columns."""
    case = Case("A", side, 4)
    data = synthetic(case)
    ours = prepare(data.images, data.format)
    pil = PilImages(data)
    usual = torch.stack([pil[i][0] for i in range(4)])
    reference = Reference(Case("A", 32, 4)) if side == 32 else None
    others = [usual, reference.transform(data.images)] if reference else [usual]
    for images in others:
        assert images.shape == ours.shape
        assert (images - ours).abs().max() * 255 < rounding + 1e-4
    assert [pil[i][1] for i in range(4)] == data.labels.tolist()


@pytest.mark.usefixtures("few_images")
def test_a_variant_is_a_change() -> None:
    as_it_is = variants.make(SMALL, variants.AS_IT_IS).network.get_parameter("conv1_1.weight")
    assert as_it_is.is_contiguous(memory_format=torch.channels_last)
    way = variants.make(SMALL, "NCHW instead of channels last")
    assert way.network.get_parameter("conv1_1.weight").is_contiguous()
    way.step()


def test_workers_run_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.workers.BLOCK_SECONDS", 1e-6)
    workers = {"one": Worker(Counter, 1.0), "two": Worker(Counter, 2.0)}
    rates = interleave(workers, rounds=3)
    assert {name: len(values) for name, values in rates.items()} == {"one": 3, "two": 3}
    for name, expected in (("one", 1.0), ("two", 2.0)):
        worker = workers[name]
        assert worker.ask(work) == expected
        assert worker.ask(counter.steps) >= 4
        assert worker.ask(peak_memory) > 50e6
        with pytest.raises(RuntimeError, match="ValueError: no such thing"):
            worker.ask(counter.failing)
        child = psutil.Process(worker.ask(counter.child))
        assert soon(lambda child=child: child.status() == psutil.STATUS_STOPPED)  # type: ignore[misc]
        worker.ask(counter.end_child)
        worker.close()
        assert worker.process.exitcode == 0


def soon(true: Callable[[], bool]) -> bool:
    return any(true() or time.sleep(0.01) for _ in range(1000))  # type: ignore[func-returns-value]


def comparison(column: Column, side: int, project: float) -> Comparison:
    return Comparison(
        Case(column, side, 16),
        {
            "usual": Result([1.0, 2.0, 3.0], "fp32", 10**9),
            "reference": Result([4.0], "fp32", 10**9),
            "project": Result([project], "fp32", 10**9),
        },
        {"fp32": 1e12},
        copy=1e10,
        parts={"data": 0.01, "network": 0.9, "optimizer": 0.09},
    )


COMPARISONS = [comparison(column, side, 8.0) for side in (32, 224) for column in ("A", "D")]
STARTS = {"download": (1.0, False), "train_vgg11": (2.0, True)}
DONE = pipeline.Finished(seconds=2.0, peak=10**9)


def columns(table: str) -> set[int]:
    return {line.count("|") for line in table.splitlines()}


def test_tables_are_tables() -> None:
    training = report.training(COMPARISONS)
    for table in (training, report.parts(COMPARISONS), report.ceilings(COMPARISONS, {"bf16": 1e9})):
        assert len(columns(table)) == 1
    row = next(line for line in training.splitlines() if line.startswith("| VGG16, 224 px, batch 16 | project"))
    flops = 8 * training_flops("D", 224)
    values = [cell.strip() for cell in row.split("|")[3:-1]]
    assert values == ["8", "8-8", "4.00", "2.00", f"{flops / 1e12:.3g}", f"{flops / 1e12:.0%}", "1.00"]


def test_targets_are_held_to_what_was_measured() -> None:
    cifar10 = pipeline.OnCifar10(preprocess=DONE, evaluate=DONE, forward=1.9, side=32)
    targets = report.targets(COMPARISONS, STARTS, [1, 100, 101], cifar10)
    met = {target.goal: target.met for target in targets}
    assert met["VGG16 at 32 px, times the usual way: at least 3.5"]
    assert not met["VGG16 at 224 px, times the usual way: at least 6"]
    assert met["data path: under 3 % of a step"]
    assert met["memory does not grow with epochs: under 2 %"]
    assert met["`evaluate`: at most 1.1 x its forward passes"]
    assert columns(report.verdicts(targets)) == {4}
    worse = report.targets(COMPARISONS, STARTS | {"evaluate": (4.0, True)}, [1, 100, 103], None)
    assert [target.met for target in worse][-3:] == [False, False, False]


def test_what_was_not_measured_is_said() -> None:
    text = report.pipeline(STARTS, DONE, [10**9], None)
    assert "not measured: no CIFAR-10 at hand" in text
    assert columns(text.partition("\n\n")[0]) == {5}


@pytest.mark.parametrize("name", ["cpu", "cuda", "variants cpu", "variants cuda"])
def test_the_page_has_a_place_for_each_result(name: str) -> None:
    page = report.PAGE.read_text(encoding="utf-8")
    assert page.count(f"<!-- {name} -->\n") == page.count(f"<!-- /{name} -->\n") == 1


def test_programs_are_watched(tmp_path: Path) -> None:
    program = "import time; data = b'x' * 200_000_000; print('net epoch 1/1: done', flush=True); time.sleep(1)"
    finished = pipeline.run([sys.executable, "-c", program], tmp_path)
    assert finished.output == "net epoch 1/1: done\n"
    assert 200e6 < finished.epochs[0] <= finished.peak < 300e6
    assert finished.seconds > 1
    with pytest.raises(RuntimeError, match="exit code 1\nwrong"):
        pipeline.run([sys.executable, "-c", "import sys; sys.exit('wrong')"], tmp_path)
    assert peak_of(psutil.Process().pid) > 100e6


def test_stages_run_as_in_the_pipeline() -> None:
    with pipeline.workspace(dataset__name="digits") as work:
        assert "digits: 1,797 records" in work.stage("download").output
        raw = work.folder / work.paths()["raw"]
        assert len(list(raw.glob("*.bin"))) == 6
        assert not pipeline.is_cifar10(raw)
