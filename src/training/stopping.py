"""Treat Ctrl-C and SIGTERM as requests to stop. Training first finishes the step and saves its state."""

import signal
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

SAME_STOP = 2.0  # seconds: torchrun and some clusters pass a Ctrl-C on to processes that have received it already


class StopRequest:
    """A context in which the first Ctrl-C or SIGTERM only sets `requested`. A later second signal stops at once.

    A stop in the middle of a step would lose the steps since the last state: some weights are updated, others are not.
    """

    def __init__(self) -> None:
        self.signal, self._since = 0, 0.0
        self._handlers: dict[int, Callable[[int, FrameType | None], Any]] = {}

    @property
    def requested(self) -> bool:
        return bool(self.signal)

    def __enter__(self) -> "StopRequest":
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            handler = signal.getsignal(number)
            if callable(handler):  # else the process ignores the signal, or dies from it
                self._handlers[number] = handler
                signal.signal(number, self._receive)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        if self.signal and kind is None:  # the work was done before anything looked at the request
            signal.raise_signal(self.signal)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if not self.signal:
            self.signal, self._since = number, time.monotonic()
        elif time.monotonic() - self._since > SAME_STOP:
            self._handlers[number](number, frame)

    def stop(self) -> None:
        """Do what the signal would have done: raise KeyboardInterrupt."""
        self._handlers[self.signal](self.signal, None)
