"""The scores of each epoch as DVCLive writes them, for `dvc plots show` and for `evaluate`."""

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from dvclive.live import Live

from src.base.errors import InputError
from src.base.files import locked, named
from src.compute import processes


@contextmanager
def write_history(folder: Path) -> Iterator[Callable[[int, Mapping[str, float]], None]]:
    """Yield `log(epoch, scores)`, which appends one row per score to `folder`/plots/metrics/<name>.tsv.

    `folder`/metrics.json always holds the last epoch. Earlier content of the folder is removed. With several processes
    only the first one writes.

    Raises:
        InputError: another run is writing into the folder.
    """
    if not processes.is_first():
        yield lambda _epoch, _scores: None
        return
    # Without these two arguments, DVCLive edits dvc.yaml while DVC runs it, and saves an experiment of its own.
    os.environ.pop("DVCLIVE_RESUME", None)  # it would keep the rows of an earlier run
    with locked(folder):
        try:
            with named(folder):
                live = Live(str(folder), dvcyaml=None, save_dvc_exp=False)
        except sqlite3.Error as error:
            raise InputError(f"{folder}: DVC cannot write its state ({error}); free space, then try again") from None

        def log(epoch: int, scores: Mapping[str, float]) -> None:
            with named(folder):
                live.step = epoch
                for name, value in scores.items():
                    live.log_metric(name, value)
                live.make_summary()  # type: ignore[no-untyped-call]

        yield log
        with named(folder):  # not after an exception, which another one would hide
            live.end()  # type: ignore[no-untyped-call]
