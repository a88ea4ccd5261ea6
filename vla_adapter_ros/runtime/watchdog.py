# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Deadlines on an injected clock: chunks that stop coming, a model that hangs."""

from __future__ import annotations


class Watchdog:
    """Fires once when a deadline passes; feeding it arms it again.

    Args:
        what: what is waited for, for the message.
        timeout: seconds from `start` or `feed` to the deadline.
    """

    def __init__(self, what: str, timeout: float) -> None:
        self._what = what
        self.timeout = timeout
        self._since: float | None = None
        self._fired = False
        self.count = 0

    @property
    def expired(self) -> bool:
        """Whether it fired and was not fed since."""
        return self._fired

    def start(self, now: float) -> None:
        """Begin to wait, unless it waits already: the deadline of what runs stays."""
        if self._since is None:
            self._since = now

    def feed(self, now: float) -> bool:
        """Wait anew from now on; returns whether that ends an expired state."""
        recovered, self._fired = self._fired, False
        self._since = now
        return recovered

    def stop(self) -> None:
        """Wait for nothing."""
        self._since = None
        self._fired = False

    def check(self, now: float) -> str | None:
        """Return the reason once, when the deadline has passed."""
        if self._since is None or self._fired:
            return None
        if now < self._since:
            # The clock went back: what was waited for is waited for from now on.
            self._since = now
            return None
        waited = now - self._since
        if waited <= self.timeout:
            return None
        self._fired = True
        self.count += 1
        return f'{self._what} for {waited:.2f} s > {self.timeout:.2f} s'
