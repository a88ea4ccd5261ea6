# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Signals of a scheduler such as SLURM: SIGUSR1 asks for a checkpoint, SIGTERM for the end too."""

from __future__ import annotations

import contextlib
import signal
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGUSR1, signal.SIGTERM)


class StopSignals:
    """A context in which the two signals are noted; a second SIGTERM ends the process at once.

    Attributes:
        save: a checkpoint was asked for.
        stop: the end was asked for.
    """

    def __init__(self) -> None:
        self.save = self.stop = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopSignals:
        with contextlib.suppress(ValueError):  # not the main thread: nothing is changed
            for number in SIGNALS:
                self._before[number] = signal.signal(number, self._received)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _received(self, number: int, _: FrameType | None) -> None:
        self.save = True
        if number == signal.SIGTERM:
            self.stop = True
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
