"""Measure how fast this project trains, next to two other ways and the limits of the machine.

    python -m benchmarks

Run nothing else on the machine at the same time. The program prints progress on stderr and the result on stdout. It
also writes the result into docs/benchmarks.md.
"""

import argparse

from benchmarks import machine, report
from benchmarks.comparison import compare
from benchmarks.ways import cases
from scripts.markdown import insert
from src.base import cli

ROUNDS = {32: 5, 224: 3}
"""By the height of the images. At 224 pixels one step of VGG16 takes more than ten seconds on two CPU cores."""


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    comparisons = [compare(case, ROUNDS[case.side]) for case in cases()]
    text = report.page(machine.describe(), ROUNDS, comparisons)
    print(text)
    insert(report.PAGE, machine.device().type, text)


if __name__ == "__main__":
    cli.run(main)
