"""A copy of the project in which an experiment runs, so that the workspace, its branch and its index stay as they are.

The copy is a repository of its own that shares the objects of this one, so there is nothing to fetch and no name of a
folder to quote. It has the present commit, without a branch, and what is changed in tracked files. Its configuration
comes before whatever the user or the clone has set: no hooks, no signatures, no filters.
"""

import functools
import os
import shlex
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dvc.config import Config, ConfigError, merge
from dvc.config_schema import RelPath
from filelock import FileLock, Timeout

from src.base.errors import InputError
from src.base.files import make_folder

COPIES = Path(".dvc", "tmp", "experiment")

OURS = shlex.split("""
safe.directory=* core.hooksPath=/dev/null core.fsmonitor=false core.quotePath=false core.safecrlf=false
core.splitIndex=false add.ignoreErrors=false status.showUntrackedFiles=normal
""")
"""For git in this repository, while an experiment starts and ends."""
COPY = shlex.split("""
core.repositoryFormatVersion=0 core.bare=false core.logAllRefUpdates=true core.fsmonitor=false core.untrackedCache=false
core.splitIndex=false core.autocrlf=false core.safecrlf=false core.sparseCheckout=false
core.attributesFile=/dev/null core.excludesFile=/dev/null feature.manyFiles=false index.version=2 index.skipHash=false
index.sparse=false commit.gpgSign=false user.useConfigOnly=false gc.auto=0 maintenance.auto=false
""")
"""Configuration of a copy: what git's defaults are, and an index that the libraries of DVC can read."""
RAW = "* -text -filter -ident -working-tree-encoding\n"
"""Attributes of a copy: its files are the bytes that git keeps. The libraries of DVC apply no filters, as of LFS."""


def git(*arguments: str, stdin: bytes = b"", **variables: str) -> bytes:
    """The output of a git command. No GIT_DIR and the like, which git exports to hooks, and no hook has a say.

    Raises:
        InputError: the command failed.
    """
    command = ["git", *(word for setting in OURS for word in ("-c", setting)), *arguments]
    try:
        return subprocess.run(
            command, input=stdin, env=without_repository() | variables, check=True, capture_output=True
        ).stdout
    except subprocess.CalledProcessError as error:
        name = next(word for word in arguments if not word.startswith(("-", "/")))
        raise InputError(f"git {name}: {' '.join(error.stderr.decode(errors='replace').split())}") from None


def without_repository() -> dict[str, str]:
    """The environment without the variables that tie git to one repository."""
    return {name: value for name, value in os.environ.items() if name not in local_variables()}


