"""Training, determinism and resume on a GPU, and a comparison with the CPU: `make test-gpu`.

Without a GPU these tests are skipped.
"""

import math
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from src.compute.runtime import Runtime, start_runtime
from src.evaluation.predictions import predict
from src.images.augmentation import AugmentParams
from src.images.batches import shuffled
from src.images.dataset import Dataset
from src.networks.vgg import VGG, Letter
from src.training.checkpoint import Checkpoint
from src.training.loop import fit, validate
from src.training.optimizer import OptimizerParams
from src.training.run import Run, Scores, TrainingParams
from tests.conftest import CENTRE, FORMAT, PARAMS, coloured_squares

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")]

DEVICE = "cuda"
ALL = AugmentParams(random_crop=True, flip=True, colour_shift=True)


def params(**values: object) -> TrainingParams:
    runtime = PARAMS.runtime.model_copy(update={"device": DEVICE, "precision": values.pop("precision", "auto")})
    return PARAMS.model_copy(update={"runtime": runtime, "augment": ALL, **values})


def images(count: int, crop: int, runtime: Runtime) -> Dataset:
    data = coloured_squares(count)
    return replace(data, format=replace(FORMAT, resize=crop + 32, crop=crop)).to(runtime.device)


def train(letter: Letter, settings: TrainingParams, *, steps: int, crop: int = 32) -> tuple[list[float], VGG]:
    """The losses of some steps, and the network after them."""
    runtime = start_runtime(settings.runtime)
    data = images(steps * settings.batch_size, crop, runtime)
    network = runtime.place(settings.build(letter, data.format))
    run = Run(network, settings, runtime)
    for step, (batch, labels, size) in enumerate(shuffled(data, settings.batch_size, ALL, seed=0, epoch=1)):
        torch.manual_seed(step)
        run.step(batch, labels, size)
    return [float(loss) for loss in run.meter.losses], network


def equal(one: VGG, other: VGG) -> bool:
    return all(map(torch.equal, one.state_dict().values(), other.state_dict().values()))


@pytest.mark.parametrize("letter", ["A", "D"])
def test_both_networks_train_at_full_size(letter: Letter) -> None:
    losses, _ = train(letter, params(batch_size=64), steps=20, crop=224)
    assert all(map(math.isfinite, losses))
    assert sum(losses[-5:]) < sum(losses[:5])


@pytest.mark.parametrize("precision", ["bf16", "fp16", "fp32"])
def test_two_runs_are_equal_to_the_bit(precision: str) -> None:
    settings = params(batch_size=64, precision=precision)
    (losses, network), (others, other) = (train("D", settings, steps=10, crop=64) for _ in range(2))
    assert losses == others
    assert equal(network, other)
    assert all(map(math.isfinite, losses))


def test_a_stopped_run_goes_on_to_the_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    settings = params(batch_size=64)

    def run(name: str, stop_after: int = 0) -> tuple[VGG, dict[int, Scores]]:
        runtime, log = start_runtime(settings.runtime), dict[int, Scores]()
        data = images(512, 32, runtime)
        network = runtime.place(settings.build("A", data.format))

        def note(epoch: int, scores: Scores) -> None:
            log[epoch] = scores
            if epoch == stop_after:
                signal.raise_signal(signal.SIGINT)

        checkpoint = Checkpoint(name, {}, ())
        fit(network, data, data, epochs=4, params=settings, runtime=runtime, checkpoint=checkpoint, log=note, name=name)
        return network, log

    complete, scores = run("complete")
    with pytest.raises(KeyboardInterrupt, match="kept: 2 epochs"):
        run("stopped", stop_after=2)
    continued, others = run("stopped")
    assert equal(continued, complete)
    assert others == scores


def test_the_gpu_follows_the_cpu_in_fp32() -> None:
    """With steps so small that rounding does not grow (test_golden.py)."""
    optimizer = OptimizerParams(name="sgd", lr=1e-5, momentum=0.9, weight_decay=5e-4, eps=1e-8)
    settings = params(precision="fp32", optimizer=optimizer, dropout=0.0)
    cpu = settings.model_copy(update={"runtime": settings.runtime.model_copy(update={"device": "cpu"})})
    losses, _ = train("D", settings, steps=10)
    expected, _ = train("D", cpu, steps=10)
    assert losses == pytest.approx(expected, rel=1e-4)


def test_no_step_waits_for_the_device() -> None:
    """PyTorch raises an error at each operation that makes the CPU wait for the GPU."""
    settings = params(batch_size=64)
    runtime = start_runtime(settings.runtime)
    data = images(256, 64, runtime)
    run = Run(runtime.place(settings.build("A", data.format)), settings, runtime)
    for epoch in (1, 2):  # the first one makes what later ones use again
        batches = iter(shuffled(data, 64, ALL, seed=0, epoch=epoch))
        run.step(*next(batches))
        torch.cuda.set_sync_debug_mode("error" if epoch == 2 else "default")
        try:
            for batch in batches:
                run.step(*batch)
        finally:
            torch.cuda.set_sync_debug_mode("default")


def test_predictions_are_those_of_validation() -> None:
    runtime = start_runtime(params().runtime)
    data = images(100, 32, runtime)
    network = runtime.place(params().build("D", data.format))
    logits = predict(network, data, runtime, CENTRE)
    loss, accuracy = validate(network, data, runtime)
    labels = data.labels.cpu()
    assert logits.device.type == "cpu"
    assert torch.nn.functional.cross_entropy(logits, labels).item() == pytest.approx(loss, rel=1e-3)
    assert (logits.argmax(dim=1) == labels).double().mean().item() == pytest.approx(accuracy, abs=0.02)
