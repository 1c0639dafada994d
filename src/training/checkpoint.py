"""The state of a training run on disk. A run that was stopped at any moment continues and gives the same bytes.

DVC removes the outputs of a stage before the stage starts, so the state is not an output. The state is in a folder of
the main workspace, also for experiments in temporary copies. The name of the folder is a digest of everything that
decides the result.
"""

import ast
import hashlib
import json
import os
import pickle
import re
import shutil
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from src.base.errors import InputError
from src.base.files import Lock, atomic_write, make_folder, write_text
from src.base.messages import say
from src.compute import processes

KEPT = 7 * 24 * 3600  # seconds after which an unused state is removed

Identity = dict[str, str]
"""What decides the result of a run, by name: code, parameters, inputs, device, PyTorch's version."""


class Checkpoint:
    """The newest state of one run: one stage with one set of parameters, inputs, code and device.

    Two processes can do the same run at the same time, for instance two experiments that share a stage. Both pass
    through the same states. The first process writes them. If it is killed, the other one writes.

    Args:
        stage: name of the stage.
        settings: everything that decides the result beside code and inputs: parameters, device, …, by name.
        inputs: the files that the stage reads; their content counts.
    """

    def __init__(self, stage: str, settings: Mapping[str, object], inputs: Iterable[Path]) -> None:
        self.stage = stage
        self.identity: Identity = {name: str(value) for name, value in settings.items()}
        self.identity |= {str(path): _digest(path.read_bytes()) for path in inputs} | _code()
        self.identity["the version of PyTorch"] = torch.__version__
        name = _digest(json.dumps(self.identity, sort_keys=True).encode())
        self.folder = Path(os.environ.get("DVC_ROOT", ".")) / ".checkpoints" / f"{stage}-{name}"
        self.path = self.folder / "state.pt"
        self._lock = Lock(self.folder / "lock")

    def save(self, state: dict[str, Any]) -> bool:
        """Replace the state on disk. A stop in the middle keeps the earlier state.

        Returns:
            whether the state was written: another process may be writing the states of this run.

        Raises:
            InputError: the state cannot be written, for instance on a full disk.
        """
        if not self._is_ours():
            return False
        write_text(self.folder / "run.json", json.dumps(self.identity, indent=2))
        with atomic_write(self.path) as temporary:
            try:
                torch.save(state, temporary)
            except RuntimeError as error:  # PyTorch does not pass on the cause
                reason = str(error).splitlines()[0]
                raise InputError(
                    f"{self.path}: cannot be written, is the disk full? ({reason}); free space, then try again"
                ) from None
        return True

    def load(self) -> dict[str, Any] | None:
        """The state on disk, on the CPU, or None at the start of a run. Only tensors and plain values are read.

        If this run has no state but a similar run has one, a line on stderr says why that state is not used.

        Raises:
            InputError: the file is damaged, or holds anything else.
        """
        if processes.is_first():
            self._tidy()
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
        except FileNotFoundError:  # no state yet, or another process has just completed the same run
            if processes.is_first() and (reason := self._unused()):
                say(f"{self.stage}: starts from the beginning; {reason}")
            return None
        except Exception as error:  # damaged archives raise exceptions of every kind
            # PyTorch explains at length how to run the code that a pickle may hold.
            reason = (
                "refused" if isinstance(error, pickle.UnpicklingError) else (str(error) or "damaged").splitlines()[0]
            )
            raise InputError(f"{self.path}: not a training state ({reason}); remove it to start again") from None
        if not isinstance(state, dict):
            raise InputError(f"{self.path}: not a training state (a {type(state).__name__}); remove it to start again")
        return state

    def remove(self) -> None:
        """Remove the state, after the outputs of the run were written."""
        if self._is_ours():
            shutil.rmtree(self.folder, ignore_errors=True)
            self._lock.release()

    def _is_ours(self) -> bool:
        """Whether this process writes the states of this run: take the lock, if no other process has it."""
        make_folder(self.folder)
        return self._lock.acquire()

    def _others(self) -> list[Path]:
        """The folders of other runs of this stage."""
        return [folder for folder in self.folder.parent.glob(f"{self.stage}-*") if folder != self.folder]

    def _tidy(self) -> None:
        """Remove temporary files of killed processes, and states of this stage that are older than `KEPT`.

        A state stays while a process has its lock.
        """
        if self._is_ours():
            for unfinished in self.folder.glob(".*.tmp"):
                with suppress(OSError):
                    unfinished.unlink()
        for folder in self._others():
            if not re.fullmatch(rf"{self.stage}(-[0-9a-f]{{16}}){{1,2}}", folder.name):
                continue  # not made by this project
            with suppress(OSError, InputError):  # just removed by another process, or of another user
                lock = Lock(folder / "lock")
                if time.time() - folder.stat().st_mtime > KEPT and lock.acquire():
                    say(f"{self.stage}: removes {folder}, a state that is older than a week")
                    shutil.rmtree(folder, ignore_errors=True)
                    lock.release()

    def _unused(self) -> str:
        """Why the state of the most similar other run cannot be used; empty when there is none."""
        candidates = []
        for folder in self._others():
            try:
                written = (folder / "state.pt").stat().st_mtime
            except OSError:
                continue
            try:
                there = json.loads((folder / "run.json").read_text(encoding="utf-8"))
            except (OSError, ValueError, RecursionError):
                there = None
            if isinstance(there, dict) and there:
                differing = sorted(name for name in self.identity | there if self.identity.get(name) != there.get(name))
            else:
                differing = ["the version of this project"]
            candidates.append((len(differing), -written, folder, differing))
        if not candidates:
            return ""
        count, written, folder, differing = min(candidates)
        day = time.strftime("%Y-%m-%d", time.localtime(KEPT - written))
        more = f" and {count - 3} more" if count > 3 else ""
        return (
            f"the state in {folder} is of a run that differs in {', '.join(differing[:3])}{more}; "
            f"it is kept until {day}; to continue from it, change these back"
        )


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _code() -> Identity:
    """The digest of each file of this project that this process has imported. Comments and docstrings do not count."""
    modules = [(name, module) for name, module in sys.modules.items() if name.split(".")[0] in ("src", "stages")]
    modules += [("__main__", sys.modules["__main__"])]
    files = {Path(file) for _, module in modules if (file := getattr(module, "__file__", None))}
    root = Path(__file__).parents[2]
    return {_name(file, root): _digest(_syntax(file).encode()) for file in sorted(files)}


def _name(file: Path, root: Path) -> str:
    return str(file.relative_to(root)) if file.is_relative_to(root) else file.name


def _syntax(file: Path) -> str:
    """The syntax tree of a file as text, without docstrings."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            del node.body[0]
    return ast.dump(tree)
