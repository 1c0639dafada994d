"""Cut a validation split from the training images, keep a fraction of the rest, and measure what is kept."""

import json

from src import cli, dataset
from src.cifar10 import DatasetParams
from src.files import write_text
from src.images import ImageParams
from src.params import Section, Seed, load
from src.preprocessing import PreprocessParams, preprocess


class Params(Section):
    seed: Seed
    dataset: DatasetParams
    preprocess: PreprocessParams
    image: ImageParams


def main() -> None:
    paths = cli.paths(__doc__, "raw", "train", "validation", "test", "metrics")
    params = load(Params)
    train, validation, test = preprocess(paths.raw, params.dataset.name, params.preprocess, params.image, params.seed)
    dataset.save(paths.train, train)
    dataset.save(paths.validation, validation)
    dataset.save(paths.test, test)
    counts = {"train": len(train), "validation": len(validation), "test": len(test)}
    mean = dict(zip(("red", "green", "blue"), train.format.mean, strict=True))
    write_text(paths.metrics, json.dumps({"images": counts, "mean": mean}, indent=2) + "\n")
    print(f"{counts}, channel mean {', '.join(f'{value:.4f}' for value in train.format.mean)}")


if __name__ == "__main__":
    cli.run(main)
