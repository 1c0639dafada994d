"""All ways side by side on one case, with the limits of the machine in the same rounds."""

import statistics
import sys
from contextlib import ExitStack, closing
from dataclasses import dataclass
from operator import attrgetter
from time import perf_counter

from benchmarks.limits import Copy, MatrixProduct
from benchmarks.machine import synchronize
from benchmarks.ways import Case, Forward, Way, ways_of
from benchmarks.workers import Worker, interleave, peak_memory

PARTS_STEPS = 3


@dataclass(frozen=True)
class Result:
    """What was measured of one way.

    Attributes:
        rates: images/s, one per round.
        precision: of matrix products and convolutions.
        peak: most bytes in memory at once.
    """

    rates: list[float]
    precision: str
    peak: int

    @property
    def rate(self) -> float:
        return statistics.median(self.rates)


@dataclass(frozen=True)
class Comparison:
    """What was measured on one case.

    Attributes:
        products: FLOP/s of a matrix product in each precision that a way uses.
        copy: bytes/s of a copy, read and written.
        parts: seconds of each part of this project's step.
    """

    case: Case
    ways: dict[str, Result]
    products: dict[str, float]
    copy: float
    parts: dict[str, float]


def compare(case: Case, rounds: int) -> Comparison:
    """Measure all ways and limits in turns, and the parts of a step of this project."""
    print(case, file=sys.stderr)
    ways = ways_of(case)
    with ExitStack() as stack:
        workers = {name: stack.enter_context(closing(Worker(way, case))) for name, way in ways.items()}
        precisions = {name: worker.ask(attrgetter("precision")) for name, worker in workers.items()}
        products = {
            name: stack.enter_context(closing(Worker(MatrixProduct, name))) for name in sorted({*precisions.values()})
        }
        copy = stack.enter_context(closing(Worker(Copy)))
        rates = interleave({**workers, **products, "copy": copy}, rounds)
        return Comparison(
            case,
            {name: Result(rates[name], precisions[name], worker.ask(peak_memory)) for name, worker in workers.items()},
            {name: statistics.median(rates[name]) for name in products},
            statistics.median(rates["copy"]),
            workers["project"].ask(parts, PARTS_STEPS),
        )


def compare_forward(case: Case, rounds: int) -> dict[str, float]:
    """Images/s of the forward passes of all ways, medians."""
    print(f"{case}, forward", file=sys.stderr)
    with ExitStack() as stack:
        workers = {
            name: stack.enter_context(closing(Worker(Forward, way, case))) for name, way in ways_of(case).items()
        }
        return {name: statistics.median(rates) for name, rates in interleave(workers, rounds).items()}


def parts(way: Way, steps: int) -> dict[str, float]:
    """Median seconds of the parts of a step.

    `data` is the time until the batch is there, `network` forward and backward pass and the loss, `optimizer` the
    update of the weights.
    """
    times: dict[str, list[float]] = {"data": [], "network": [], "optimizer": []}
    marks: list[float] = []

    def mark(*_: object) -> None:
        synchronize()
        marks.append(perf_counter())

    hooks = [way.optimizer.register_step_pre_hook(mark), way.optimizer.register_step_post_hook(mark)]
    for _ in range(steps):
        marks.clear()
        mark()
        batch = way.batch()
        mark()
        way.learn(*batch)
        mark()
        start, has_batch, before, after, end = marks
        times["data"].append(has_batch - start)
        times["optimizer"].append(after - before)
        times["network"].append(end - has_batch - (after - before))
    for hook in hooks:
        hook.remove()
    return {part: statistics.median(seconds) for part, seconds in times.items()}
