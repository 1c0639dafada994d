"""Tables that programs put into pages written by hand."""

from pathlib import Path

import pytest

from scripts.markdown import insert, table
from src.base.errors import InputError


def test_the_page_keeps_what_is_written_by_hand(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("above\n\n<!-- cpu -->\nold\n<!-- /cpu -->\n\nbelow\n", encoding="utf-8")
    for text in ("| new \\1 |", "newer"):
        insert(page, "cpu", text)
        assert page.read_text(encoding="utf-8") == f"above\n\n<!-- cpu -->\n\n{text}\n\n<!-- /cpu -->\n\nbelow\n"
    with pytest.raises(InputError, match="has no place for `cuda`"):
        insert(page, "cuda", "new")


def test_numbers_stand_to_the_right() -> None:
    assert table(["name", "n", "m"], [["a", "1", "2"]]) == "| name | n | m |\n| --- | ---: | ---: |\n| a | 1 | 2 |"
    assert table(["n", "m"], [["1", "2"]], first="---:").splitlines()[1] == "| ---: | ---: |"
