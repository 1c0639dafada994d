"""Report on stdout, in Markdown, what a pull request changes.

    python -m scripts.pr_report main

The report compares the workspace with the git revision BASE: whether dvc.lock is up to date, and which metrics and
parameters differ. Everything it reads is in git. It needs no remote, no cache and no data, and only the package dvc.
A stale dvc.lock is reported and is not a failure: the exit code is 0.
"""

import argparse
import os
import re
import subprocess
import sys
from itertools import accumulate

from src.base import cli
from src.base.errors import InputError

MARKER = "<!-- dvc-report -->"  # the workflow finds its earlier comment by this line
FOLDED_FROM = 60  # rows; a longer table is folded
TABLE_LIMIT = 30_000  # characters per table: GitHub allows 65,536 for a comment, and there are two tables


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", metavar="BASE", help="the git revision to compare with")
    base = parser.parse_args().base
    check_revision(base)
    sections = [lock(), differences("Metrics", "metrics", base), differences("Parameters", "params", base)]
    print("\n\n".join([MARKER, "## DVC report", f"Compared with `{base}`.", *sections]))


def check_revision(base: str) -> None:
    """Check that the revision names a commit of this clone.

    Raises:
        InputError: it does not.
    """
    command = ["git", "rev-parse", "--verify", "--quiet", "--end-of-options", f"{base}^{{commit}}"]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        raise InputError(f"unknown git revision {base!r}: fetch it first, or name another one (git branch --all)")


def lock() -> str:
    """The section on dvc.lock: does it belong to this code and these parameters?"""
    stages = stages_behind()
    if not stages:
        verdict = "dvc.lock is up to date: the recorded results belong to this code and these parameters."
    else:
        verdict = (
            f"dvc.lock is behind: a `dvc repro` would run {', '.join(stages)}. "
            "(A stage that is listed only because an earlier one runs is skipped if its inputs come out the same.)"
        )
    return f"### dvc.lock\n\n{verdict}"


def stages_behind() -> list[str]:
    """The stages that `dvc repro` would run, and the stages after them, in the order of dvc.yaml.

    The exit code of a dry run does not tell. It is 0 if all changes are in git, and not 0 if a changed stage reads data
    that this clone lacks. The output for such stages differs too. Only the line about an unchanged stage is always the
    same, so all other stages are behind.

    Raises:
        InputError: DVC cannot read dvc.yaml, dvc.lock or params.yaml.
    """
    names = output(dvc("stage", "list", "--name-only")).split()
    # Without --keep-going, the first stage with missing data ends the dry run before the later stages are listed.
    # Without --force-downstream, the stages after a changed stage look unchanged: a dry run changes no input.
    plan = dvc("repro", "--dry", "--allow-missing", "--keep-going", "--force-downstream")
    if "failed to reproduce" not in plan.stderr:
        output(plan)
    unchanged = set(re.findall(r"^Stage '(.+)' didn't change, skipping$", plan.stdout, re.MULTILINE))
    return [name for name in names if name not in unchanged]


def differences(title: str, kind: str, base: str) -> str:
    """The section with the table of changed `metrics` or `params`, as DVC prints it."""
    table = output(dvc(kind, "diff", "--md", base))
    return f"### {title}\n\n{shorten(table, f'dvc {kind} diff {base}')}"


def shorten(table: str, command: str) -> str:
    """Make a Markdown table fit into a comment: sort the rows, cut at `TABLE_LIMIT`, fold a long table.

    Args:
        table: two header lines, then the rows. DVC prints the files in another order on every call.
        command: the command that prints the whole table, named if the table is cut.
    """
    header, rows = table.strip().splitlines()[:2], sorted(table.strip().splitlines()[2:])
    if not rows:
        return "No change."
    lines = header + rows
    ends = accumulate(len(line) + 1 for line in lines)
    kept = [line for line, end in zip(lines, ends, strict=True) if end <= TABLE_LIMIT]
    text = "\n".join(kept)
    if len(kept) < len(lines):
        text += f"\n\nCut: {len(lines) - max(len(kept), 2)} more rows; `{command}` prints them."
    if len(rows) > FOLDED_FROM:
        text = f"<details><summary>{len(rows)} rows</summary>\n\n{text}\n\n</details>"
    return text


def dvc(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run DVC with the current Python, so that no environment has to be activated."""
    command = [sys.executable, "-m", "dvc", *arguments]
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", check=False)


def output(process: subprocess.CompletedProcess[str]) -> str:
    """The output of a DVC command. Its warnings, for example on metrics that BASE lacks, go to stderr.

    Raises:
        InputError: the command failed.
    """
    if process.returncode:
        reason = process.stderr.partition("ERROR: ")[2] or process.stderr
        raise InputError(f"{' '.join(process.args[2:])} failed: {' '.join(reason.split())}")
    sys.stderr.write(process.stderr)
    return process.stdout


if __name__ == "__main__":
    cli.run(main)
