"""The scores of each epoch of training, as DVCLive wrote them."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from src.base.errors import InputError

TABLES = tuple(f"{split}/{metric}" for split in ("train", "validation") for metric in ("loss", "accuracy"))


def read_history(folder: Path) -> dict[str, NDArray[np.float64]]:
    """DVCLive's tables of one training run, by name (`TABLES`): float64 [epochs, 2], the epoch and the value.

    Raises:
        InputError: a table is missing or empty, has a value that is not finite, or has epochs that are not consecutive
            or not those of the other tables.
    """
    tables: dict[str, NDArray[np.float64]] = {}
    for name in TABLES:
        path = folder / f"{name}.tsv"
        try:
            rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()[1:]]
            epochs, values = np.array(rows, dtype=np.float64).T
            if not np.isfinite(values).all() or values.min() < 0 or (name.endswith("accuracy") and values.max() > 1):
                raise ValueError("a value is out of range")
            if epochs[0] not in (0, 1) or (np.diff(epochs) != 1).any():
                raise ValueError("the epochs are not consecutive")
            if tables and len(epochs) != len(tables[TABLES[0]]):
                raise ValueError(f"other epochs than {TABLES[0]}.tsv")
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: not a table of epochs and values ({error}); run `dvc repro`") from None
        tables[name] = np.stack([epochs, values], axis=1)
    return tables
