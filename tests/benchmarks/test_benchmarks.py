"""The benchmarks measure what they claim: all ways train the same network on the same images. No test checks a time."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from operator import attrgetter
from pathlib import Path

import psutil
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import benchmarks.__main__ as benchmark
from benchmarks import report, ways
from benchmarks.comparison import Comparison, Result, parts
from benchmarks.flops import parameters, training_flops
from benchmarks.machine import device
from benchmarks.ways import (
    Case,
    Forward,
    Library,
    PilImages,
    Project,
    Reference,
    Usual,
    Way,
    synthetic,
    torchvision_network,
)
from benchmarks.workers import Worker, interleave, peak_memory
from src.images.transforms import prepare
from src.networks.initialization import initialize
from src.networks.vgg import VGG, Letter
from tests.benchmarks import counter
from tests.benchmarks.counter import Counter

SMALL = Case("A", 32, 4)


@pytest.fixture
def few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few images, and fp32 also where the hardware has bf16: rounding is then far smaller than a mistake."""
    monkeypatch.setattr(ways, "IMAGES", 4)
    monkeypatch.setattr("src.compute.runtime.native_dtype", lambda _device: torch.float32)
    monkeypatch.setattr(ways, "native_dtype", lambda _device: torch.float32)


@pytest.mark.parametrize(("network", "side"), [("A", 32), ("D", 32), ("A", 224), ("D", 224)])
def test_flops_are_those_of_the_layers(network: Letter, side: int) -> None:
    """Per layer: the outputs, the gradient of the weights and, but for the first layer, the gradient of the inputs."""
    with torch.device("meta"):
        layers = VGG(network, classes=10, image_size=side)
    forward, pixels = 0, side**2
    for layer in layers:
        if isinstance(layer, nn.MaxPool2d):
            pixels //= 4
        elif isinstance(layer, nn.Conv2d):
            forward += 2 * layer.weight.numel() * pixels
        elif isinstance(layer, nn.Linear):
            forward += 2 * layer.weight.numel()
    first = 2 * layers.get_parameter("conv1_1.weight").numel() * side**2
    assert training_flops(network, side) == 3 * forward - first


@pytest.mark.usefixtures("few_images")
def test_all_ways_train_the_same_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """From equal weights, without dropout, the losses before and after a step are equal. Each way has batches."""
    monkeypatch.chdir("tests")  # its params.yaml has the settings of Adam that the other ways have
    trained: list[Way] = [Project(SMALL), Library(SMALL), Reference(SMALL), Usual(SMALL)]
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
        assert all(seconds > 0 for seconds in parts(way, 1).values())  # the batch is one of the second epoch


@pytest.mark.usefixtures("few_images")
def test_forward_passes_are_those_of_the_way() -> None:
    forward = Forward(Project, SMALL)
    assert not forward.way.network.training
    outputs: list[Tensor] = []
    forward.way.network.register_forward_hook(lambda _network, _images, output: outputs.append(output))
    forward.step()
    assert outputs[0].shape == (SMALL.batch, 10)
    assert not outputs[0].requires_grad


@pytest.mark.parametrize("network", ["A", "D"])
@pytest.mark.parametrize("side", [32, 64, 224])
def test_torchvisions_network_has_the_size_of_ours(network: Letter, side: int) -> None:
    with torch.device("meta"):
        theirs = torchvision_network(Case(network, side, 1))
        logits: Tensor = theirs(torch.empty(2, 3, side, side))
    assert sum(p.numel() for p in theirs.parameters()) == parameters(network, side)
    assert logits.shape == (2, 10)


@pytest.mark.usefixtures("few_images")
@pytest.mark.parametrize(("side", "rounding"), [(32, 0.0), (224, 1.0)])
def test_all_ways_see_the_same_images(side: int, rounding: float) -> None:
    """At 224 pixels PIL rounds to whole numbers in 0..255, once for rows and once for columns."""
    case = Case("A", side, 4)
    data = synthetic(case)
    ours = prepare(data.images, data.format)
    pil = PilImages(case)
    others = [torch.stack([pil[i][0] for i in range(4)])]
    if side == 32:
        others.append(Reference(case).transform(data.images))
    for images in others:
        assert images.shape == ours.shape
        assert (images - ours).abs().max() * 255 < rounding + 1e-4
    assert [pil[i][1] for i in range(4)] == data.labels.tolist()


