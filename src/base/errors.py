"""Errors that a user can correct: each one is a line that says what is wrong, where, and what to do."""

import errno
import re


class InputError(Exception):
    """Something that the user can correct. The message is one line: what is wrong, where, and what to do."""


_NO_MEMORY = re.compile(
    "out of memory|allocate memory|_STATUS_ALLOC_FAILED|bad_alloc|could not create a (primitive|memory)", re.IGNORECASE
)


def out_of_memory(error: BaseException) -> InputError | None:
    """The line for an exception of Python, NumPy or PyTorch (CPU or GPU) that means too little memory; else None."""
    known = isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
    if not (known or (isinstance(error, RuntimeError) and _NO_MEMORY.search(str(error)))):
        return None
    reason = " ".join((str(error) or "MemoryError").split("\n")[0].split())
    reason = re.sub(r"^\[[^]]*\] (err == 0[.] )?", "", reason)  # where in the code of PyTorch
    return InputError(
        f"too little memory: {reason.rstrip('.')}; lower batch_size or image.crop, "
        "raise runtime.devices if there are more GPUs, or end other programs"
    )
