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
        InputError: the file has no such comments.
    """
    page = path.read_text(encoding="utf-8")
    pattern = re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- /{name} -->)", re.DOTALL)
    if not pattern.search(page):
        raise InputError(f"{path}: has no place for `{name}`: <!-- {name} --> and <!-- /{name} -->, a line each")
    write_text(path, pattern.sub(lambda _: f"\n{text}\n\n", page))
