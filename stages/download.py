"""Get the data set, verified, as a folder of records: CIFAR-10 from a mirror or CIFAR10_URL, or built-in digits."""

from src.base import cli
from src.base.params import Section, load
from src.download.records import RECORDS, DatasetParams
from src.download.sources import download


class Params(Section):
    dataset: DatasetParams


def main() -> None:
    paths = cli.paths(__doc__, "raw")
    params = load(Params)
    download(paths.raw, params.dataset)
    print(f"{params.dataset.name}: {sum(RECORDS[params.dataset.name].values()):,} records")


if __name__ == "__main__":
    cli.run(main)
