"""Report on stdout, in Markdown, what a pull request changes.

    python -m scripts.pr_report main

The report compares the workspace with the git revision BASE. It lists the recorded stages that are out of date, and the
metrics and parameters that differ. The report reads only files in git. It needs no DVC remote, no cache, no data, and
no package but dvc. If dvc.lock is out of date, the report says so, and the exit code is 0.
"""

import argparse
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

from scripts import markdown
from scripts.results import TESTED
from src.base import cli
from src.base.errors import InputError

MARKER = "<!-- dvc-report -->"  # the workflow finds its earlier comment by this line
SCORES, CURVES = {f"results/evaluate/{name}.json": name for name in TESTED}, "results/evaluate/curves.png"
FOLDED_FROM = 12  # rows; a longer table is folded
TABLE_LIMIT = 30_000  # characters per table: GitHub allows 65,536 for a comment, and there are two tables
PATIENCE = 120  # seconds for one command of git or DVC: a partial clone may have to ask its remote

# Prints what DVC knows of the project in the current folder, as JSON on one line, then the plan of a dry run. Without
# --keep-going, the first stage with missing data would end the dry run before the later stages are listed. Without
# --force-downstream, the stages after a changed stage look unchanged: a dry run changes no input.
ASK_DVC = """
import json, sys
from pathlib import Path
import networkx
from dvc.cli import main
from dvc.repo import Repo
try:
    with Repo() as repo:
        made = {Path(out.fs_path) for out in repo.index.outs}
        missing = {out.stage for out in repo.index.outs if not (out.use_cache or out.exists)}
        for stage in repo.index.stages:
            places = [Path(dep.fs_path) for dep in stage.deps if not dep.exists]
            if any(not made & {place, *place.parents} for place in places):
                missing.add(stage)
        missing |= {after for stage in missing for after in networkx.ancestors(repo.index.graph, stage)}
        found = {
            "metrics": repo.metrics.show().get("", {}),
            "params": repo.params.show().get("", {}),
            "stages": [stage.addressing for stage in repo.index.stages],
            "missing": [stage.addressing for stage in missing],
        }
except Exception as error:
    sys.exit(f"ERROR: {error or type(error).__name__}")
print(json.dumps(found, default=lambda error: [type(error).__name__, str(error)]), flush=True)
sys.exit(main(["repro", "--dry", "--allow-missing", "--keep-going", "--force-downstream", "--all-pipelines"]))
"""


class Project(NamedTuple):
    """What a report needs of one version of the project.

    Attributes:
        metrics, params: (file, name) -> value.
        behind: the stages that `dvc repro` would run, in the order of dvc.yaml.
    """

    metrics: dict[tuple[str, str], Any]
    params: dict[tuple[str, str], Any]
    behind: list[str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", metavar="BASE", help="the git revision to compare with")
    parser.add_argument("--pictures", metavar="URL", help="of the root of the workspace's files, for pictures")
    arguments = parser.parse_args()
    check_revision(base := arguments.base)
    with tempfile.TemporaryDirectory() as folder:
        extract(base, Path(folder))
        before, problem = Project({}, {}, []), ""
        if Path(folder, ".dvc").exists():
            try:
                before = read(Path(folder))
            except InputError as error:  # a pull request may repair it
                problem = f" `{base}` cannot be read: {escape(str(error).replace(folder, base))}"
    now = read(Path.cwd())
    curves = f"![Loss and accuracy by epoch]({arguments.pictures}/{CURVES})"
    sections = [
        scores(before.metrics, now.metrics, base),
        curves if arguments.pictures and Path(CURVES).exists() else "",
        lock(now.behind, before.behind),
        differences("Metrics", before.metrics, now.metrics, base),
        differences("Parameters", before.params, now.params, base),
    ]
    sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr]
    print("\n\n".join([MARKER, "## DVC report", f"Compared with `{base}`.{problem}", *filter(None, sections)]))


