"""Measure how fast this project trains, next to two other ways and the limits of the machine.

    python -m benchmarks [--fp32]

Run nothing else on the machine at the same time. The program prints progress on stderr and the result on stdout. It
also writes the result into docs/benchmarks.md.
"""

import argparse

from benchmarks import machine, report
from benchmarks.comparison import compare, compare_forward
from benchmarks.ways import cases, forward_cases
from scripts.markdown import insert
from src.base import cli

ROUNDS = {32: 5, 224: 3}
"""By the height of the images. At 224 pixels one step of VGG16 takes more than ten seconds on two CPU cores."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fp32", action="store_true", help="no bf16, also where the hardware has it")
    fp32 = parser.parse_args().fp32
    comparisons = [compare(case, ROUNDS[case.side]) for case in cases(fp32)]
    forward = {case: compare_forward(case, ROUNDS[case.side]) for case in forward_cases(fp32)}
    text = report.page(machine.describe(), ROUNDS, comparisons, forward)
    print(text)
    insert(report.PAGE, machine.device().type + (" fp32" if fp32 else ""), text)


if __name__ == "__main__":
    cli.run(main)
