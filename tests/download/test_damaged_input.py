"""Random damage to each file that a stage reads: the stage refuses the file in one line or reads complete data."""

import bz2
import gzip
import io
import lzma
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from src.base import cli
from src.download import records
from src.download.records import RECORD_BYTES
from src.download.sources import download
from src.images import dataset
from src.images.format import ImageParams
from src.images.preprocessing import PreprocessParams, preprocess
from src.networks import model_file
from src.networks.initialization import build
from tests.conftest import FORMAT, coloured_squares
from tests.download.conftest import content_of
from tests.download.small_archives import (
    BINARY,
    COUNT,
    PARAMS,
    PYTHON,
    archive_of,
    binary_members,
    place,
    python_members,
    tar_of,
    zip_of,
)

FIXTURES = [HealthCheck.function_scoped_fixture]
many = settings(deadline=None, derandomize=True, suppress_health_check=FIXTURES)  # as many as the profile says
few = settings(many, max_examples=max(15, many.max_examples // 7))

Damage = Callable[[bytes], bytes]
place_in_file = st.floats(0, 1, exclude_max=True)  # as a share of the length of the file


def truncated(share: float) -> Damage:
    return lambda content: content[: int(share * len(content))]


def flipped(shares: list[float]) -> Damage:
    def flip(content: bytes) -> bytes:
        changed = bytearray(content)
        for share in shares:
            index, bit = divmod(int(share * len(content) * 8), 8)
            changed[index] ^= 1 << bit
        return bytes(changed)

    return flip


def overwritten(share: float, junk: bytes) -> Damage:
    def overwrite(content: bytes) -> bytes:
        start = int(share * len(content))
        return content[:start] + junk + content[start + len(junk) :]

    return overwrite


def longer(junk: bytes) -> Damage:
    return lambda content: content + junk


def relabelled(record: int) -> Damage:
    """Label 10 in one record. Random damage to a file of records rarely changes a label."""
    start = record * RECORD_BYTES
    return lambda content: content[:start] + bytes([10]) + content[start + 1 :]


junk = st.binary(min_size=1, max_size=64)
damage = st.one_of(
    place_in_file.map(truncated),
    st.lists(place_in_file, min_size=1, max_size=8).map(flipped),
    st.builds(overwritten, place_in_file, junk),
    junk.map(longer),
    # The first 0.2 %, where headers are, and the last 0.03 %, where a data set has its labels.
    st.lists(st.floats(0, 0.002), min_size=1, max_size=4).map(flipped),
    st.lists(st.floats(0.9997, 1, exclude_max=True), min_size=1, max_size=4).map(flipped),
)


def refusal(work: Callable[[], None]) -> str | None:
    """Run `work` as a stage does: the one line with which it ends, or None on success. No other exception may come."""
    with pytest.raises(SystemExit) as end:
        cli.run(work)
    if end.value.code == 0:
        return None
    assert isinstance(end.value.code, str)
    assert len(end.value.code.splitlines()) == 1
    return end.value.code


@pytest.fixture(autouse=True)
def _outside_dvc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside DVC, cli.run would start a thread per example."""
    monkeypatch.delenv("DVC_ROOT")
    monkeypatch.chdir(tmp_path)


def assert_refused_or_complete(folder: Path, archive: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Either one line, and nothing is left, or the records of CIFAR-10 to the bit."""
    raw = folder / "data" / "raw"
    place(folder, archive, monkeypatch)
    refused = refusal(lambda: download(raw, PARAMS))
    assert (content_of(raw) if raw.exists() else {}) == ({} if refused else binary_members())
    shutil.rmtree(raw, ignore_errors=True)
    assert [path.name for path in folder.iterdir() if path.name != "data"] == ["archive"]
    assert not (folder / "data").exists() or list((folder / "data").iterdir()) == []


ARCHIVES = [
    *(BINARY, PYTHON, gzip.decompress(BINARY), gzip.decompress(PYTHON)),
    *(bz2.compress(tar_of(python_members())), lzma.compress(tar_of(binary_members()), preset=0)),
    *(zip_of(python_members()), zip_of(binary_members(), zipfile.ZIP_DEFLATED)),
]


@many
@given(archive=st.sampled_from(ARCHIVES), change=damage)
def test_a_damaged_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, archive: bytes, change: Damage) -> None:
    assert_refused_or_complete(tmp_path, change(archive), monkeypatch)


@many
@given(name=st.sampled_from(sorted(binary_members())), change=damage)
def test_a_damaged_member(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, change: Damage) -> None:
    members = binary_members()
    assert_refused_or_complete(tmp_path, archive_of(members | {name: change(members[name])}), monkeypatch)


FOLDER = "cifar-10-batches-bin/"
names = st.one_of(
    st.sampled_from(sorted(binary_members())).map(lambda name: FOLDER + name),
    st.lists(st.sampled_from(["..", ".", "", "/", FOLDER, "data", "raw", "é", "a" * 120]), min_size=1).map("/".join),
)
members = st.builds(
    lambda name, kind, link, size: (name, kind, link, size),
    names,
    st.sampled_from([tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, b"\x7f"]),
    st.sampled_from(["", "../../evil", "/etc/passwd", FOLDER + "test_batch.bin"]),
    st.sampled_from([0, 1, 3073, COUNT * RECORD_BYTES, 10 * COUNT * RECORD_BYTES]),
)


def archive_with(extra: list[tuple[str, bytes, str, int]]) -> bytes:
    """The binary version after extra members of any name and kind. The content of the extra members is zeros."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, kind, link, size in extra:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size = kind, link, size if kind == tarfile.REGTYPE else 0
            tar.addfile(info, io.BytesIO(bytes(size)))
        for name, content in binary_members().items():
            info = tarfile.TarInfo(FOLDER + name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


@many
@given(extra=st.lists(members, min_size=1, max_size=3))
def test_hostile_members(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extra: list[tuple[str, bytes, str, int]]
) -> None:
    assert_refused_or_complete(tmp_path, archive_with(extra), monkeypatch)


def splits_of(raw: Path) -> tuple[dataset.Dataset, dataset.Dataset, dataset.Dataset]:
    """Training, validation and test split, as the stage makes them."""
    found = records.read(raw, "cifar10")
    params, image = PreprocessParams(validation=20, fraction=1.0), ImageParams(resize=32, crop=32, pixel_scale=1)
    train, validation = preprocess(
        found.train_images, found.train_labels, found.classes, params=params, image=image, seed=0
    )
    return train, validation, dataset.Dataset.from_arrays(found.test_images, found.test_labels, train.format)


@many
@given(name=st.sampled_from(sorted(binary_members())), change=damage | st.integers(0, COUNT - 1).map(relabelled))
def test_damaged_records(tmp_path: Path, name: str, change: Damage) -> None:
    raw = tmp_path / "raw"
    raw.mkdir(exist_ok=True)
    members = binary_members()
    for file, content in (members | {name: change(members[name])}).items():
        (raw / file).write_bytes(content)
    splits: list[dataset.Dataset] = []
    refused = refusal(lambda: splits.extend(splits_of(raw)))
    if refused:
        assert str(raw / name) in refused
    else:
        assert [len(split) for split in splits] == [80, 20, 20]
        assert all(split.labels.max() <= 9 for split in splits)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a file that `dataset.save` wrote, and one that `model_file.save` wrote."""
    folder = tmp_path_factory.mktemp("saved")
    dataset.save(folder / "data", coloured_squares(20))
    network = build("A", FORMAT, seed=0, init="none", init_std=0.01, dropout=0)
    model_file.save(folder / "model", model_file.Model(network, FORMAT))
    return folder


@many
@given(change=damage)
def test_a_damaged_data_set(tmp_path: Path, saved: Path, change: Damage) -> None:
    path = tmp_path / "data"
    path.write_bytes(change((saved / "data").read_bytes()))
    loaded: list[dataset.Dataset] = []
    if not refusal(lambda: loaded.append(dataset.load(path))):
        (data,) = loaded
        assert data.images.shape == (20, 3, 32, 32)
        assert data.labels.max() < len(data.format.classes)


@few
@given(
    change=st.one_of(
        place_in_file.map(truncated),
        st.lists(st.floats(0, 3e-5), min_size=1, max_size=4).map(flipped),
        st.builds(overwritten, st.floats(0, 3e-5), junk),
    )
)
def test_a_damaged_model(tmp_path: Path, saved: Path, change: Damage) -> None:
    """The header has about 3 kB of 112 MB. Damage after the header changes a weight."""
    path = tmp_path / "model"
    path.write_bytes(change((saved / "model").read_bytes()))
    loaded: list[model_file.Model] = []
    if not refusal(lambda: loaded.append(model_file.load(path))):
        (model,) = loaded
        assert sum(weight.numel() for weight in model.network.parameters()) == 28_144_010