def check_revision(base: str) -> None:
    """Check that the revision names a commit of this clone.

    Raises:
        InputError: it does not, or git refuses to work here.
    """
    git("rev-parse", "--git-dir")
    if not git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{base}^{{commit}}", check=False):
        raise InputError(f"unknown git revision {base!r}: fetch it first, or name another one (git branch --all)")


def extract(base: str, folder: Path) -> None:
    """Write the files of a revision, below the current folder, into `folder`.

    DVC would read them from git itself. In a partial clone it waits for ever for objects that only git can fetch.
    """
    if not git("ls-tree", base, "."):  # from before the current folder was there
        return
    with tarfile.open(fileobj=io.BytesIO(git("archive", "--format=tar", base, "."))) as tar:
        for member in tar:
            path = folder / member.name
            path.parent.mkdir(parents=True, exist_ok=True)
            if member.issym():  # it may lead out, or to nothing
                path.symlink_to(member.linkname)
            elif file := tar.extractfile(member):
                path.write_bytes(file.read())
    if (folder / ".dvc").exists():
        (folder / ".dvc" / "config.local").write_text("[core]\n    no_scm = true\n", encoding="utf-8")


def read(folder: Path) -> Project:
    """What DVC knows of the project in a folder.

    Raises:
        InputError: DVC cannot read dvc.yaml, dvc.lock, params.yaml or a file of metrics.
    """
    answer = run([sys.executable, "-c", ASK_DVC], folder)
    if answer.returncode and "failed to reproduce" not in answer.stderr:
        reason = answer.stderr.partition("ERROR: ")[2] or answer.stderr
        raise InputError(f"DVC failed: {' '.join(reason.split())}")
    found, _, plan = answer.stdout.partition("\n")
    project = json.loads(found)
    return Project(values(project["metrics"]), values(project["params"]), stages_behind(project, plan))


