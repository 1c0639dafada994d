"""The state of a training run on disk: a run can be stopped at any moment and continues to the same bytes.

DVC removes the outputs of a stage before the stage starts, so the state is not an output. It lies in a folder of the
main workspace, also for experiments in temporary copies. The folder is named after everything that decides the result.
"""

import hashlib
import os
import shutil
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from src.base.errors import InputError
from src.base.files import atomic_write

KEPT = 7 * 24 * 3600  # seconds after which an unused state is removed


class Checkpoint:
    """The newest state of one run: one stage with one set of parameters, inputs, code and device.

    Two processes can do the same run at the same time, for instance two experiments that share a stage. Both pass
    through the same states. The first process writes them. If it is killed, the other one writes.

    Args:
        stage: name of the stage.
        settings: everything else that decides the result, as text: parameters, device, …
        inputs: the files that the stage reads; their content counts.
    """

    def __init__(self, stage: str, settings: Iterable[str], inputs: Iterable[Path]) -> None:
        code = _digest([torch.__version__], _code())
        run = _digest(settings, inputs)
        self.folder = Path(os.environ.get("DVC_ROOT", ".")) / ".checkpoints" / f"{stage}-{code}-{run}"
        self.path = self.folder / "state.pt"
        self._lock = FileLock(self.folder / "lock", blocking=False)

    def save(self, state: dict[str, Any]) -> bool:
        """Replace the state on disk. A stop in the middle keeps the earlier state.

        Returns:
            whether the state was written: another process may be writing the states of this run.

        Raises:
            OSError: it cannot be written, for instance on a full disk.
        """
        if not self._is_ours():
            return False
        with atomic_write(self.path) as temporary:
            try:
                torch.save(state, temporary)
            except RuntimeError as error:  # PyTorch does not pass on the cause
                reason = str(error).splitlines()[0]
                raise OSError(f"{self.path}: cannot be written, is the disk full? ({reason})") from None
        return True

    def load(self) -> dict[str, Any] | None:
        """The state on disk, on the CPU, or None at the start of a run. Only tensors and plain values are read.

        Raises:
            InputError: the file is damaged, or holds anything else.
        """
        self._tidy()
        try:
            state: dict[str, Any] = torch.load(self.path, map_location="cpu", weights_only=True)
        except FileNotFoundError:  # no state yet, or another process has just completed the same run
            return None
        except Exception as error:  # damaged archives raise exceptions of every kind
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise InputError(f"{self.path}: no training state ({reason}); remove it to start again") from None
        return state

    def remove(self) -> None:
        """Remove the state, after the outputs of the run were written."""
        if self._is_ours():
            shutil.rmtree(self.folder, ignore_errors=True)
            self._lock.release()

    def _is_ours(self) -> bool:
        """Whether this process writes the states of this run: take the lock, if no other process has it."""
        if not self._lock.is_locked:
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                self._lock.acquire()
            except Timeout:
                return False
        return True

    def _tidy(self) -> None:
        """Remove temporary files of killed processes, and states of this stage that no run will use.

        Those are states of other code, and states that are older than `KEPT`, unless a process has their lock.
        """
        if self._is_ours():
            for unfinished in self.folder.glob(f".{self.path.name}.*"):
                unfinished.unlink()
        stage_and_code, _, _ = self.folder.name.rpartition("-")
        stage, _, _ = stage_and_code.rpartition("-")
        for folder in self.folder.parent.glob(f"{stage}-*-*"):
            other_code = not folder.name.startswith(f"{stage_and_code}-")
            try:
                if folder == self.folder or not (other_code or time.time() - folder.stat().st_mtime > KEPT):
                    continue
                with FileLock(folder / "lock", blocking=False):
                    shutil.rmtree(folder, ignore_errors=True)
            except (Timeout, FileNotFoundError):
                pass  # in use, or just removed by another process


def _digest(texts: Iterable[str], files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode() + b"\0")
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def _code() -> list[Path]:
    """The files of this project that this process has imported, in a fixed order."""
    files = (getattr(module, "__file__", None) for name, module in sys.modules.items() if _is_of_project(name))
    main = getattr(sys.modules["__main__"], "__file__", None)
    return sorted({Path(file) for file in (*files, main) if file})


def _is_of_project(module: str) -> bool:
    return module.split(".")[0] in ("src", "stages")
