"""Write tables in Markdown, and insert measured tables into pages that are written by hand."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from src.base.errors import InputError
from src.base.files import write_text


def table(header: Sequence[str], rows: Iterable[Sequence[str]], first: str = "---") -> str:
    """A Markdown table, numbers to the right. `first` aligns the first column: `---` is left, `---:` is right."""
    lines = [header, [first] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def insert(path: Path, name: str, text: str) -> None:
    """Replace the text between the comments `<!-- name -->` and `<!-- /name -->` of a file.

    Raises:
        InputError: as in `find`.
    """
    page, place = find(path, name)
    write_text(path, f"{page[: place.start()]}\n{text}\n\n{page[place.end() :]}")


def find(path: Path, name: str) -> tuple[str, re.Match[str]]:
    """The text of a file, and the place in it between the comments `<!-- name -->` and `<!-- /name -->`.

    Raises:
        InputError: the file does not exist, or has no such comments.
    """
    try:
        page = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path}: no such page") from None
    if place := re.search(rf"(?<=<!-- {re.escape(name)} -->\n).*?(?=<!-- /{re.escape(name)} -->)", page, re.DOTALL):
        return page, place
    raise InputError(f"{path}: has no place for `{name}`: <!-- {name} --> and <!-- /{name} -->, a line each")
