"""Get the data set, verified, as a folder of records: CIFAR-10 from a mirror or CIFAR10_URL, or built-in digits."""

from src import cli
from src.cifar10 import RECORDS, DatasetParams
from src.download import download
from src.params import Section, load


class Params(Section):
    dataset: DatasetParams


def main() -> None:
    paths = cli.paths(__doc__, "raw")
    params = load(Params)
    download(paths.raw, params.dataset)
    print(f"{params.dataset.name}: {sum(RECORDS[params.dataset.name].values()):,} records")


if __name__ == "__main__":
    cli.run(main)
