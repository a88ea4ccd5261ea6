# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What is seen of a running arm, logged to rerun: its window, another machine's, or a file."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.robot.action_space import ActionConverter
from vla_adapter_ros.robot.contract import RobotContract
from vla_adapter_ros.robot.kinematics import Kinematics

JPEG_QUALITY = 80
DISPLAYS = ('DISPLAY', 'WAYLAND_DISPLAY')
# Measured states that are kept to find the one a chunk was computed from.
_STATES = 1000
_PATH, _TOOL, _ARM = (60, 200, 90), (230, 70, 50), (150, 150, 160)
_COLOURS = {'measured': (78, 152, 226), 'commanded': (245, 119, 77), 'chunk': (107, 214, 107)}
_SHOWN_S = 20.0
_TIME = 'time'

Rows = list[tuple[float, np.ndarray]]


def has_display(environment: Mapping[str, str]) -> bool:
    """Return whether a window can be opened here."""
    return any(environment.get(name) for name in DISPLAYS)


def check_rerun() -> None:
    """Raise VLAAdapterError if rerun is not installed."""
    if find_spec('rerun') is None:
        raise VLAAdapterError('rerun-sdk is not installed: pip install rerun-sdk')


class RerunLog:
    """One recording, on one timeline: seconds of the ROS clock.

    Args:
        contract: of the robot that is shown.
        kinematics: for the paths of the tool; None: they are not shown.
        save: .rrd file to write, or None.
        window: open rerun's own window on this machine.
        connect: address of a viewer that runs already, rerun+http://HOST:9876/proxy; '': none.
    """

    def __init__(
        self,
        contract: RobotContract,
        kinematics: Kinematics | None,
        save: Path | None = None,
        window: bool = False,
        connect: str = '',
    ) -> None:
        import rerun as rr

        self._rr = rr
        self._contract = contract
        self._kinematics = kinematics
        self._states: deque[tuple[float, np.ndarray]] = deque(maxlen=_STATES)
        # By name and joints: points that are not due yet.
        self._pending: dict[tuple[str, ...], Rows] = {}
        self._told = ''
        self._stream = rr.RecordingStream('vla_adapter_ros')
        sinks: list[Any] = [rr.FileSink(str(save))] if save is not None else []
        if window:
            rr.spawn(connect=False)
        if window or connect:
            sinks.append(rr.GrpcSink(connect or None))
        self._stream.set_sinks(*sinks)
        self._stream.send_blueprint(blueprint(contract))
        for joint in contract.names:
            for name, colour in _COLOURS.items():
                style = rr.SeriesLines(names=name, colors=[colour])
                self._stream.log(f'joints/{joint}/{name}', style, static=True)

    def instruction(self, text: str, time: float) -> None:
        """Show the instruction."""
        self._at(time)
        self._stream.log('instruction', self._rr.TextDocument(text))

    def image(self, camera: str, pixels: np.ndarray, time: float) -> None:
        """Show an image, (H, W, 3) uint8 RGB."""
        self._at(time)
        self._stream.log(
            f'cameras/{camera}', self._rr.Image(pixels).compress(jpeg_quality=JPEG_QUALITY)
        )

    def state(self, state: np.ndarray, time: float) -> None:
        """Show a measured state (J + 1,) in contract order."""
        self._states.append((time, state))
        self._scalars('measured', [(time, state)])
        if self._kinematics is not None:
            arm = self._kinematics.arm_positions(state[:-1])
            strip = self._rr.LineStrips3D([arm], colors=[_ARM], radii=0.006)
            self._stream.log('scene/arm', strip)
            tool = self._rr.Points3D(arm[-1:], colors=[_TOOL], radii=0.01)
            self._stream.log('scene/tool', tool)

    def command(self, names: Sequence[str], rows: Rows, time: float) -> None:
        """Show a trajectory; of the one it replaces only what was due before.

        Args:
            names: joints of the trajectory.
            rows: (time a point is due, (J + 1,) target with NaN for other joints).
            time: of arrival.
        """
        self._replace('commanded', names, rows, time)

    def chunk(self, actions: np.ndarray, observed_at: float, time: float) -> None:
        """Show where a chunk wants the joints and the tool to go.

        Args:
            actions: (K, A) as the policy gave them.
            observed_at: stamp of its observation.
            time: of arrival.
        """
        if not self._states:
            return
        observed = min(self._states, key=lambda row: abs(row[0] - observed_at))[1]
        # A chunk that the robot will refuse has no path.
        with contextlib.suppress(VLAAdapterError):
            converter = ActionConverter(self._contract, self._kinematics)
            targets = converter.to_targets(actions, observed)
            period = self._contract.step_period
            due = observed_at + period * np.arange(1, len(targets) + 1)
            # As the policy node does: steps whose time has passed are left out.
            rows = [(t, row) for t, row in zip(due.tolist(), targets, strict=True) if t >= time]
            self._replace('chunk', (), rows, time)
            if self._kinematics is None:
                return
            path = self._kinematics.tool_positions(np.vstack((observed, targets))[:, :-1])
            self._at(time)
            self._stream.log(
                'scene/predicted_path',
                self._rr.LineStrips3D([path], colors=[_PATH], radii=0.002),
            )

    def status(self, text: str, trouble: bool, latencies: Mapping[str, float], t: float) -> None:
        """Show the state of the policy node.

        Args:
            text: state and reason; logged when it changes.
            trouble: whether it asks for attention.
            latencies: name → seconds, plotted.
            t: time.
        """
        rr = self._rr
        self._at(t)
        for name, seconds in latencies.items():
            self._stream.log(f'latency/{name}', rr.Scalars(seconds))
        if text != self._told:
            self._told = text
            self._stream.log('status', rr.TextDocument(text))
            self._stream.log('log', rr.TextLog(text, level='WARN' if trouble else 'INFO'))

    def close(self) -> None:
        """Write the remaining commands."""
        for (name, *_), rows in self._pending.items():
            self._scalars(name, rows)
        self._stream.flush()
        self._stream.disconnect()

    def _at(self, time: float) -> None:
        self._stream.set_time(_TIME, timestamp=time)

    def _replace(self, name: str, joints: Sequence[str], rows: Rows, time: float) -> None:
        key = (name, *joints)
        self._scalars(name, [row for row in self._pending.get(key, []) if row[0] < time])
        self._pending[key] = rows

    def _scalars(self, name: str, rows: Rows) -> None:
        for time, row in rows:
            self._at(time)
            for joint, value in zip(self._contract.names, row, strict=True):
                if np.isfinite(value):
                    self._stream.log(f'joints/{joint}/{name}', self._rr.Scalars(float(value)))


