"""The one exception for what a user can mend."""


class InputError(Exception):
    """Wrong input. The message is one line: what is wrong, where, and what to do about it."""
