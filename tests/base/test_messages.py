"""Messages on stderr."""

import io
import re
import sys
from pathlib import Path

import pytest

from src.base.messages import say


def test_a_line_and_its_end_are_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two writes a signal could come, and the next message would continue the line."""
    written: list[str] = []

    class Stream(io.StringIO):
        def write(self, text: str) -> int:
            written.append(text)
            return len(text)

    monkeypatch.setattr(sys, "stderr", Stream())
    say("12 MB are here")
    assert written == ["12 MB are here\n"]


def test_the_rooms_use_it() -> None:
    code = {path: path.read_text(encoding="utf-8") for room in ("src", "stages") for path in Path(room).rglob("*.py")}
    assert any("say(" in text for text in code.values())
    assert [str(path) for path, text in code.items() if re.search(r"print\(.*file=sys\.stderr", text)] == []
