"""What was measured as Markdown, and where it goes in docs/benchmarks.md."""

from pathlib import Path
from typing import NamedTuple

from benchmarks.comparison import Comparison
from benchmarks.flops import parameters, training_flops
from benchmarks.pipeline import Finished, OnCifar10
from benchmarks.ways import device
from scripts.page import table

PAGE = Path("docs", "benchmarks.md")
ADAM_BYTES = 7 * 4  # a weight: weight, gradient and two moments read, weight and moments written, all float32


class Target(NamedTuple):
    """Something to reach: in words, what was measured, in words, and whether it is reached."""

    goal: str
    measured: str
    met: bool


def share(comparison: Comparison, way: str) -> float:
    """FLOP/s of a way against those of a matrix product in its precision."""
    case, result = comparison.case, comparison.ways[way]
    return result.rate * training_flops(case.column, case.side) / comparison.products[result.precision]


def training(comparisons: list[Comparison]) -> str:
    """A line a case and way."""
    header = ["case", "way", "images/s", "lowest-highest", "x usual", "x reference", "TFLOP/s", "of matrix product"]
    header += ["peak GB"]
    rows = []
    for comparison in comparisons:
        case, ways = comparison.case, comparison.ways
        for name, result in ways.items():
            flops = result.rate * training_flops(case.column, case.side)
            rows.append(
                [
                    str(case),
                    f"{name}, {result.precision}",
                    f"{result.rate:.4g}",
                    f"{min(result.rates):.4g}-{max(result.rates):.4g}",
                    f"{result.rate / ways['usual'].rate:.2f}",
                    f"{result.rate / ways['reference'].rate:.2f}",
                    f"{flops / 1e12:.3g}",
                    f"{share(comparison, name):.0%}",
                    f"{result.peak / 1e9:.2f}",
                ]
            )
    return table(header, rows)


def ceilings(comparisons: list[Comparison], other: dict[str, float]) -> str:
    """What the machine can do, beside each case; `other` are precisions that no way uses here."""
    rows = []
    for comparison in comparisons:
        products = ", ".join(f"{name} {rate / 1e12:.3g}" for name, rate in {**comparison.products, **other}.items())
        rows.append([str(comparison.case), products, f"{comparison.copy / 1e9:.1f}"])
    return table(["beside", "matrix product, TFLOP/s", "copy, GB/s"], rows)


def parts(comparisons: list[Comparison]) -> str:
    """Where the time of one of this project's steps goes."""
    rows = []
    for comparison in comparisons:
        total = sum(comparison.parts.values())
        rows.append(
            [
                str(comparison.case),
                f"{total * 1e3:,.0f}",
                *(f"{comparison.parts[part] / total:.2%}" for part in ("data", "network", "optimizer")),
                f"{optimizer_speed(comparison) / 1e9:.1f}",
                f"{optimizer_speed(comparison) / comparison.copy:.0%}",
            ]
        )
    header = ["this project", "step, ms", "data", "forward + backward", "optimizer", "optimizer, GB/s", "of copy"]
    return table(header, rows)


def optimizer_speed(comparison: Comparison) -> float:
    """Bytes/s that Adam reads and writes."""
    case = comparison.case
    return ADAM_BYTES * parameters(case.column, case.side) / comparison.parts["optimizer"]


