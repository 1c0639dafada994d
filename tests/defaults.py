"""The parameters of the tests (tests/params.yaml), and what each stage reads of them."""

from pathlib import Path

from stages import download, evaluate, inspect_init, inspect_transfer, preprocess, train_vgg11, train_vgg16

PATH = Path(__file__).with_name("params.yaml")
DEFAULTS = PATH.read_text(encoding="utf-8")
STAGES = {
    module.__name__.split(".")[1]: module.Params
    for module in (download, preprocess, inspect_init, train_vgg11, inspect_transfer, train_vgg16, evaluate)
}
