# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A gamepad for the teaching node: motion while its dead-man's button is held."""

from __future__ import annotations

import time
from collections.abc import Callable

from sensor_msgs.msg import Joy

from vla_adapter_ros.teaching import jogging
from vla_adapter_ros.teaching.motion import TeachMotion

# A gamepad that sends nothing for this long is taken as released.
_TIMEOUT_S = 0.3
_MAX_STEP_S = 0.1


class Gamepad:
    """Engages the arm while the dead-man's button is held, and jogs it.

    Args:
        motion: of the arm.
        settings: buttons and speed.
        engage: engages the arm; may raise VLAAdapterError.
        release: releases it; called only if the gamepad had engaged it.
    """

    def __init__(
        self,
        motion: TeachMotion,
        settings: jogging.PadSettings,
        engage: Callable[[], None],
        release: Callable[[], None],
    ) -> None:
        self._motion = motion
        self._deadman = settings.deadman
        self._engage, self._release = engage, release
        self._jogger = jogging.PadJogger(motion, settings)
        self._state: tuple[Joy, float] | None = None
        self._acted = time.monotonic()
        self._engaged = False

    def receive(self, message: Joy) -> None:
        """Keep the newest state of sticks and buttons."""
        self._state = (message, time.monotonic())

    def act(self) -> None:
        """Follow the newest state; raises VLAAdapterError if the arm cannot be engaged."""
        now = time.monotonic()
        duration, self._acted = min(now - self._acted, _MAX_STEP_S), now
        if self._state is None:
            return
        message, received = self._state
        held = now - received < _TIMEOUT_S and self._is_held(message)
        if held and not self._motion.engaged:
            self._engage()
            self._engaged = True
        if not held and self._engaged:
            self._engaged = False
            self._release()
        if held:
            self._jogger.update(message.axes, message.buttons, duration, now)

    def _is_held(self, message: Joy) -> bool:
        return self._deadman < len(message.buttons) and bool(message.buttons[self._deadman])