@functools.cache
def local_variables() -> frozenset[str]:
    command = ["git", "rev-parse", "--local-env-vars"]
    return frozenset(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


def git_path(*arguments: str) -> Path:
    """A path that `git rev-parse` prints."""
    return Path(os.fsdecode(git("rev-parse", *arguments).removesuffix(b"\n"))).absolute()


def head() -> str:
    """The present commit of this project.

    Raises:
        InputError: the current folder is no project of DVC in a repository that DVC understands.
    """
    if not Path(".dvc").is_dir():
        raise InputError(f"{Path.cwd()}: no project of DVC; start in the folder that has dvc.yaml")
    try:
        commit = git("rev-parse", "--verify", "HEAD^{commit}").decode().strip()
    except InputError as error:
        raise InputError(
            f"{Path.cwd()}: no git commit here ({error}); clone the project, or commit its files"
        ) from None
    if len(commit) != 40:
        raise InputError(f"{Path.cwd()}: DVC cannot use this repository, which is not SHA-1; clone the project again")
    return commit


@contextmanager
def copy_of_project() -> Iterator[Path]:
    """Yield the folder of this project in a copy, which is removed at the end.

    The copy uses the cache of DVC, its configuration and the states of training of this workspace. Copies whose process
    was killed are removed first. A copy has a lock file beside it for as long as its process lives.
    """
    place = COPIES.absolute()
    make_folder(place)
    remove_abandoned(place)
    folder = place / uuid.uuid4().hex
    lock = FileLock(folder.with_suffix(".lock"), fallback_to_soft=False)
    try:
        lock.acquire(timeout=10)  # `remove_abandoned` of another experiment may have it for a moment
    except (NotImplementedError, OSError):  # no locks here; `remove_abandoned` then leaves the copy alone
        Path(lock.lock_file).touch()
    try:
        yield make_copy(folder)
    finally:
        remove(folder, lock)


def remove_abandoned(place: Path) -> None:
    for path in place.glob("*.lock"):
        lock = FileLock(path, fallback_to_soft=False)
        try:
            lock.acquire(blocking=False)
        except (Timeout, NotImplementedError, OSError):  # its process lives, or nobody can tell
            continue
        remove(path.with_suffix(""), lock)


def remove(folder: Path, lock: FileLock) -> None:
    """Remove a copy and its lock. What cannot be removed now is left to the next experiment."""
    shutil.rmtree(folder, ignore_errors=True)
    if not folder.exists():
        Path(lock.lock_file).unlink(missing_ok=True)
    lock.release()


def make_copy(folder: Path) -> Path:
    """Make the copy `folder` of the repository and return the folder of this project in it."""
    control, prefix = folder / ".git", os.fsdecode(git("rev-parse", "--show-prefix").removesuffix(b"\n"))
    for name in ("refs", "hooks", "info"):
        (control / name).mkdir(parents=True)
    (control / "objects").symlink_to(git_path("--git-path", "objects").resolve())
    if (shallow := git_path("--git-path", "shallow")).exists():
        shutil.copyfile(shallow, control / "shallow")
    (control / "HEAD").write_text(f"{head()}\n", encoding="utf-8")
    (control / "info" / "attributes").write_text(RAW, encoding="utf-8")
    name, email = identity()
    own = [f"user.name={name}", f"user.email={email}", f"core.hooksPath={control / 'hooks'}"]
    for setting in (*COPY, *file_system(), *own):
        git("config", "--file", str(control / "config"), *setting.split("=", 1))
    tree = snapshot(control / "snapshot")
    git("-C", str(folder), "read-tree", "--reset", "-u", tree)
    stand_in_for_submodules(folder, tree)
    project = folder / prefix
    configure_dvc(project)
    states = Path(".checkpoints").absolute()
    make_folder(states)
    (project / states.name).symlink_to(states)
    return project


def snapshot(index: Path) -> str:
    """The tree of the tracked files as they are in the workspace. `index` is a file for git to work with."""
    top = str(git_path("--show-toplevel"))
    if git("-C", top, "ls-files", "--unmerged"):
        raise InputError("a merge is not finished: resolve its conflicts (git status lists them), then try again")
    shutil.copy2(git_path("--git-path", "index"), index)  # with its time, by which git knows what it has to read again
    git("-C", top, "add", "--update", GIT_INDEX_FILE=str(index))
    tree = git("-C", top, "write-tree", "--missing-ok", GIT_INDEX_FILE=str(index)).decode().strip()
    index.unlink()
    return tree


def stand_in_for_submodules(folder: Path, tree: str) -> None:
    """Put an empty repository in the place of each submodule, or the libraries of DVC take it for a removed file."""
    for entry in git("ls-tree", "-r", "-z", "--full-tree", tree).split(b"\0"):
        if entry.startswith(b"160000 "):
            control = folder / os.fsdecode(entry.partition(b"\t")[2]) / ".git"
            for name in ("objects", "refs"):
                (control / name).mkdir(parents=True)
            (control / "HEAD").write_bytes(entry.split()[2] + b"\n")


def identity() -> tuple[str, str]:
    """Name and e-mail address of whoever commits, a stand-in where git does not know: DVC commits every experiment."""
    try:
        line = git("-c", "user.useConfigOnly=true", "var", "GIT_COMMITTER_IDENT").decode(errors="replace")
    except InputError:
        return "nobody", "nobody@localhost"
    name, _, rest = line.rpartition(" <")
    return name, rest.partition(">")[0]


def file_system() -> list[str]:
    """What git found out about this file system when the clone was made."""
    keys = ("core.fileMode", "core.symlinks", "core.ignoreCase", "core.precomposeUnicode")
    values = {key: git("config", "--default", "", "--get", key).decode().strip() for key in keys}
    return [f"{key}={value}" for key, value in values.items() if value]


def configure_dvc(project: Path) -> None:
    """Give the copy the configuration of this workspace. A path in a file of .dvc counts from there, also in the copy.

    Raises:
        InputError: DVC does not understand its configuration.
    """
    try:
        ours, theirs = (Config(str(folder / ".dvc")) for folder in (Path.cwd(), project))
        with theirs.edit("local") as settings:
            for level in ("repo", "local"):
                merge(settings, ours.read(level))
            if "dir" not in ours["cache"]:
                settings["cache"]["dir"] = RelPath(Path(".dvc", "cache").absolute())
    except ConfigError as error:
        raise InputError(f".dvc/config: {' '.join(str(error).split())}") from None