def blueprint(contract: RobotContract) -> Any:
    """Return the arrangement of the window: cameras, scene and state beside the joints."""
    import rerun.blueprint as rrb

    oldest, now = (rrb.TimeRangeBoundary.cursor_relative(seconds=s) for s in (-_SHOWN_S, 0.0))
    newest = rrb.VisibleTimeRange(_TIME, start=oldest, end=now)
    cameras = [rrb.Spatial2DView(origin=f'cameras/{c}', name=c) for c in contract.cameras]
    plots = [
        rrb.TimeSeriesView(origin=origin, name=name, time_ranges=[newest])
        for origin, name in [
            *((f'joints/{joint}', joint) for joint in contract.names),
            ('latency', 'latency [s]'),
        ]
    ]
    words = [
        rrb.TextDocumentView(origin='instruction', name='instruction'),
        rrb.TextDocumentView(origin='status', name='state'),
        rrb.TextLogView(origin='log', name='log'),
    ]
    seen = rrb.Vertical(
        rrb.Horizontal(*cameras),
        rrb.Spatial3DView(origin='scene', name='arm, and path of the chunk [m]'),
        rrb.Horizontal(*words),
        row_shares=[3, 3, 1],
    )
    return rrb.Blueprint(
        rrb.Horizontal(seen, rrb.Grid(*plots, grid_columns=2), column_shares=[2, 3]),
        collapse_panels=True,
    )
