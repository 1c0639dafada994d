"""params.yaml: what is read, and how wrong values are refused."""

import re
from pathlib import Path

import pytest
import yaml
from dvc.utils.hydra import apply_overrides

from scripts.parameters import read_preset
from src.base.errors import InputError
from src.base.params import KEYS, Part, Section, load
from stages import evaluate, inspect_init, preprocess, train_vgg11, train_vgg16
from tests.defaults import DEFAULTS, STAGES


def changed(folder: Path, old: str, new: str) -> Path:
    """The default parameters with one line changed, as a file."""
    assert f"\n{old}" in DEFAULTS
    path = folder / "params.yaml"
    path.write_text(DEFAULTS.replace(f"\n{old}", f"\n{new}", 1), encoding="utf-8")
    return path


def with_preset(folder: Path, preset: Path) -> Path:
    """The default parameters with the values of a preset, as a file that DVC has changed."""
    path = folder / "params.yaml"
    path.write_text(DEFAULTS, encoding="utf-8")
    apply_overrides(path, read_preset(preset))
    return path


@pytest.mark.parametrize("stage", STAGES)
def test_the_parameters_are_valid(stage: str) -> None:
    load(STAGES[stage])


def test_the_tests_have_all_parameters() -> None:
    tests, project = yaml.safe_load(DEFAULTS), yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    assert tuple(tests) == tuple(project) == KEYS
    for key, value in tests.items():
        if isinstance(value, dict):
            assert list(value) == list(project[key])


def test_the_preset_original_is_the_earlier_implementation(tmp_path: Path) -> None:
    path = with_preset(tmp_path, Path("presets", "original"))
    params, image = load(train_vgg16.Params, path), load(preprocess.Params, path).image
    assert (params.init, params.init_std, params.dropout, params.batch_size) == ("normal", 0.01, 0.5, 256)
    assert (params.optimizer.name, params.optimizer.lr, params.train_vgg16.epochs) == ("adam", 1e-4, 30)
    assert load(train_vgg11.Params, path).train_vgg11.epochs == 40
    assert (image.resize, image.crop, image.pixel_scale) == (256, 224, 1)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("batch_size: 256", "batchsize: 256", "batchsize: unknown parameter; did you mean batch_size?"),
        ("batch_size: 256", "", "batch_size: missing; CHANGELOG.md says what to write for keys that are new"),
        ("evaluate:", "#", "evaluate: missing; CHANGELOG.md says what to write"),
        ("batch_size: 256", "batch_size: 256\nzzz: 1", "zzz: unknown parameter; known: seed, dataset"),
        ("batch_size: 256", "batch_size: 0", "batch_size: 0: Input should be greater than or equal to 1"),
        ("batch_size: 256", f"batch_size: {10**20}", f"batch_size: {10**20}: Input should be less than 2147483648"),
        ("batch_size: 256", "batch_size: 256.5", "batch_size: 256.5: Input should be a valid integer"),
        ("batch_size: 256", "batch_size: true", "batch_size: True: Input should be a valid integer"),
        ("batch_size: 256", "batch_size: 0256x", "batch_size: '0256x': Input should be a valid integer"),
        ("batch_size: 256", "batch_size: 1:30", "batch_size: '1:30': Input should be a valid integer"),
        ("batch_size: 256", "batch_size:", "batch_size: None: Input should be a valid integer"),
        ("  lr: 0.0001", "  lr: fast", "optimizer.lr: 'fast': Input should be a valid number"),
        ("  lr: 0.0001", "  lr: .inf", "optimizer.lr: inf: Input should be a finite number"),
        ("  lr: 0.0001", "  lr: 1e999", "optimizer.lr: inf: Input should be a finite number"),
        ("  lr: 0.0001", "  lr: -1e-4", "optimizer.lr: -0.0001: Input should be greater than 0"),
        (
            "  lr: 0.0001",
            "  learning_rate: 0.0001",
            "optimizer.lr: missing; optimizer.learning_rate: unknown parameter",
        ),
        ("  momentum: 0.0", "  momentun: 0.0", "optimizer.momentum: missing; optimizer.momentun: unknown"),
        ("init: normal", "init: no", "init: 'no': Input should be 'normal', 'none', 'xavier' or 'kaiming'"),
        ("init: normal", "init: null", "init: None: Input should be 'normal', 'none', 'xavier' or 'kaiming'"),
        ("  flip: false", "  flip: no", "augment.flip: 'no': Input should be a valid boolean"),
        (
            "  network: A",
            "  network: F",
            "train_vgg11.network: 'F': Input should be 'A', 'A-LRN', 'B', 'C', 'D' or 'E'",
        ),
        ("seed: 0", "seed: 0\nseed: 1", "not valid YAML: key 'seed' twice"),
        ("seed: 0", "seed: [", "not valid YAML: "),
        ("seed: 0", "1: 0", "not valid YAML: key 1 is not a word"),
        ("seed: 0", "seed: !!python/object:os.system 0", "not valid YAML: "),
    ],
)
def test_wrong_values_are_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = changed(tmp_path, old, new)
    with pytest.raises(InputError) as error:
        load(train_vgg11.Params, path)
    assert str(error.value).startswith(f"{path}: {message}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-05", 1e-5), ("1E-5", 1e-5), ("0.00001", 1e-5), ("1.", 1.0), ("+.5", 0.5), ("010", 10), ("2", 2)],
)
def test_numbers_are_those_of_yaml_1_2(tmp_path: Path, text: str, value: float) -> None:
    """`dvc exp run -S optimizer.eps=1e-5` writes 1e-05, which PyYAML alone reads as a string."""
    params = load(train_vgg11.Params, changed(tmp_path, "  eps: 1.0e-8", f"  eps: {text}"))
    assert params.optimizer.eps == value


@pytest.mark.parametrize("content", ["", "- 1", "text", "\x00", "a: &a [*a]"])
def test_files_that_are_no_parameters(tmp_path: Path, content: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError) as error:
        load(train_vgg11.Params, path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("crop", "message"),
    [
        ("64", "image.crop: 64: expected at most resize, which is 32"),
        ("100", "image.crop: 100: expected a multiple of 32"),
        ("0", "image.crop: 0: Input should be greater than or equal to 32"),
    ],
)
def test_impossible_crops_are_named(tmp_path: Path, crop: str, message: str) -> None:
    path = changed(tmp_path, "  crop: 32", f"  crop: {crop}")
    with pytest.raises(InputError, match=re.escape(message)):
        load(preprocess.Params, path)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not found; run the command in the root of the project"):
        load(train_vgg11.Params, tmp_path / "params.yaml")


def test_a_stage_reads_only_its_keys(tmp_path: Path) -> None:
    """A wrong value that belongs to another stage is that stage's matter."""
    path = changed(tmp_path, "batch_size: 256", "batch_size: wrong")
    load(evaluate.Params, path)
    load(inspect_init.Params, path)


def test_a_part_ignores_the_rest_of_its_section(tmp_path: Path) -> None:
    class Eps(Part):
        eps: float

    class Params(Section):
        optimizer: Eps

    params = load(Params, changed(tmp_path, "  lr: 0.0001", "  lr: fast"))
    assert params.model_dump() == {"optimizer": {"eps": 1e-8}}


@pytest.mark.parametrize("preset", sorted(Path("presets").iterdir()), ids=lambda path: path.name)
def test_presets_are_valid(tmp_path: Path, preset: Path) -> None:
    path = with_preset(tmp_path, preset)
    for stage in STAGES.values():
        load(stage, path)
