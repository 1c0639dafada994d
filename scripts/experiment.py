"""Run the pipeline with the values of a preset, as a DVC experiment, and unpack its results into a folder.

    python -m scripts.experiment presets/demo demo

The workspace stays as it is: DVC runs the experiment in a temporary copy of the code that git tracks. A preset
has one `key=value` a line. `dvc exp apply NAME` brings the experiment into the workspace.
"""

import argparse
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from scripts import page
from src import cli
from src.errors import InputError
from src.files import alone, write_text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", type=Path, help="a file of key=value lines")
    parser.add_argument("folder", type=Path, help="where the results go; replaced when it is there")
    arguments = parser.parse_args()
    name = arguments.preset.name
    settings = read_preset(arguments.preset)

    if reference(name):
        dvc("exp", "remove", "--quiet", name)
    run = ("exp", "run", "--name", name, *(f"--set-param={setting}" for setting in settings))
    if git("rev-parse", "--is-shallow-repository").strip() == b"true":
        with worktree() as folder:
            dvc(*run, folder=folder)
    else:
        dvc(*run, "--temp")
    kept = reference(name)
    if not kept:  # without a revision git would unpack what is in the index
        raise InputError(f"DVC ran the experiment `{name}` and did not keep it; run `dvc exp run` with -v to see why")
    unpack(kept, arguments.folder)
    print(f"\n{table(arguments.folder / 'evaluate' / 'metrics.json')}\n")
    print(f"Pictures, curves and reports: {arguments.folder}/ (start with {arguments.folder}/evaluate/curves.png).")
    print(f"The experiment is kept as `{name}`: dvc exp show, dvc exp apply {name}.")


def read_preset(path: Path) -> list[str]:
    """The `key=value` lines of a preset.

    Raises:
        InputError: the file is missing or has a line that is neither a setting nor a comment.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        raise InputError(
            f"{path}: no such preset; there are: {' '.join(map(str, sorted(path.parent.glob('*'))))}"
        ) from None
    settings = [line for line in lines if line and not line.startswith("#")]
    for setting in settings:
        if "=" not in setting or " " in setting:
            raise InputError(f"{path}: {setting!r}: expected key=value")
    return settings


def reference(experiment: str) -> str:
    """The git reference of an experiment made from the present commit; empty when there is none."""
    head = git("rev-parse", "HEAD").decode().strip()
    return git("for-each-ref", "--format=%(refname)", f"refs/exps/{head[:2]}/{head[2:]}/{experiment}").decode().strip()


def unpack(revision: str, folder: Path) -> None:
    """Put what the experiment has in results/ into `folder`, in place of what was there."""
    archive = git("archive", "--format=tar", f"{revision}:results")
    shutil.rmtree(folder, ignore_errors=True)
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:  # extractall has a safe filter only from Python 3.11.4 on
            if file := tar.extractfile(member):
                path = folder / member.name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(file.read())


def table(metrics: Path) -> str:
    """Scores of the networks as a Markdown table."""
    scores: dict[str, dict[str, float]] = json.loads(metrics.read_text(encoding="utf-8"))
    names = list(next(iter(scores.values())))
    rows = [[network, *(f"{values[name]:.4f}" for name in names)] for network, values in scores.items()]
    return page.table(["test", *names], rows)


def dvc(*arguments: str, folder: Path | None = None) -> None:
    """Run DVC; its own messages have said what went wrong when it fails.

    Ctrl-C reaches DVC as well, and it gets the time to end: `subprocess.run` would kill it after a quarter of a second,
    and with it what it has put aside of the workspace until it is done. A second Ctrl-C kills it.
    """
    interrupts = 0

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        nonlocal interrupts
        interrupts += 1
        if interrupts > 1:
            raise KeyboardInterrupt

    with subprocess.Popen([sys.executable, "-m", "dvc", *arguments], cwd=folder, env=environment()) as process:
        before = signal.signal(signal.SIGINT, interrupt)
        try:
            failed = process.wait() != 0
        except KeyboardInterrupt:  # or SIGTERM, which reaches this process alone
            process.kill()
            raise
        finally:
            signal.signal(signal.SIGINT, before)
    if interrupts:
        raise KeyboardInterrupt
    if failed:
        raise InputError(f"dvc {arguments[0]} {arguments[1]} failed")


@contextmanager
def worktree() -> Iterator[Path]:
    """A git worktree of the present commit, with what is changed in tracked files, that uses the cache of this one.

    In a shallow clone DVC runs an experiment with --temp and then loses it without a word: git does not fetch from
    the temporary copy, which lacks the history and does not say so. In a worktree there is nothing to fetch. The states
    of training stay here, as DVC takes the worktree for the main workspace.

    Raises:
        InputError: another experiment runs in it.
    """
    folder, states = Path(".dvc", "tmp", "worktree").absolute(), Path(".checkpoints").absolute()
    with alone(folder):
        shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
        git("worktree", "prune")
        git("worktree", "add", "--force", "--detach", str(folder))
        try:
            if changes := git("diff", "--binary", "HEAD"):  # --temp has them too
                git("-C", str(folder), "apply", "--index", stdin=changes)
            dvc("cache", "dir", "--quiet", "--local", str(folder.parent.parent / "cache"), folder=folder)
            states.mkdir(exist_ok=True)
            (folder / states.name).symlink_to(states)
            yield folder
        finally:
            git("worktree", "remove", "--force", str(folder))
            git("update-ref", "-d", "refs/exps/exec/EXEC_HEAD")  # DVC's own trace of a run outside of --temp


def environment() -> dict[str, str]:
    """An environment for DVC in which git knows who commits: DVC makes a commit of every experiment.

    Where git has no user.name or user.email yet, a stand-in is put where the library that DVC uses looks for it. It
    stays there for DVC's worker, which outlives the command that starts it. The worker and the stages are found by name
    on PATH, and a path in CIFAR10_URL counts from here, wherever DVC runs.
    """
    variables = dict(os.environ)
    variables["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    if (place := os.environ.get("CIFAR10_URL")) and Path(place).exists():
        variables["CIFAR10_URL"] = str(Path(place).absolute())
    keys = ("user.name", "user.email")
    if not all(subprocess.run(["git", "config", key], capture_output=True, check=False).stdout.strip() for key in keys):
        config = Path(".dvc", "tmp", "identity", "git", "config").absolute()
        write_text(config, "[user]\n\tname = nobody\n\temail = nobody@localhost\n")
        variables["XDG_CONFIG_HOME"] = str(config.parent.parent)
    return variables


def git(*arguments: str, stdin: bytes = b"") -> bytes:
    try:
        return subprocess.run(["git", *arguments], input=stdin, check=True, capture_output=True).stdout
    except subprocess.CalledProcessError as error:
        raise InputError(f"git {arguments[0]}: {error.stderr.decode().strip()}") from None


if __name__ == "__main__":
    cli.run(main)
