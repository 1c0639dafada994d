"""Write docs/model_card.md from the recorded results.

    python -m scripts.model_card

A test compares the page with the results.
"""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from scripts import markdown
from scripts.experiment import current_stages
from scripts.parameters import parameters
from scripts.results import TESTED
from src.base import cli
from src.base.errors import InputError
from src.base.files import write_text
from src.networks.vgg import titles

PAGE = Path("docs", "model_card.md")
TEXT = """# Model card

`python -m scripts.model_card` wrote this page from `results/` and `params.yaml` of the same commit.

## Models

| model | network | weights | file |
|---|---|---|---|
{models}

Both networks are those of Simonyan & Zisserman, "Very deep convolutional networks for large-scale image recognition"
(2014, [arXiv:1409.1556](https://arxiv.org/abs/1409.1556)), for images of {crop} x {crop} pixels and {classes}
classes. A file has the weights as float32, the classes, and how an image is prepared. The code is under the MIT
licence.

## Data

{dataset}: {train:,} images for training, {validation:,} for validation, {test:,} for testing. The channel mean of the
training images is subtracted. All choices are made on validation. Only the stage `evaluate` reads the test images.

CIFAR-10 (Krizhevsky, 2009, "Learning multiple layers of features from tiny images") is a part of the Tiny Images
collection, which was gathered from the web. Its page names no licence, and the images keep their owners. The Tiny
Images collection was withdrawn in 2020 because of offensive labels and images. CIFAR-10's ten classes were labelled
by people, and it is still offered. This repository has neither the data nor the weights.

## Training

{training}

## Results on the test images

{scores}

Guessing gives an accuracy of {chance:.4f}. n = 1: one run with seed {seed}.

{network16} by class:

{by_class}

## Use and limits

- The models are for studying how deep plain networks train. They are not for recognising people, or for
  decisions.
- They know only the ten classes and name one of them for any picture. A high probability does not say that a picture
  has one of the classes.
- Any picture is reduced to 32 x 32 pixels first. Objects that are small in a picture are lost.
- The defaults train for about an hour on two CPU cores. The models are far from what the networks can reach.
- Only one run was made, so the spread between seeds is unknown.
"""


def main() -> None:
    try:
        lock = yaml.safe_load(Path("dvc.lock").read_bytes())["stages"]
        if "evaluate" not in current_stages(lock, parameters(Path("params.yaml").read_bytes())):
            raise InputError("dvc.lock has no results of `evaluate` with these parameters; run `dvc repro`")
        text = card()
    except FileNotFoundError as error:
        raise InputError(f"{error.filename}: not found; run `dvc repro`") from None
    except (ValueError, LookupError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise InputError(f"results of another version, or damaged ({error!r})".replace("\n", " ")) from None
    write_text(PAGE, text)
    print(PAGE)


def card() -> str:
    """The page."""
    params = yaml.safe_load(Path("params.yaml").read_bytes())
    images = json.loads(Path("results/preprocess/metrics.json").read_bytes())["images"]
    scores = {key: json.loads(Path(f"results/evaluate/{key}.json").read_bytes()) for key in TESTED}
    report = Path("results/evaluate/vgg16/classification_report.csv").read_text(encoding="utf-8")
    names = list(titles({stage: params[stage]["network"] for stage in ("train_vgg11", "train_vgg16")}).values())
    labels = dict(zip(TESTED, (*names, "both together"), strict=True))
    classes = [row for row in csv.DictReader(report.splitlines()) if not row["class"].endswith(" avg")]
    return TEXT.format(
        models="\n".join(models(params, names)),
        crop=params["image"]["crop"],
        classes=len(classes),
        dataset="CIFAR-10" if params["dataset"]["name"] == "cifar10" else params["dataset"]["name"],
        **images,
        training=training(params),
        scores=markdown.table(
            ["", "accuracy", "top-5 accuracy", "loss"],
            [
                [labels[key], *(f"{values[score]:.4f}" for score in ("accuracy", "top5", "loss"))]
                for key, values in scores.items()
            ],
        ),
        chance=1 / len(classes),
        seed=params["seed"],
        network16=names[1],
        by_class=markdown.table(["class", "precision", "recall", "F1"], [list(row.values())[:4] for row in classes]),
    )


def models(params: Mapping[str, Any], names: list[str]) -> list[str]:
    letters = [params[stage]["network"] for stage in ("train_vgg11", "train_vgg16")]
    starts = {
        "normal": f"N(0, {params['init_std']}²)",
        "none": "PyTorch's own initialisation",
        "xavier": "Glorot & Bengio's initialisation",
        "kaiming": "He et al.'s initialisation",
    }
    start, transfer = starts.get(params["init"], params["init"]), params["train_vgg16"]["transfer"]
    first = start if params["train_vgg11"]["start"] == "none" else f"{start}, and `{params['train_vgg11']['start']}`"
    second = start if transfer == "none" else f"{start}, and layers of {names[0]} (`transfer: {transfer}`)"
    return [
        f"| {names[0]} | {letters[0]} of table 1 | from {first} | `models/vgg11.safetensors` |",
        f"| {names[1]} | {letters[1]} of table 1 | from {second} | `models/vgg16.safetensors` |",
    ]


def training(params: Mapping[str, Any]) -> str:
    optimizer, schedule = params["optimizer"], params["schedule"]
    augment = [name for name, on in params["augment"].items() if on]
    name = f"SGD with momentum {optimizer['momentum']:g}" if optimizer["name"] == "sgd" else "Adam"
    return (
        f"{name}, learning rate {float(optimizer['lr']):g} ({schedule['name']}), "
        f"weight decay {float(optimizer['weight_decay']):g}, "
        f"batches of {params['batch_size']}, images resized to {params['image']['resize']}, dropout "
        f"{params['dropout']:g}, {params['train_vgg11']['epochs']} and {params['train_vgg16']['epochs']} epochs, "
        f"augmentation: {', '.join(augment).replace('_', ' ') or 'none'}."
    )


if __name__ == "__main__":
    cli.run(main)
