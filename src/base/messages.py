"""Lines that tell the user what happens, on stderr."""

import sys


def say(line: str) -> None:
    """Write a line and its end in one piece. `print` writes them one after the other, and a signal can come between."""
    sys.stderr.write(f"{line}\n")
