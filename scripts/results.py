"""Results of an experiment in a folder for people to look at. A list in the folder says which files were put there.

    python -m scripts.results demo experiments/*

removes these files, and nothing else.
"""

import json
import shutil
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from src.base import cli
from src.base.errors import InputError

LIST = ".experiment.json"
TESTED = ("vgg11", "vgg16", "fusion")
"""The networks with scores on the test images, results/evaluate/NAME.json; `fusion` is both together."""


def main() -> None:
    for folder in map(Path, sys.argv[1:]):
        if (folder / LIST).exists():
            remove(folder, written(folder))
            (folder / LIST).unlink()
            with suppress(OSError):  # files of somebody else, or a link
                folder.rmdir()


def written(folder: Path) -> set[str]:
    """The files that earlier results have put into a folder.

    Raises:
        InputError: the folder has files and no list of them, or cannot become a folder.
    """
    try:
        names = json.loads((folder / LIST).read_text(encoding="utf-8"))["files"]
        return {name for name in names if is_inside(folder, name)}
    except FileNotFoundError:
        if folder.is_symlink() and not folder.exists():
            raise InputError(f"{folder}: a link to nothing; remove it, or name another folder") from None
        if folder.exists() and any(folder.iterdir()):
            raise InputError(f"{folder}: has files that are not results; move them, or name another folder") from None
        return set()
    except NotADirectoryError:
        raise InputError(f"{folder}: a file is in the way; move it, or name another folder") from None
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{folder / LIST}: damaged; move the folder, or name another one") from None


def is_inside(folder: Path, name: str) -> bool:
    """Whether a file lies in the folder, and not above it or behind a link."""
    path = Path(name)
    return not path.is_absolute() and (folder / path).parent.resolve() == folder.resolve() / path.parent


def replace(folder: Path, files: Mapping[str, bytes | Path]) -> None:
    """Put files into a folder, in place of those that are on its list. Other files stay.

    Args:
        files: the content of each file, or a file that is copied there.

    Raises:
        InputError: a file of somebody else is in the way.
    """
    old = written(folder)
    for name in files:
        if name not in old and ((folder / name).exists() or not is_inside(folder, name)):
            raise InputError(f"{folder / name}: not written by an experiment; move it, or name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    save_list(folder, old | files.keys())  # before them: after a kill the next results take the place of these
    remove(folder, old - files.keys())
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).unlink(missing_ok=True)  # a link, or a file that may not be written
        if isinstance(content, Path):
            shutil.copyfile(content, folder / name)
        else:
            (folder / name).write_bytes(content)
    save_list(folder, files)


def save_list(folder: Path, names: Iterable[str]) -> None:
    (folder / LIST).write_text(json.dumps({"files": sorted(names)}, indent=1) + "\n", encoding="utf-8")


def remove(folder: Path, names: Iterable[str]) -> None:
    """Remove files, and the folders in which nothing is left."""
    for name in names:
        (folder / name).unlink(missing_ok=True)
        for parent in list(Path(name).parents)[:-1]:
            with suppress(OSError):
                (folder / parent).rmdir()


if __name__ == "__main__":
    cli.run(main)
