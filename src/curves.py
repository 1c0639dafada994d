"""Scores by epoch, as DVC shows them: `dvc plots show`, `dvc metrics diff`."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from dvclive.live import Live

from src import distributed
from src.files import alone


@contextmanager
def curves(folder: Path) -> Iterator[Callable[[int, Mapping[str, float]], None]]:
    """Yield `log(epoch, scores)`, which adds a row to `folder`/plots/metrics/<name>.tsv for each score.

    `folder`/metrics.json always holds the last epoch. Whatever was in the folder before is removed. Of the processes of
    one run the first alone writes.

    Raises:
        InputError: another run is writing there.
    """
    if not distributed.is_first():
        yield lambda _epoch, _scores: None
        return
    # Without these two, DVCLive edits dvc.yaml while DVC runs it, and saves an experiment of its own.
    with alone(folder), Live(str(folder), dvcyaml=None, save_dvc_exp=False) as live:

        def log(epoch: int, scores: Mapping[str, float]) -> None:
            live.step = epoch
            for name, value in scores.items():
                live.log_metric(name, value)
            live.make_summary()

        yield log
