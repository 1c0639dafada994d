"""What a training run says about its duration."""

from types import SimpleNamespace

import pytest

from src.training import progress
from src.training.progress import Progress, duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(301, "5 minutes"), (3600, "60 minutes"), (7200, "2 hours"), (86_400, "24 hours"), (20 * 86_400, "20 days")],
)
def test_durations_have_a_unit_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def announced(
    seconds_per_step: float, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], done: int = 0
) -> str:
    """What a run of 10 epochs of 1,000 images in batches of 100 prints after steps 1, 3, 21 and 41."""
    clock = SimpleNamespace(now=0.0)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr(progress, "time", clock)
    run = Progress("train", epochs=10, images=1000, done=done)
    clock.now += 50.0  # a slow first step does not count
    for step in (1, 3, 21, 41):
        run.step(done + 1, 100 * step, 2.3)
        clock.now += 2 * seconds_per_step
    run.close()
    return capsys.readouterr().err


def test_a_long_run_says_how_long_it_will_take(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert announced(10, monkeypatch, capsys) == "train: training takes about 16 minutes here, at 10 images/s\n"
    assert announced(10, monkeypatch, capsys, done=5) == "train: training takes about 8 minutes here, at 10 images/s\n"


def test_a_short_run_says_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert announced(1, monkeypatch, capsys) == ""


def test_a_run_of_days_names_a_shorter_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    text = announced(5000, monkeypatch, capsys)
    assert text.startswith(
        "train: training takes about 6 days here, at 0.02 images/s; presets/study-32px, with images of 32"
    )
    assert text.count("\n") == 1
