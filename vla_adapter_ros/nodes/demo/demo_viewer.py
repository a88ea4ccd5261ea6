# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""How the demo can be watched: the simulation's window, or everything in one rerun recording."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.robot.action_space import ActionConverter
from vla_adapter_ros.robot.contract import RobotContract
from vla_adapter_ros.robot.kinematics import Kinematics

VIEWERS = ('none', 'mujoco', 'rerun')
JPEG_QUALITY = 80
_DISPLAYS = ('DISPLAY', 'WAYLAND_DISPLAY')
# Measured states that are kept to find the one a chunk was computed from [s].
_MEMORY = 5.0
_PATH, _TOOL = (60, 200, 90), (230, 70, 50)

Rows = list[tuple[float, np.ndarray]]


def has_display(environment: Mapping[str, str]) -> bool:
    """Return whether a window can be opened here."""
    return any(environment.get(name) for name in _DISPLAYS)


def check_viewer(name: str, environment: Mapping[str, str]) -> None:
    """Refuse a viewer that cannot work here.

    Raises:
        VLAAdapterError: no such viewer, no display for a window, or rerun is missing.
    """
    if name not in VIEWERS:
        raise VLAAdapterError(f'viewer {name!r}: expected {", ".join(VIEWERS)}')
    if name == 'mujoco' and not has_display(environment):
        raise VLAAdapterError(
            f'viewer mujoco: there is no display ({" and ".join(_DISPLAYS)} are not set); '
            'viewer rerun writes a file instead'
        )
    if name == 'rerun' and find_spec('rerun') is None:
        raise VLAAdapterError('viewer rerun: rerun-sdk is not installed: pip install rerun-sdk')


class RerunViewer:
    """Logs what the demo sees to a .rrd file and, where there is a display, to rerun's window.

    All times are seconds since the demo's start, on one timeline.

    Args:
        contract: of the robot that is shown.
        kinematics: for the paths of the tool; None: they are not shown.
        path: of the .rrd file.
        live: also open rerun's own window.
    """

    def __init__(
        self,
        contract: RobotContract,
        kinematics: Kinematics | None,
        path: Path,
        live: bool = False,
    ) -> None:
        import rerun as rr

        self._rr = rr
        self._contract = contract
        self._kinematics = kinematics
        self._states: Rows = []
        self._commands: dict[tuple[str, ...], Rows] = {}
        self._stream = rr.RecordingStream('vla_adapter_ros_demo')
        sinks = [rr.FileSink(str(path))]
        if live:
            rr.spawn(connect=False)
            sinks.append(rr.GrpcSink())
        self._stream.set_sinks(*sinks)

    def instruction(self, text: str, time: float) -> None:
        """Show the instruction."""
        self._stream.set_time('time', duration=time)
        self._stream.log('instruction', self._rr.TextDocument(text))

    def image(self, camera: str, pixels: np.ndarray, time: float) -> None:
        """Show an image, (H, W, 3) uint8 RGB."""
        self._stream.set_time('time', duration=time)
        self._stream.log(
            f'cameras/{camera}', self._rr.Image(pixels).compress(jpeg_quality=JPEG_QUALITY)
        )

    def state(self, state: np.ndarray, time: float) -> None:
        """Show a measured state (J + 1,) in contract order."""
        self._states.append((time, state))
        while self._states[0][0] < time - _MEMORY:
            self._states.pop(0)
        self._scalars('measured', [(time, state)])
        if self._kinematics is not None:
            tool = self._kinematics.tool_positions(state[None, :-1])
            self._stream.log('scene/tool', self._rr.Points3D(tool, colors=[_TOOL], radii=0.006))

    def command(self, names: Sequence[str], rows: Rows, time: float) -> None:
        """Show a trajectory; of the one it replaces only what was due before.

        Args:
            names: joints of the trajectory.
            rows: (time a point is due, (J + 1,) target with NaN for other joints).
            time: of arrival.
        """
        key = tuple(names)
        self._scalars('commanded', [row for row in self._commands.get(key, []) if row[0] < time])
        self._commands[key] = rows

    def chunk(self, actions: np.ndarray, age: float, time: float) -> None:
        """Show where a chunk wants the tool to go: its path in the base frame.

        Args:
            actions: (K, A) as the policy gave them.
            age: of its observation [s].
            time: of arrival.
        """
        if self._kinematics is None or not self._states:
            return
        moment = time - age
        observed = min(self._states, key=lambda row: abs(row[0] - moment))[1]
        # A chunk that the robot will refuse has no path.
        with contextlib.suppress(VLAAdapterError):
            converter = ActionConverter(self._contract, self._kinematics)
            targets = converter.to_targets(actions, observed)
            path = self._kinematics.tool_positions(np.vstack((observed, targets))[:, :-1])
            self._stream.set_time('time', duration=time)
            self._stream.log(
                'scene/predicted_path',
                self._rr.LineStrips3D([path], colors=[_PATH], radii=0.002),
            )

    def close(self) -> None:
        """Write the remaining commands."""
        for rows in self._commands.values():
            self._scalars('commanded', rows)
        self._stream.flush()
        self._stream.disconnect()

    def _scalars(self, name: str, rows: Rows) -> None:
        for time, row in rows:
            self._stream.set_time('time', duration=time)
            for joint, value in zip(self._contract.names, row, strict=True):
                if np.isfinite(value):
                    self._stream.log(f'joints/{joint}/{name}', self._rr.Scalars(float(value)))
