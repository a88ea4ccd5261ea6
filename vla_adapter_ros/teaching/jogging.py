# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Keys and a gamepad as goals of an arm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.teaching.motion import TeachMotion

JOINT_STEP = 0.03  # rad
TOOL_STEP = 0.008  # m
TURN_STEP = 0.05  # rad
_SCALES = (0.25, 0.5, 1.0, 2.0)

_JOINT_KEYS = ('qa', 'ws', 'ed', 'rf', 'tg', 'yh', 'YH')
_TOOL_KEYS = {
    'i': (0, +1), 'k': (0, -1), 'j': (1, +1), 'l': (1, -1), 'u': (2, +1), 'm': (2, -1),
}  # fmt: skip
_TURN_KEYS = {
    'I': (1, +1), 'K': (1, -1), 'J': (0, -1), 'L': (0, +1), 'U': (2, +1), 'M': (2, -1),
}  # fmt: skip
# Keys that the node handles.
ENGAGE, STOP, START_EPISODE, KEEP_EPISODE, DISCARD_EPISODE, CLEAR = 'p', ' ', 'b', 'n', 'x', 'z'
# They keep the episode and mark it.
SUCCESS, FAILURE = '1', '0'

HELP = f"""\
joints      q a  w s  e d  r f  t g  y h     first … sixth joint, plus and minus (Y H: seventh)
tool        i k  j l  u m                    forward back, left right, up down
turn tool   I K  J L  U M                    about y, x and z of the base
gripper     o open   c close   , . a little
speed       - slower   + faster              ({', '.join(f'{s:g}' for s in _SCALES)} × a step)
space       stop and hold                    p engage / release the arm
episode     b begin   n keep   x discard     1 keep, success   0 keep, failure
trip        z clear
"""


@dataclass(frozen=True)
class PadSettings:
    """Axes and buttons of a gamepad, and speeds at full deflection.

    Attributes:
        deadman: button that must be held.
        axes: axis of each tool direction x, y, z.
        turn_axis: axis that turns the tool about z.
        open_button: opens the gripper.
        close_button: closes it.
        speed: tool speed at full deflection [m/s].
        turn_speed: at full deflection [rad/s].
        dead_zone: smaller deflections are ignored, 0..1.
    """

    deadman: int = 4
    axes: tuple[int, int, int] = (1, 0, 4)
    turn_axis: int = 3
    open_button: int = 0
    close_button: int = 1
    speed: float = 0.08
    turn_speed: float = 0.5
    dead_zone: float = 0.1


class KeyJogger:
    """Turns motion keys into goals."""

    def __init__(self, motion: TeachMotion) -> None:
        self._motion = motion
        self._scale = _SCALES.index(1.0)

    @property
    def scale(self) -> float:
        """Current factor of the step sizes."""
        return _SCALES[self._scale]

    def press(self, key: str, now: float) -> bool:
        """Act on a motion key; False for any other key.

        Raises:
            VLAAdapterError: the arm is not engaged, or cannot go there.
        """
        for joint, (plus, minus) in enumerate(_JOINT_KEYS):
            if key in (plus, minus):
                sign = 1.0 if key == plus else -1.0
                self._jog_joint(joint, sign * JOINT_STEP * self.scale, now)
                return True
        if key in _TOOL_KEYS:
            self._motion.jog_tool(_vector(_TOOL_KEYS[key], TOOL_STEP * self.scale), _ZERO, now)
        elif key in _TURN_KEYS:
            self._motion.jog_tool(_ZERO, _vector(_TURN_KEYS[key], TURN_STEP * self.scale), now)
        elif key in 'oc':
            self._motion.set_gripper(float(key == 'o'))
        elif key in ',.':
            step = 0.1 * self.scale * (1.0 if key == '.' else -1.0)
            self._motion.set_gripper(float(self._motion.commanded(now)[0][-1]) + step)
        elif key in '+-':
            change = 1 if key == '+' else -1
            self._scale = min(max(self._scale + change, 0), len(_SCALES) - 1)
        else:
            return False
        return True

    def _jog_joint(self, joint: int, step: float, now: float) -> None:
        names = self._motion.contract.joint_names
        if joint >= len(names):
            raise VLAAdapterError(f'this arm has {len(names)} joints')
        self._motion.jog_joint(joint, step, now)


class PadJogger:
    """Turns a gamepad's state into goals; nothing moves unless the deadman button is held."""

    def __init__(self, motion: TeachMotion, settings: PadSettings | None = None) -> None:
        self._motion = motion
        self._settings = settings or PadSettings()

    def update(
        self, axes: Sequence[float], buttons: Sequence[int], duration: float, now: float
    ) -> bool:
        """Act on a gamepad's state that held for `duration` [s]; False while idle."""
        settings = self._settings
        if not _pressed(buttons, settings.deadman):
            return False
        if _pressed(buttons, settings.open_button) or _pressed(buttons, settings.close_button):
            self._motion.set_gripper(float(_pressed(buttons, settings.open_button)))
        deflection = np.array([self._axis(axes, number) for number in settings.axes])
        turn = self._axis(axes, settings.turn_axis)
        if deflection.any() or turn:
            self._motion.jog_tool(
                deflection * settings.speed * duration,
                np.array([0.0, 0.0, turn * settings.turn_speed * duration]),
                now,
            )
        return True

    def _axis(self, axes: Sequence[float], number: int) -> float:
        value = float(axes[number]) if number < len(axes) else 0.0
        return 0.0 if abs(value) < self._settings.dead_zone else value


_ZERO = np.zeros(3)


def _vector(axis: tuple[int, int], length: float) -> np.ndarray:
    vector = np.zeros(3)
    vector[axis[0]] = axis[1] * length
    return vector


def _pressed(buttons: Sequence[int], number: int) -> bool:
    return number < len(buttons) and bool(buttons[number])
