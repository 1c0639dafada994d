"""The state of a training run on disk, so that it can be stopped at any moment and go on exactly.

DVC removes the outputs of a stage before it starts, so the state lives outside them, in a folder of the main
workspace (which is also there for experiments in temporary copies), named after everything that decides the result.
"""

import hashlib
import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from src.errors import InputError
from src.files import whole


class Checkpoint:
    """The newest training state of one run: of one stage with one set of parameters, inputs, code and machine.

    Args:
        stage: name of the stage.
        settings: everything else that decides the result, as text: parameters, device, …
        inputs: the files the stage reads; their content counts.
    """

    def __init__(self, stage: str, settings: Iterable[str], inputs: Iterable[Path]) -> None:
        digest = hashlib.sha256()
        for text in (stage, torch.__version__, *settings):
            digest.update(text.encode() + b"\0")
        for path in (*inputs, *_code()):
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        self.folder = Path(os.environ.get("DVC_ROOT", ".")) / ".checkpoints" / f"{stage}-{digest.hexdigest()[:16]}"
        self.path = self.folder / "state.pt"

    def save(self, state: dict[str, Any]) -> None:
        """Replace the state on disk; a stop in the middle leaves the one before."""
        with whole(self.path) as temporary:
            torch.save(state, temporary)

    def load(self) -> dict[str, Any] | None:
        """The state on disk, on the CPU, or None at the start of a run. Only tensors and plain values are read.

        Raises:
            InputError: the file is damaged, or holds anything else.
        """
        if not self.path.exists():
            return None
        try:
            state: dict[str, Any] = torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception as error:  # damaged archives raise exceptions of every kind
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise InputError(f"{self.path}: no training state ({reason}); remove it to start again") from None
        return state

    def remove(self) -> None:
        """Forget the run, once its outputs are written."""
        shutil.rmtree(self.folder, ignore_errors=True)  # with what a killed process had begun to write


def _code() -> list[Path]:
    """The files of this project that the process has imported, in a fixed order."""
    files = (getattr(module, "__file__", None) for name, module in sys.modules.items() if _is_ours(name))
    main = getattr(sys.modules["__main__"], "__file__", None)
    return sorted({Path(file) for file in (*files, main) if file})


def _is_ours(module: str) -> bool:
    return module.split(".")[0] in ("src", "stages")