@pytest.fixture
def tf32() -> Iterator[None]:
    """TF32 is on, as it is for cuDNN's convolutions unless a program switches it off."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


@pytest.mark.usefixtures("few_images", "tf32")
@pytest.mark.parametrize("way", [Usual, Reference])
def test_fp32_is_not_tf32(way: type[Way]) -> None:
    """TF32 rounds the inputs of a product to 10 bits after the point. fp32 has 23."""
    network: nn.Module = way(SMALL).network
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
    layer = next(layer for layer in network.modules() if isinstance(layer, nn.Conv2d) and layer.in_channels == 64)
    images = torch.randn(4, 64, 16, 16, device=device())
    with torch.no_grad():
        single = layer(images)
        exact = layer.double()(images.double())
    assert (single - exact).abs().max() < 1e-5 * exact.abs().max()  # TF32 misses by 1e-4 or more


def test_workers_run_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.workers.BLOCK_SECONDS", 1e-6)
    with ExitStack() as stack:
        workers = {
            name: stack.enter_context(closing(Worker(Counter, work))) for name, work in (("one", 1.0), ("two", 2.0))
        }
        rates = interleave(workers, rounds=3)
        assert {name: len(values) for name, values in rates.items()} == {"one": 3, "two": 3}
        for name, work in (("one", 1.0), ("two", 2.0)):
            worker = workers[name]
            assert worker.ask(attrgetter("work")) == work
            assert worker.ask(attrgetter("steps")) >= 4
            assert worker.ask(peak_memory) > 50e6
            with pytest.raises(RuntimeError, match="ValueError: no such thing"):
                worker.ask(counter.fail)
            child = psutil.Process(worker.ask(attrgetter("child.pid")))
            stack.callback(child.kill)
            assert soon(lambda child=child: child.status() == psutil.STATUS_STOPPED)  # type: ignore[misc]
    assert [worker.process.exitcode for worker in workers.values()] == [0, 0]


def soon(true: Callable[[], bool]) -> bool:
    return any(true() or time.sleep(0.01) for _ in range(1000))  # type: ignore[func-returns-value]


def comparison(network: Letter, side: int) -> Comparison:
    return Comparison(
        Case(network, side, 16),
        {
            "usual": Result([1.0, 2.0, 3.0], "fp32", 10**9),
            "reference": Result([4.0], "bf16", 10**9),
            "project": Result([9.0, 7.0, 8.0], "bf16", 10**9),
        },
        {"bf16": 4e12, "fp32": 1e12},
        copy=1e10,
        parts={"data": 0.01, "network": 0.9, "optimizer": 0.09},
    )


def cells(table: str, row: str) -> list[str]:
    """The cells of a row after its first."""
    (line,) = (line for line in table.splitlines() if line.startswith(f"| {row} |"))
    return [cell.strip() for cell in line.removeprefix(f"| {row} |").split("|")[:-1]]


def test_tables_hold_what_was_measured() -> None:
    comparisons = [comparison(network, side) for side in (32, 224) for network in ("A", "D")]
    forward = report.inference({SMALL: {"usual": 1.0, "reference": 2.0, "project": 3.0}})
    assert cells(forward, "VGG11, 32 px, batch 4 | project") == ["3", "3.00", "1.50"]
    for table in (report.training(comparisons), report.limits(comparisons), report.parts(comparisons), forward):
        assert len({line.count("|") for line in table.splitlines()}) == 1
    flops = 8 * training_flops("D", 224) / 1e12
    expected = ["8", "7-9", "4.00", "2.00", f"{flops:.3g}", f"{flops / 4:.0%}", "1.00"]
    assert cells(report.training(comparisons), "VGG16, 224 px, batch 16 | project, bf16") == expected
    assert cells(report.limits(comparisons), "VGG11, 32 px, batch 16") == ["bf16 4, fp32 1", "10.0"]
    adam = 28 * parameters("A", 32) / 0.09
    expected = ["1,000", "1.00%", "90.00%", "9.00%", f"{adam / 1e9:.1f}", f"{adam / 1e10:.0%}"]
    assert cells(report.parts(comparisons), "VGG11, 32 px, batch 16") == expected


@pytest.mark.parametrize("name", ["cpu", "cpu fp32", "cuda"])
def test_the_page_has_a_place_for_each_result(name: str) -> None:
    page = report.PAGE.read_text(encoding="utf-8")
    assert page.count(f"<!-- {name} -->\n") == page.count(f"<!-- /{name} -->\n") == 1


@pytest.mark.slow
def test_a_benchmark_ends_on_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n<!-- {device().type} -->\nold\n<!-- /{device().type} -->\nafter\n", encoding="utf-8")
    monkeypatch.setattr(report, "PAGE", page)
    monkeypatch.setattr(benchmark, "cases", lambda _fp32: [SMALL])
    monkeypatch.setattr(benchmark, "forward_cases", lambda _fp32: [SMALL])
    monkeypatch.setattr(benchmark, "ROUNDS", {32: 1})
    monkeypatch.setattr("benchmarks.workers.BLOCK_SECONDS", 1e-6)
    monkeypatch.setattr("sys.argv", ["benchmarks"])
    benchmark.main()
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert capsys.readouterr().out.strip() in text
    for way in ways.ways_of(SMALL):
        assert text.count(f"| VGG11, 32 px, batch 4 | {way}, ") == 1
        assert text.count(f"| VGG11, 32 px, batch 4 | {way} |") == 1
