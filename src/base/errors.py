"""The error class for wrong input."""


class InputError(Exception):
    """Something that the user can correct. The message is one line: what is wrong, where, and what to do."""
