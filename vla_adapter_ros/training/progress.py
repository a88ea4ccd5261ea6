# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The progress bar of a run: steps, ETA, loss, samples per second."""

from __future__ import annotations

import time
from types import TracebackType

from tqdm import tqdm


class ProgressBar:
    """A tqdm bar that also measures the time between two reports."""

    def __init__(self, steps: int, first: int, active: bool) -> None:
        self._bar = tqdm(
            total=steps, initial=first, disable=not active, unit='step', dynamic_ncols=True,
            desc='training', mininterval=1.0,
        )
        self._since = time.perf_counter()

    def __enter__(self) -> ProgressBar:
        self.lap()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()

    def advance(self) -> None:
        """Count one step."""
        self._bar.update()

    def lap(self) -> float:
        """Return the seconds since the last lap."""
        before, self._since = self._since, time.perf_counter()
        return self._since - before

    def show(self, loss: float, samples_per_s: float) -> None:
        """Show the newest numbers behind the bar."""
        self._bar.set_postfix_str(f'loss {loss:.4f}, {samples_per_s:.1f} samples/s')
