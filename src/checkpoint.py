"""The state of a training run on disk, so that it can be stopped at any moment and go on exactly.

DVC removes the outputs of a stage before it starts, so the state lives outside them, in a folder of the main
workspace (which is also there for experiments in temporary copies), named after everything that decides the result.
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

from src.errors import InputError
from src.files import whole

KEPT = 7 * 24 * 3600  # seconds after which the state of a run that was given up is removed


class Checkpoint:
    """The newest training state of one run: of one stage with one set of parameters, inputs, code and machine.

    Two processes can be at the same run at once, for instance two experiments that share a stage. Both pass through
    the same states, so the first one writes for both, and when it ends early the other goes on writing.

    Args:
        stage: name of the stage.
        settings: everything else that decides the result, as text: parameters, device, …
        inputs: the files the stage reads; their content counts.
    """

    def __init__(self, stage: str, settings: Iterable[str], inputs: Iterable[Path]) -> None:
        code = _digest([torch.__version__], _code())
        run = _digest(settings, inputs)
        self.folder = Path(os.environ.get("DVC_ROOT", ".")) / ".checkpoints" / f"{stage}-{code}-{run}"
        self.path = self.folder / "state.pt"
        self._lock = FileLock(self.folder / "lock", blocking=False)

    def save(self, state: dict[str, Any]) -> bool:
        """Replace the state on disk; a stop in the middle leaves the one before.

        Returns:
            whether it was written: not while another process writes the states of this run.

        Raises:
            OSError: it cannot be written, for instance on a full disk.
        """
        if not self._is_ours():
            return False
        with whole(self.path) as temporary:
            try:
                torch.save(state, temporary)
            except RuntimeError as error:  # PyTorch's writer knows that it failed, not why
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
        except FileNotFoundError:  # perhaps since a moment ago, when another process came to the end of the same run
            return None
        except Exception as error:  # damaged archives raise exceptions of every kind
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise InputError(f"{self.path}: no training state ({reason}); remove it to start again") from None
        return state

    def remove(self) -> None:
        """Forget the run, once its outputs are written."""
        if self._is_ours():
            shutil.rmtree(self.folder, ignore_errors=True)
            self._lock.release()

    def _is_ours(self) -> bool:
        """Whether this process writes the states of this run; it does from the first time that no other one does."""
        if not self._lock.is_locked:
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                self._lock.acquire()
            except Timeout:
                return False
        return True

    def _tidy(self) -> None:
        """Remove what killed processes left, and states of this stage that no run will go on from.

        These are, unless a process is at them: states of other code, and those that are older than `KEPT`.
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
                pass  # in use, or removed by another process just now


def _digest(texts: Iterable[str], files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode() + b"\0")
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def _code() -> list[Path]:
    """The files of this project that the process has imported, in a fixed order."""
    files = (getattr(module, "__file__", None) for name, module in sys.modules.items() if _is_of_project(name))
    main = getattr(sys.modules["__main__"], "__file__", None)
    return sorted({Path(file) for file in (*files, main) if file})


def _is_of_project(module: str) -> bool:
    return module.split(".")[0] in ("src", "stages")