def values(files: dict[str, Any]) -> dict[tuple[str, str], Any]:
    """Nested values of files by file and dotted name.

    Raises:
        InputError: a file cannot be read.
    """
    found: dict[tuple[str, str], Any] = {}

    def add(file: str, name: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                add(file, f"{name}.{key}" if name else str(key), inner)
        else:
            found[file, name] = value

    for file, content in files.get("data", {}).items():
        if "error" not in content:
            add(file, "", content["data"])
        elif content["error"][0] != "FileNotFoundError":  # a file that is missing makes its stage count as behind
            raise InputError(f"{file}: cannot be read: {' '.join(content['error'][1].split())}")
    return found


def lock(now: list[str], before: list[str]) -> str:
    """The section on dvc.lock: do the recorded results belong to this code and these parameters?"""
    new, old = [stage for stage in now if stage not in before], [stage for stage in now if stage in before]
    if not now:
        verdict = "dvc.lock is up to date: the recorded results belong to this code and these parameters."
    elif not new:
        verdict = f"dvc.lock is as it was: {', '.join(old)} were behind before, and no other stage is."
    else:
        verdict = (
            f"dvc.lock is behind: a `dvc repro` would run {', '.join(new)}. "
            "(A stage that is listed only because an earlier one runs is skipped if its inputs come out the same.)"
        )
        if old:
            verdict += f" Behind before already: {', '.join(old)}."
        verdict += (
            " If the change should not change a result, `make same` says whether a small pipeline computes the same "
            "bytes as before (CONTRIBUTING.md)."
        )
    return f"### dvc.lock\n\n{verdict}"


def scores(before: dict[tuple[str, str], Any], now: dict[tuple[str, str], Any], base: str) -> str:
    """The section with the few numbers that matter, also where they did not change; empty without them."""

    def short(found: dict[tuple[str, str], Any], key: tuple[str, str]) -> str:
        value = found.get(key)
        return f"{value:.4f}" if isinstance(value, float) else escape(text(found, key))

    both = before.keys() | now.keys()
    keys = [(file, score) for file in SCORES for score in ("accuracy", "loss") if (file, score) in both]
    rows = [
        [f"{SCORES[key[0]]} {key[1]}", short(before, key), short(now, key), change(before, now, key)] for key in keys
    ]
    table = markdown.table(["On the test images", escape(base), "workspace", "Change"], rows)
    return f"### Scores\n\n{table}" if rows else ""


def stages_behind(project: dict[str, Any], plan: str) -> list[str]:
    """The stages that `dvc repro` would run, and the stages after them, in the order of dvc.yaml.

    The exit code of a dry run does not tell. It is 0 if all changes are in git, and not 0 if a changed stage reads data
    that this clone lacks. The output for such stages differs too. Only the line about an unchanged stage is always the
    same, so all other stages are behind. A missing result that should be in git counts as a change.

    Args:
        plan: the output of a dry run.
    """
    unchanged = set(re.findall(r"^(?:Stage )?'(.+)' didn't change, skipping$", plan, re.MULTILINE))
    return [name for name in project["stages"] if name not in unchanged or name in project["missing"]]


def differences(title: str, before: dict[tuple[str, str], Any], now: dict[tuple[str, str], Any], base: str) -> str:
    """The section with the table of changed values."""
    rows = [
        [file, name, text(before, (file, name)), text(now, (file, name)), change(before, now, (file, name))]
        for file, name in sorted(before.keys() | now.keys())
        if text(before, (file, name)) != text(now, (file, name))
    ]
    return f"### {title}\n\n{shorten(rows, [title[:-1], base])}"


def text(found: dict[tuple[str, str], Any], key: tuple[str, str]) -> str:
    return str(found[key]) if key in found else "-"


def change(before: dict[tuple[str, str], Any], now: dict[tuple[str, str], Any], key: tuple[str, str]) -> str:
    """The difference of two numbers."""
    pair = [found.get(key) for found in (now, before)]
    numbers = [value for value in pair if isinstance(value, int | float) and not isinstance(value, bool)]
    try:
        return f"{numbers[0] - numbers[1]:.6g}" if len(numbers) == 2 else "-"
    except OverflowError:
        return "-"


def shorten(rows: list[list[str]], names: Iterable[str]) -> str:
    """Rows as a Markdown table that fits into a comment: cut at `TABLE_LIMIT`, folded if it is long."""
    if not rows:
        return "No change."
    name, base = names
    cells = [[escape(cell) for cell in row] for row in rows]
    lines = markdown.table(["Path", name, escape(base), "workspace", "Change"], cells).splitlines()
    ends = accumulate(len(line) + 1 for line in lines)
    kept = [line for line, end in zip(lines, ends, strict=True) if end <= TABLE_LIMIT]
    table = "\n".join(kept)
    if len(kept) < len(lines):
        table += f"\n\nCut: {len(lines) - max(len(kept), 2)} more rows."
    if len(rows) > FOLDED_FROM:
        table = f"<details><summary>{len(rows)} rows</summary>\n\n{table}\n\n</details>"
    return table


def escape(cell: str) -> str:
    """Text that stays in its cell of a Markdown table, whatever it holds."""
    return " ".join(cell.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "\\`")


def git(*arguments: str, check: bool = True) -> bytes:
    """What a git command prints.

    Raises:
        InputError: the command failed, or took longer than `PATIENCE`.
    """
    process = run(["git", "-c", "core.autocrlf=false", *arguments], Path.cwd(), encoding=None)
    if check and process.returncode:
        reason = " ".join(process.stderr.decode(errors="replace").split())
        raise InputError(f"git {arguments[0]}: {reason}")
    return bytes(process.stdout)


def run(command: list[str], folder: Path, encoding: str | None = "utf-8") -> subprocess.CompletedProcess[Any]:
    """Run a command that asks nobody and ends within `PATIENCE`."""
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1", "GIT_TERMINAL_PROMPT": "0"}
    try:
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, encoding=encoding, check=False, timeout=PATIENCE
        )
    except subprocess.TimeoutExpired:
        problem = f"no answer of `{' '.join(command[:2])}` in {PATIENCE} s"
        raise InputError(
            f"{problem}; in a partial clone, run `git fetch --refetch --filter=blob:limit=1g` first"
        ) from None


if __name__ == "__main__":
    cli.run(main)
