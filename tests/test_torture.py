"""Contract 2: a stage that is stopped, in whatever way and at whatever moment, goes on to the same bytes.

The long form, a hundred stops, is `make torture`.
"""

from pathlib import Path

import pytest

from tests.torture import FULL_DISK, WHILE_WRITING, prepare


@pytest.mark.slow
def test_a_stage_that_is_stopped_again_and_again_ends_with_the_same_bytes(tmp_path: Path) -> None:
    torture = prepare(tmp_path / "a project", longest=10)
    for way in (FULL_DISK, WHILE_WRITING, "SIGKILL to DVC", "SIGINT to all"):
        torture.stop(way)
    torture.finish()
    curve = torture.bytes()["train_vgg11/plots/metrics/train/loss.tsv"].decode().splitlines()
    assert [row.split("\t")[0] for row in curve] == ["step", "1", "2", "3"]
    assert torture.project.status() == ""
