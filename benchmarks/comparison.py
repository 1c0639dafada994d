"""The three ways side by side on one case, with the ceilings of the machine in the same turns."""

import sys
from dataclasses import dataclass

from benchmarks.ceilings import Copy, MatrixProduct
from benchmarks.ways import WAYS, Case, Way, device, parts
from benchmarks.workers import Worker, interleave, median, peak_memory
from src.params import load
from src.runtime import DTYPES, native_dtype
from src.training import TrainingParams

PARTS_STEPS = 3


@dataclass(frozen=True)
class Result:
    """One way.

    Attributes:
        rates: images/s, one a round.
        precision: of matrix products and convolutions.
        peak: most bytes in memory at once.
    """

    rates: list[float]
    precision: str
    peak: int

    @property
    def rate(self) -> float:
        return median(self.rates)


@dataclass(frozen=True)
class Comparison:
    """All ways on one case.

    Attributes:
        products: FLOP/s of a matrix product, by precision.
        copy: bytes/s of a copy, read and written.
        parts: seconds of the parts of one of this project's steps.
    """

    case: Case
    ways: dict[str, Result]
    products: dict[str, float]
    copy: float
    parts: dict[str, float]


def compare(case: Case, rounds: int) -> Comparison:
    """Run all ways and ceilings in turns."""
    print(case, file=sys.stderr)
    ways = {name: Worker(way, case) for name, way in WAYS.items()}
    precisions = {"fp32", native_precision(), load(TrainingParams).runtime.precision} - {"auto"}
    products = {precision: Worker(MatrixProduct, precision) for precision in sorted(precisions)}
    copy = Worker(Copy)
    try:
        rates = interleave({**ways, **products, "copy": copy}, rounds)
        return Comparison(
            case,
            {name: Result(rates[name], way.ask(precision), way.ask(peak_memory)) for name, way in ways.items()},
            {name: median(rates[name]) for name in products},
            median(rates["copy"]),
            ways["project"].ask(parts, PARTS_STEPS),
        )
    finally:
        for worker in (*ways.values(), *products.values(), copy):
            worker.close()


def native_precision() -> str:
    """The precision that `runtime.precision: auto` chooses here."""
    return next(name for name, dtype in DTYPES.items() if dtype == native_dtype(device()))


def precision(way: Way) -> str:
    return way.precision
