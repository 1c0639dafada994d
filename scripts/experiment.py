"""Run the pipeline with the values of a preset, as a DVC experiment, and put its results into a folder.

    python -m scripts.experiment presets/demo demo

The workspace stays as it is: DVC runs the experiment in a copy of the files that git tracks. A preset has one
`key=value` a line. `dvc exp apply NAME` brings the experiment into the workspace.
"""

import argparse
import getpass
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import yaml

from scripts import markdown, results
from scripts.parameters import parameters, plain, read_preset
from scripts.workspace import copy_of_project, git, head, without_repository
from src.base import cli
from src.base.errors import InputError
from src.base.params import flat

RUN_DVC = "; ".join(
    (  # DVC ends when this process is killed, and with it the stages
        "import os, sys",
        "sys.path.insert(0, sys.argv.pop(1))",
        "from src.base.cli import end_with",
        "del sys.path[0]",
        "end_with(os.getppid())",
        "from dvc.cli import main",
        "sys.exit(main())",
    )
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", type=Path, help="a file of key=value lines")
    parser.add_argument(
        "folder",
        type=Path,
        nargs="?",
        help="where the results go, in place of earlier results; default: experiments/ and the name of the preset",
    )
    arguments = parser.parse_args()
    name, settings = arguments.preset.name, read_preset(arguments.preset)
    folder = arguments.folder or Path("experiments", name)
    head()  # before any work
    check_folder(folder)
    run_experiment(name, settings, results_in=folder)
    print(f"\n{table(folder / 'evaluate')}\n")
    print(f"Pictures, curves and reports: {folder}/ (start with {folder}/evaluate/curves.png).")
    print(f"To use VGG16: make predict MODEL={folder}/models/vgg16.safetensors IMAGES='a picture'")
    print(f"The workspace is as it was. The experiment is kept as `{name}`: dvc exp show, dvc exp apply {name}.")


def run_experiment(
    name: str,
    settings: Iterable[str],
    output: list[str] | None = None,
    results_in: Path | None = None,
    stages: Iterable[str] = (),
) -> str:
    """Run the pipeline with `key=value` settings as the DVC experiment `name`, in place of an earlier one of that name.

    Args:
        stages: only these stages and those before them. The experiment keeps the results of HEAD of all others.
        output: gets the lines that DVC and the stages print, as in `dvc`.
        results_in: a folder that gets the results and the models, in place of earlier ones.

    Returns:
        the commit of the experiment.

    Raises:
        InputError: the name cannot be one of an experiment, DVC failed, or did not keep the experiment.
    """
    start = head()
    reference = f"refs/exps/{start[:2]}/{start[2:]}/{name}"
    try:
        git("check-ref-format", reference.replace(name, name.replace("/", "\\")))  # DVC has no / in a name
    except InputError:
        raise InputError(f"{name!r}: git does not allow this name for an experiment; rename the preset") from None
    with copy_of_project() as folder:
        values = [f"--set-param={setting}" for setting in settings]
        dvc("exp", "run", "--name", name, *values, *stages, folder=folder, output=output)
        try:
            commit = git("-C", str(folder), "rev-parse", "--verify", reference).decode().strip()
        except InputError:
            raise InputError(
                f"DVC ran the experiment `{name}` and did not keep it; run `dvc exp run` with -v to see why"
            ) from None
        earlier = git("for-each-ref", "--format=%(objectname)", reference).decode().strip()
        git("update-ref", reference, commit)
        if results_in:
            unpack(commit, results_in, folder / "models")
    if earlier not in ("", commit):
        print(f"`{name}` takes the place of an earlier experiment: `git branch NAME {earlier[:10]}` keeps that one")
    return commit


def check_folder(folder: Path) -> None:
    """Find out, before any work, that results can be put into a folder.

    Raises:
        InputError: they cannot, as in `results.written`, or the folder belongs to the code.
    """
    results.written(folder)
    place, project = folder.resolve(), Path.cwd().resolve()
    if place.is_relative_to(project):
        top = [*place.relative_to(project).parts, ""][0]
        if top == ".git" or git("ls-files", "--", f":(literal){top}"):
            raise InputError(f"{folder}: in a folder of this project; name another one, such as experiments/NAME")
    paths = (folder.absolute(), *folder.absolute().parents)
    above = next(path for path in paths if path.exists() or path.is_symlink())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise InputError(f"{above}: no folder can be made here; name another one")


class Experiment(NamedTuple):
    commit: str
    parameters: dict[str, float | str]  # as `parameters` gives them
    stages: set[str]  # whose results are of these parameters; others were not run


def experiments() -> list[Experiment]:
    """The experiments of this clone, whatever commit they started from, the newest last.

    One without `results/evaluate/fusion.json` is of an older pipeline, and left out.
    """
    references = git("for-each-ref", "--sort=creatordate", "--format=%(objectname) %(refname)", "refs/exps").decode()
    # refs/exps/<2 digits>/<38 digits>/<name> is an experiment; DVC keeps its queue and more beside them.
    commits = re.findall(r"^(\w+) refs/exps/\w{2}/\w{38}/[^/\n]+$", references, re.MULTILINE)
    files = ("results/evaluate/fusion.json", "dvc.lock")
    return [read_experiment(commit) for commit in commits if git("ls-tree", commit, *files).count(b"\n") == len(files)]


@cache  # a commit does not change
def read_experiment(commit: str) -> Experiment:
    """The experiment of a commit, from its params.yaml and dvc.lock."""
    values = parameters(git("cat-file", "blob", f"{commit}:./params.yaml"))
    lock = yaml.safe_load(git("cat-file", "blob", f"{commit}:./dvc.lock"))["stages"]
    return Experiment(commit, values, current_stages(lock, values))


def current_stages(lock: dict[str, Any], values: dict[str, float | str]) -> set[str]:
    """The stages that dvc.lock records with these parameters and with the present outputs of the stages before them.

    `dvc exp run STAGE` leaves later stages, and what they wrote, as they were.
    """
    made = {out["path"]: (name, out) for name, stage in lock.items() for out in stage.get("outs", ())}

    @cache
    def current(name: str) -> bool:
        params = lock[name].get("params", {}).get("params.yaml", {})
        same = all(values.get(key) == plain(value) for key, value in flat(params).items())
        inputs = [(dep.get("md5"), *made[dep["path"]]) for dep in lock[name].get("deps", ()) if dep["path"] in made]
        return same and all(md5 == out.get("md5") and current(maker) for md5, maker, out in inputs)

    return {name for name in lock if current(name)}


def unpack(revision: str, folder: Path, models: Path | None = None) -> None:
    """Put what the experiment has in results/ into `folder`, in place of earlier results.

    Args:
        models: a folder of models, which are copied to `folder`/models.
    """
    trained = models.glob("*.safetensors") if models else ()
    files: dict[str, bytes | Path] = {f"models/{path.name}": path for path in trained}
    for entry in git("ls-tree", "-r", "-z", "--full-tree", f"{revision}:./results").split(b"\0")[:-1]:
        (_mode, kind, blob), name = entry.split(b"\t", 1)[0].split(), os.fsdecode(entry.split(b"\t", 1)[1])
        if kind == b"blob":
            files[name] = git("cat-file", "blob", blob.decode())
    results.replace(folder, files)


def table(folder: Path) -> str:
    """The scores that `evaluate` wrote into a folder, as a Markdown table."""
    scores = {name: json.loads((folder / f"{name}.json").read_bytes()) for name in results.TESTED}
    columns = list(dict.fromkeys(column for values in scores.values() for column in values))
    rows = [
        [name, *(f"{values[column]:.4f}" if column in values else "-" for column in columns)]
        for name, values in scores.items()
    ]
    return markdown.table(["test", *columns], rows)


def dvc(*arguments: str, folder: Path | None = None, output: list[str] | None = None) -> None:
    """Run DVC. When it fails, its own messages have said what went wrong.

    Ctrl-C reaches DVC as well, and DVC gets the time to end: `subprocess.run` would kill it after a quarter of a
    second, and with it what DVC has put aside of the workspace until it is done. A second Ctrl-C kills it.

    Args:
        output: gets the lines of stdout and stderr, which are shown as they come. Through this pipe DVC and the stages
            print lines instead of progress bars.

    Raises:
        InputError: DVC failed.
        KeyboardInterrupt: Ctrl-C was pressed.
    """
    interrupts = 0

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        nonlocal interrupts
        interrupts += 1
        if interrupts == 2:  # once: another one must not end the lines that kill DVC
            raise KeyboardInterrupt

    variables = environment(folder or Path())
    if output is not None:
        variables["PYTHONUNBUFFERED"] = "1"  # into a pipe Python would write stdout late, after stderr
    before = signal.signal(signal.SIGINT, interrupt)
    try:
        with subprocess.Popen(
            [sys.executable, "-c", RUN_DVC, str(Path(__file__).absolute().parent.parent), *arguments],
            cwd=folder,
            env=variables,
            stdout=None if output is None else subprocess.PIPE,
            stderr=None if output is None else subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        ) as process:
            try:
                for line in process.stdout or ():
                    print(line, end="", flush=True)
                    if output is not None:
                        output.append(line)
                failed = process.wait() != 0
            except KeyboardInterrupt:  # or SIGTERM, which reaches this process alone
                process.kill()
                raise
    finally:
        signal.signal(signal.SIGINT, before)
    if interrupts:
        raise KeyboardInterrupt
    if failed:
        raise InputError(f"dvc {' '.join(arguments[:2])} failed")


def environment(folder: Path) -> dict[str, str]:
    """An environment for DVC in the copy `folder` of the project.

    The copy has the user's name and e-mail address in its configuration, and is the only repository. The stages are
    found by name on PATH. What DVC remembers of the copy goes with it.
    """
    variables = {
        name: value
        for name, value in without_repository().items()
        if not name.startswith(("GIT_AUTHOR_", "GIT_COMMITTER_"))
    }
    variables["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    variables["DVC_ROOT"] = str(Path.cwd())  # relative paths of the user count from here, as under `dvc exp run --temp`
    variables["DVC_SITE_CACHE_DIR"] = str(folder.absolute() / ".dvc" / "tmp" / "site")
    try:
        getpass.getuser()
    except (KeyError, OSError):  # no such user, as under `docker run --user 1234`; DVC wants a name
        variables["USER"] = str(os.getuid())
    return variables


if __name__ == "__main__":
    cli.run(main)
