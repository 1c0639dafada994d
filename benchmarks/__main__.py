"""How fast this project trains, against the usual ways and the limits of the machine, and what surrounds training.

    python -m benchmarks

Takes about 18 minutes on two CPU cores; the machine should do nothing else. Prints progress on stderr and the result
on stdout, and puts it in docs/benchmarks.md. CIFAR-10 is needed for `preprocess` and `evaluate` alone: data/raw, or
CIFAR10_URL.
"""

import argparse
import sys

from benchmarks import machine, report
from benchmarks.ceilings import MatrixProduct
from benchmarks.comparison import compare
from benchmarks.pipeline import memory_over_epochs, nothing_to_do, on_cifar10, start_up
from benchmarks.ways import cases, device
from benchmarks.workers import Worker, interleave
from scripts.page import insert
from src import cli

STAGES = ("download", "preprocess", "inspect_init", "train_vgg11", "inspect_transfer", "train_vgg16", "evaluate")
TIMES = 3  # starts of each stage, idle runs of DVC, runs of `evaluate`
ROUNDS = {32: 5, 224: 3}  # by pixels a side; at 224 a step takes ten seconds on a CPU


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    comparisons = [compare(case, ROUNDS[case.side]) for case in cases()]
    others = {name: rate_of_product(name) for name in {"bf16", "fp32"} - comparisons[0].products.keys()}
    print("stages", file=sys.stderr)
    starts = {stage: start_up(stage, TIMES) for stage in STAGES}
    idle = nothing_to_do(TIMES)
    epochs = memory_over_epochs()
    cifar10 = on_cifar10(TIMES)

    rounds = " and ".join(f"{count} at {side} px" for side, count in ROUNDS.items())
    text = "\n\n".join(
        [
            f"{machine.describe()}. Medians of rounds: {rounds}; of {TIMES} runs of what is short and of "
            "`evaluate`; one run of `preprocess`.",
            report.training(comparisons),
            report.ceilings(comparisons, others),
            report.parts(comparisons),
            report.pipeline(starts, idle, epochs, cifar10),
            report.verdicts(report.targets(comparisons, starts, epochs, cifar10)),
        ]
    )
    print(text)
    insert(report.PAGE, device().type, text)


def rate_of_product(precision: str) -> float:
    """FLOP/s of a matrix product in a precision that no way uses here."""
    worker = Worker(MatrixProduct, precision)
    (rate,) = interleave({precision: worker}, rounds=1)[precision]
    worker.close()
    return rate


if __name__ == "__main__":
    cli.run(main)
