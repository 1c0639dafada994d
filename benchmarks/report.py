"""The measurements as Markdown."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.comparison import Comparison
from benchmarks.flops import parameters, training_flops
from benchmarks.ways import Case
from scripts.markdown import table

PAGE = Path("docs", "benchmarks.md")
BASELINES = ("usual", "reference")
ADAM_BYTES = 7 * 4
"""Per weight, in float32: Adam reads weight, gradient and two moments, and writes the weight and both moments."""


def page(
    machine: str,
    rounds: Mapping[int, int],
    comparisons: Sequence[Comparison],
    forward: Mapping[Case, Mapping[str, float]],
) -> str:
    """The text for one kind of machine: a description and four tables."""
    counts = " and ".join(f"{count} at {side} px" for side, count in rounds.items())
    heading = f"{machine}. A rate is the median of n rounds, n = {counts}, with the lowest and the highest."
    return "\n\n".join([heading, training(comparisons), inference(forward), limits(comparisons), parts(comparisons)])


def training(comparisons: Sequence[Comparison]) -> str:
    """One row per case and way."""
    header = ["case", "way", "images/s", "lowest-highest", *(f"x {baseline}" for baseline in BASELINES)]
    header += ["TFLOP/s", "of matrix product", "peak GB"]
    rows = []
    for comparison in comparisons:
        case, ways = comparison.case, comparison.ways
        for name, result in ways.items():
            flops = result.rate * training_flops(case.network, case.side)  # FLOP/s
            rows.append(
                [
                    str(case),
                    f"{name}, {result.precision}",
                    f"{result.rate:.4g}",
                    f"{min(result.rates):.4g}-{max(result.rates):.4g}",
                    *(f"{result.rate / ways[baseline].rate:.2f}" for baseline in BASELINES),
                    f"{flops / 1e12:.3g}",
                    f"{flops / comparison.products[result.precision]:.0%}",
                    f"{result.peak / 1e9:.2f}",
                ]
            )
    return table(header, rows)


def inference(forward: Mapping[Case, Mapping[str, float]]) -> str:
    """Rates of forward passes alone, one row per case and way."""
    header = ["forward passes", "way", "images/s", *(f"x {baseline}" for baseline in BASELINES)]
    rows = [
        [str(case), way, f"{rate:.4g}", *(f"{rate / rates[baseline]:.2f}" for baseline in BASELINES)]
        for case, rates in forward.items()
        for way, rate in rates.items()
    ]
    return table(header, rows)


def limits(comparisons: Sequence[Comparison]) -> str:
    """What the machine can do, measured in the same rounds as each case."""
    rows = []
    for comparison in comparisons:
        products = ", ".join(f"{name} {rate / 1e12:.3g}" for name, rate in comparison.products.items())
        rows.append([str(comparison.case), products, f"{comparison.copy / 1e9:.1f}"])
    return table(["in the rounds of", "matrix product, TFLOP/s", "copy, GB/s"], rows)


def parts(comparisons: Sequence[Comparison]) -> str:
    """The parts of one step of this project."""
    header = ["this project", "step, ms", "data", "forward + backward", "optimizer", "optimizer, GB/s", "of copy"]
    rows = []
    for comparison in comparisons:
        case, seconds = comparison.case, comparison.parts
        total = sum(seconds.values())
        optimizer = ADAM_BYTES * parameters(case.network, case.side) / seconds["optimizer"]  # bytes/s
        rows.append(
            [
                str(case),
                f"{total * 1e3:,.0f}",
                *(f"{seconds[part] / total:.2%}" for part in ("data", "network", "optimizer")),
                f"{optimizer / 1e9:.1f}",
                f"{optimizer / comparison.copy:.0%}",
            ]
        )
    return table(header, rows)
