"""The classes of pictures, from a trained model.

    python -m scripts.predict models/vgg16.safetensors cat.jpg holiday/ --top 3

A folder stands for all pictures in it and below it, `-` for a picture on standard input. Each picture is prepared as in
training: its shorter side becomes 32 pixels, and the central square is kept.
"""

import argparse
import csv
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from src.base import cli
from src.base.errors import InputError
from src.base.messages import say
from src.compute.runtime import REFERENCE, Runtime, start_runtime
from src.images.pictures import is_picture, read_picture
from src.images.transforms import prepare
from src.networks import model_file
from src.networks.memory import inference_batch

Guess = tuple[str, float]
"""A class and its probability."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a model of this project")
    parser.add_argument("image", nargs="+", help="a picture, a folder, or - for standard input")
    parser.add_argument("--top", type=int, default=3, metavar="N", help="classes per picture (default: %(default)s)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_const", dest="write", const=write_json, help="one JSON object per line")
    form.add_argument("--csv", action="store_const", dest="write", const=write_csv, help="one row per class")
    arguments = parser.parse_args()
    model = model_file.load(arguments.model)
    if arguments.top < 1:
        raise InputError(f"--top: {arguments.top}, expected at least 1")
    runtime = start_runtime(REFERENCE.model_copy(update={"device": "auto", "convolution": "auto"}))
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr] # a name may not be text
    wrong: list[str] = []
    files = list(find(arguments.image, wrong))
    found = len(files) + len(wrong)
    (arguments.write or write_text)(predictions(model, files, runtime, arguments.top, wrong))
    if wrong:
        raise InputError(f"{len(wrong)} of {found} could not be read, see above")


def find(names: list[str], wrong: list[str]) -> Iterator[str]:
    """The pictures that the arguments stand for. A folder's are sorted by name.

    Folders in it that cannot be read are named, and put on `wrong`.
    """

    def skip(error: OSError) -> None:
        wrong.append(str(error.filename))
        say(f"{error.filename}: {error.strerror}")

    for name in names:
        if name != "-" and Path(name).is_dir():
            skipped = len(wrong)
            found = sorted(Path(folder, file) for folder, _, files in os.walk(name, onerror=skip) for file in files)
            pictures = [str(path) for path in found if is_picture(path)]
            if not pictures and len(wrong) == skipped:
                raise InputError(f"{name}: no picture in this folder")
            yield from pictures
        else:
            yield name


def predictions(
    model: model_file.Model, files: list[str], runtime: Runtime, top: int, wrong: list[str]
) -> Iterator[tuple[str, list[Guess]]]:
    """Yield each picture's name with its `top` classes. Pictures that cannot be read are named, and put on `wrong`."""
    network = runtime.place(model.network).eval()
    size = inference_batch(model.format.crop)
    with tqdm(total=len(files), unit="picture", disable=None, leave=False) as bar:
        for start in range(0, len(files), size):
            batch: list[tuple[str, Tensor]] = []
            for name in files[start : start + size]:
                try:
                    batch.append((name, read_picture(sys.stdin.buffer.read() if name == "-" else Path(name), name)))
                except InputError as error:
                    wrong.append(name)
                    bar.clear()
                    say(str(error))
                bar.update()
            if not batch:
                continue
            with torch.inference_mode(), runtime.autocast():
                images = torch.stack([image for _, image in batch]).to(runtime.device)
                shares = network(prepare(images, model.format)).double().softmax(dim=1).cpu()
            if not shares.isfinite().all():
                raise InputError("the outputs of the model are not finite; it cannot be used")
            bar.clear()  # or the caller would print behind it
            for (name, _), row in zip(batch, shares, strict=True):
                first = row.argsort(descending=True, stable=True)[:top]
                yield name, [(model.format.classes[index], float(row[index])) for index in first]


def write_text(results: Iterator[tuple[str, list[Guess]]]) -> None:
    for name, guesses in results:
        print(f"{name}: {', '.join(f'{label} {share:.1%}' for label, share in guesses)}")


def write_json(results: Iterator[tuple[str, list[Guess]]]) -> None:
    for name, guesses in results:
        classes = [{"class": label, "probability": round(share, 6)} for label, share in guesses]
        print(json.dumps({"file": name, "classes": classes}))


def write_csv(results: Iterator[tuple[str, list[Guess]]]) -> None:
    writer: Any = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["file", "rank", "class", "probability"])
    for name, guesses in results:
        writer.writerows((name, rank, label, f"{share:.6f}") for rank, (label, share) in enumerate(guesses, start=1))


if __name__ == "__main__":
    cli.run(main)
