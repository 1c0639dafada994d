"""Progress of training on stderr: a bar on a terminal, else one line per epoch."""

import sys
import time

from tqdm import tqdm

LONG, DAY = 5 * 60, 24 * 3600
"""Seconds from which a run is announced, and from which a shorter one is named."""
SHORTER = "presets/study-32px, with images of 32 pixels and fewer epochs, takes about an hour on two ordinary CPU cores"


def duration(seconds: float) -> str:
    """Such as "12 minutes", "3 hours" or "9 days"."""
    if seconds < 5400:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.0f} hours" if seconds < 2 * DAY else f"{seconds / DAY:.0f} days"


class Progress:
    """Progress of one training run on stderr, counted in images.

    Args:
        name: of the stage.
        epochs: of the whole run.
        images: per epoch.
        done: epochs that an earlier, interrupted run has completed.
    """

    def __init__(self, name: str, *, epochs: int, images: int, done: int) -> None:
        self.name, self.epochs, self.images = name, epochs, images
        self._start, self._first = time.monotonic(), done
        self._looks: list[tuple[float, int]] = []
        self._bar = tqdm(
            total=epochs * images,
            initial=done * images,
            desc=name,
            unit=" images",
            unit_scale=True,
            dynamic_ncols=True,
            disable=not sys.stderr.isatty(),
        )

    def step(self, epoch: int, images: int, loss: float) -> None:
        """Show how many images of this epoch are done, and the newest loss. The second call announces a long run."""
        if len(self._looks) < 2:
            self._looks.append((time.monotonic(), (epoch - 1) * self.images + images))
            if len(self._looks) == 2:
                self._estimate()
        self._bar.set_description(f"{self.name} epoch {epoch}/{self.epochs}", refresh=False)
        self._bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
        self._bar.update((epoch - 1) * self.images + images - self._bar.n)

    def _estimate(self) -> None:
        """One line before a long run. The first step is not counted: it may compile, or choose kernels."""
        (started, done), (now, more) = self._looks
        if more <= done:
            return
        seconds = (self.epochs * self.images - more) * (now - started) / (more - done)
        if seconds > LONG:
            rate = (more - done) / (now - started)
            hint = f"; {SHORTER}" if seconds > DAY else ""
            tqdm.write(
                f"{self.name}: training takes about {duration(seconds)} here, at {rate:.3g} images/s{hint}",
                file=sys.stderr,
            )

    def epoch(self, epoch: int, scores: dict[str, float], rate: float) -> None:
        """Print the scores of an epoch. `rate` is images per second in training, without validation."""
        each = (time.monotonic() - self._start) / (epoch - self._first)
        left = tqdm.format_interval(each * (self.epochs - epoch))
        line = (
            f"{self.name} epoch {epoch}/{self.epochs}: loss {scores['train/loss']:.4f}, "
            f"accuracy {scores['train/accuracy']:.4f}, validation loss {scores['validation/loss']:.4f}, "
            f"accuracy {scores['validation/accuracy']:.4f}, {rate:.0f} images/s, {left} left"
        )
        tqdm.write(line, file=sys.stderr)

    def close(self) -> None:
        self._bar.close()