def pipeline(
    starts: dict[str, tuple[float, bool]], idle: Finished, epochs: list[int], on_cifar10: OnCifar10 | None
) -> str:
    """What surrounds training."""
    rows = [
        [f"start of `{stage}`", f"{seconds:.1f}", "", "imports DVC" if dvc else ""]
        for stage, (seconds, dvc) in starts.items()
    ]
    rows.append(["`dvc repro`, nothing to do", f"{idle.seconds:.1f}", gigabytes(idle.peak), ""])
    if on_cifar10:
        note = f"{on_cifar10.side} px; {on_cifar10.forward:.1f} s of forward passes"
        rows.append(
            [
                "`preprocess`, CIFAR-10",
                f"{on_cifar10.preprocess.seconds:.1f}",
                gigabytes(on_cifar10.preprocess.peak),
                "",
            ]
        )
        rows.append(
            ["`evaluate`, CIFAR-10", f"{on_cifar10.evaluate.seconds:.1f}", gigabytes(on_cifar10.evaluate.peak), note]
        )
    else:
        rows.append(["`preprocess`, `evaluate`", "", "", "not measured: no CIFAR-10 at hand"])
    memory = f"Memory after each of {len(epochs)} epochs, GB: {', '.join(map(gigabytes, epochs))}."
    return f"{table(['', 'seconds', 'peak GB', ''], rows)}\n\n{memory}"


def gigabytes(count: int) -> str:
    return f"{count / 1e9:.2f}"


def targets(
    comparisons: list[Comparison],
    starts: dict[str, tuple[float, bool]],
    epochs: list[int],
    on_cifar10: OnCifar10 | None,
) -> list[Target]:
    """The targets of this project, set for a CPU with AMX and for an H200, against what was measured here."""
    gpu = device().type == "cuda"
    found = []
    by_case = {(each.case.column, each.case.side): each for each in comparisons}

    def at_least(goal: float, value: float, text: str) -> None:
        found.append(Target(f"{text}: at least {goal:,g}", f"{value:,.3g}", value >= goal))

    for side, usual, product in ((224, 6.0, 80), (32, 3.5, 55)):
        comparison = by_case["D", side]
        rate = {name: result.rate for name, result in comparison.ways.items()}
        name = f"VGG16 at {side} px"
        at_least(usual, rate["project"] / rate["usual"], f"{name}, times the usual way")
        at_least(1.2, rate["project"] / rate["reference"], f"{name}, times the reference way")
        if not gpu:
            at_least(product, 100 * share(comparison, "project"), f"{name}, % of the matrix product")
    if gpu:
        at_least(5000, by_case["D", 224].ways["project"].rate, "VGG16 at 224 px, images/s")
        at_least(9000, by_case["A", 224].ways["project"].rate, "VGG11 at 224 px, images/s")
    data = max(each.parts["data"] / sum(each.parts.values()) for each in comparisons)
    found.append(Target("data path: under 3 % of a step", f"at most {data:.2%}", data < 0.03))
    at_least(90, 100 * min(optimizer_speed(each) / each.copy for each in comparisons), "optimizer, % of a copy's speed")
    slowest = max(seconds for seconds, _ in starts.values())
    found.append(Target("start of a stage: under 3 s", f"at most {slowest:.1f} s", slowest < 3))
    with_dvc = [stage for stage, (_, dvc) in starts.items() if dvc]
    only_training = all(stage.startswith("train_") for stage in with_dvc)
    found.append(Target("DVC imported only where DVCLive logs", ", ".join(with_dvc) or "nowhere", only_training))
    growth = epochs[-1] / epochs[1] - 1  # the first epoch still fills the allocator
    found.append(Target("memory does not grow with epochs: under 2 %", f"{growth:+.1%}", growth < 0.02))
    if on_cifar10:
        before, after = on_cifar10.preprocess, on_cifar10.evaluate
        text = f"{before.seconds:.1f} s, {gigabytes(before.peak)} GB"
        found.append(
            Target("`preprocess`: under 10 s and 1.5 GB", text, before.seconds < 10 and before.peak < 1_500_000_000)
        )
        ratio = after.seconds / on_cifar10.forward
        found.append(Target("`evaluate`: at most 1.1 x its forward passes", f"{ratio:.2f} x", ratio <= 1.1))
    return found


def verdicts(found: list[Target]) -> str:
    return table(
        ["target", "measured", "met"], [[goal, measured, "yes" if met else "**no**"] for goal, measured, met in found]
    )
