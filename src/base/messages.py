"""Lines that tell the user what happens, on stderr."""

import sys


def say(line: str) -> None:
    """Write a line and its end in one piece. `print` writes them one after the other, and a signal can come between."""
    sys.stderr.write(f"{line}\n")


def one_line(text: object) -> str:
    """A text from outside, fit for a message: one line, without control characters."""
    return "".join(character if character.isprintable() else "?" for character in " ".join(str(text).split()))[:300]
