"""Draw a validation split from the training images, keep a fraction of the rest, and measure the kept images."""

import json

from src.base import cli
from src.base.files import write_text
from src.base.params import Section, Seed, load
from src.download import records
from src.images.dataset import Dataset, save
from src.images.format import ImageParams
from src.images.preprocessing import PreprocessParams, preprocess


class Params(Section):
    seed: Seed
    dataset: records.DatasetParams
    preprocess: PreprocessParams
    image: ImageParams


def main() -> None:
    paths = cli.paths(__doc__, "raw", "train", "validation", "test", "metrics")
    params = load(Params)
    raw = records.read(paths.raw, params.dataset.name)
    train, validation = preprocess(
        raw.train_images, raw.train_labels, raw.classes, params=params.preprocess, image=params.image, seed=params.seed
    )
    test = Dataset.from_arrays(raw.test_images, raw.test_labels, train.format)
    for path, split in ((paths.train, train), (paths.validation, validation), (paths.test, test)):
        save(path, split)
    counts = {"train": len(train), "validation": len(validation), "test": len(test)}
    mean = dict(zip(("red", "green", "blue"), train.format.mean, strict=True))
    write_text(paths.metrics, json.dumps({"images": counts, "mean": mean}, indent=2) + "\n")
    print(f"{counts}, channel mean {', '.join(f'{value:.4f}' for value in train.format.mean)}")


if __name__ == "__main__":
    cli.run(main)
