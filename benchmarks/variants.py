"""What else could make training faster: each candidate in turns with the code as it is.

    python -m benchmarks.variants

Takes about 14 minutes on two CPU cores; the machine should do nothing else. Prints a table and puts it in
docs/benchmarks.md. What has come of each candidate is written beside it there.
"""

import argparse
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from benchmarks import machine, report
from benchmarks.ways import Case, Project, cases, device
from benchmarks.workers import Worker, interleave, median
from scripts.page import insert, table
from src import cli
from src.runtime import cores

ROUNDS = {32: 4, 224: 2}  # by pixels a side
AS_IT_IS = "as it is"


class Variant(NamedTuple):
    """This project's way with one change, and what the change was expected to bring."""

    make: Callable[[Case], Project]
    predicted: str


def contiguous(case: Case) -> Project:
    way = Project(case)
    network: Any = way.network
    network.to(memory_format=torch.contiguous_format)
    return way


def loop_adam(case: Case) -> Project:
    way = Project(case)
    way.optimizer.param_groups[0].update(fused=False, foreach=False)
    return way


def foreach_adam(case: Case) -> Project:
    way = Project(case)
    way.optimizer.param_groups[0].update(fused=False, foreach=True)
    return way


def not_deterministic(case: Case) -> Project:
    way = Project(case)
    torch.use_deterministic_algorithms(False)
    return way


def memory_not_filled(case: Case) -> Project:
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    return Project(case)


def denormals(case: Case) -> Project:
    # Before the first thread, which hands the setting on to the others.
    torch.set_flush_denormal = lambda mode: mode  # type: ignore[assignment]
    return Project(case)


def more_threads(case: Case) -> Project:
    way = Project(case)
    torch.set_num_threads(2 * cores())
    return way


def compiled(case: Case) -> Project:
    return Project(case, compiled=True)


VARIANTS = {
    "NCHW instead of channels last": Variant(
        contiguous, "faster at 224 px where oneDNN has no fast weight gradient in channels last (AVX2), else slower"
    ),
    "Adam as it comes, a loop": Variant(loop_adam, "slower: the weights pass through memory several times"),
    "Adam, foreach": Variant(foreach_adam, "slower, as the loop"),
    "not deterministic": Variant(not_deterministic, "2 % faster: new memory is not filled"),
    "deterministic, new memory not filled": Variant(memory_not_filled, "2 % faster, the same bytes"),
    "denormals not flushed": Variant(denormals, "slower where signals vanish (`init: normal`)"),
    "two threads a core": Variant(more_threads, "slower"),
    "torch.compile": Variant(compiled, "no gain: the time is in the convolutions, which it leaves alone"),
}


def make(case: Case, name: str) -> Project:
    return Project(case) if name == AS_IT_IS else VARIANTS[name].make(case)


def times(case: Case, name: str) -> list[float]:
    """Time of a step with the change, as a multiple of the time without, one a round."""
    workers = {each: Worker(make, case, each) for each in (AS_IT_IS, name)}
    try:
        rates = interleave(workers, ROUNDS[case.side])
    finally:
        for worker in workers.values():
            worker.close()
    return [before / after for before, after in zip(rates[AS_IT_IS], rates[name], strict=True)]


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    vgg16 = [case for case in cases() if case.column == "D"]
    rows = []
    for name, variant in VARIANTS.items():
        row = [name, variant.predicted]
        for case in vgg16:
            print(f"{name}: {case}", file=sys.stderr)
            ratios = times(case, name)
            row.append(f"{median(ratios):.3f} ({min(ratios):.3f}-{max(ratios):.3f})")
        rows.append(row)
    rounds = " and ".join(f"{count} at {side} px" for side, count in ROUNDS.items())
    text = (
        f"{machine.describe()}. Time of a step as a multiple of the time as it is: median of rounds ({rounds}), "
        f"with the lowest and highest.\n\n{table(['candidate', 'predicted', *map(str, vgg16)], rows)}"
    )
    print(text)
    insert(report.PAGE, f"variants {device().type}", text)


if __name__ == "__main__":
    cli.run(main)
