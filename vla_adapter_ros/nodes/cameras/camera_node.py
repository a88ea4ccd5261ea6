# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Common to the camera nodes: publish the newest frame, report, survive.

The grabber's thread drains the camera; the executor's thread publishes. Between them lies one
frame, so that a slow subscriber or a busy machine costs frames, never delay.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image

from vla_adapter_ros.cameras.calibration import Intrinsics
from vla_adapter_ros.cameras.frames import (
    ENDED,
    OPENING,
    STOP_TIMEOUT_S,
    STREAMING,
    CameraStatus,
    Frame,
    FrameGrabber,
    FrameSource,
)
from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.nodes.cameras.camera_messages import camera_info_message
from vla_adapter_ros.nodes.common.messages import COMMAND, image_message
from vla_adapter_ros.nodes.common.parameters import (
    FRAME_PREFIX,
    declare_parameters,
    parameter,
    read_parameters,
)

# Parameters that are set within this time reopen the camera once.
_PARAMETER_PERIOD_S = 0.1


@dataclass(frozen=True)
class CameraParameters:
    """Parameters of both camera nodes; a change reopens the camera."""

    camera: str = parameter(
        'third_person', 'Name in the robot contract; images are published on <camera>/image.',
        ros_name=True,
    )
    frame_id: str = parameter('', 'Frame of the headers; empty: <camera>_optical_frame.')
    frame_prefix: str = parameter('', FRAME_PREFIX)
    reconnect_period: float = parameter(
        1.0, 'Wait between two attempts to open the camera [s].', low=0.05, high=60.0
    )
    stall_timeout: float = parameter(
        2.0, 'Reopen the camera after this long without a frame [s].', low=0.1, high=60.0
    )


class CameraNode(Node):
    """Publishes a frame source on `<camera>/image` and its state on `/diagnostics`.

    Bad parameters leave a living node that reports them; setting them right opens the
    camera.
    """

    parameter_kind: type[CameraParameters] = CameraParameters
    # Where the intrinsics come from; shown in /diagnostics.
    calibration = 'of the camera'

    def __init__(self, name: str) -> None:
        super().__init__(name, automatically_declare_parameters_from_overrides=True)
        declare_parameters(self, self.parameter_kind)
        self._settings: CameraParameters | None = None
        self._applied: dict[str, object] = {}
        self._grabber: FrameGrabber | None = None
        # The camera that is being closed, and until when that is waited for.
        self._closing: tuple[FrameGrabber, float] | None = None
        self._source: FrameSource | None = None
        self._error = ''
        self._reported: tuple[str, str] | None = None
        self._published = 0
        self._image_publishers: dict[str, Any] = {}
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self._wake = self.create_guard_condition(self._on_wake)
        self.create_timer(1.0, self._publish_diagnostics)
        self.create_timer(
            _PARAMETER_PERIOD_S, self._follow_parameters,
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )  # fmt: skip
        self.open_camera()

    def make_source(self, parameters: Any) -> FrameSource:
        """Return the camera for validated parameters; it is opened later, in its own thread."""
        raise NotImplementedError

    def close(self) -> None:
        """Release the camera."""
        if self._grabber is not None and not self._grabber.stop():
            self._warn_of_hanging_driver()
        self._grabber = None

    def _warn_of_hanging_driver(self) -> None:
        self.get_logger().warning('the camera driver hangs; leaving it behind')

    def publisher(self, kind: type, topic: str) -> Any:
        """Return the publisher of a topic, made on first use; the camera's name may change."""
        if topic not in self._image_publishers:
            self._image_publishers[topic] = self.create_publisher(kind, topic, COMMAND)
        return self._image_publishers[topic]

    def publish_frame(
        self, frame: Frame, stamp: Time, parameters: Any, source: FrameSource
    ) -> None:
        """Publish one frame and its camera_info; cameras with more than colour extend this."""
        name, frame_id = parameters.camera, optical_frame(parameters)
        message = image_message(frame.pixels, stamp, frame_id)
        self.publisher(Image, f'{name}/image').publish(message)
        intrinsics = self.intrinsics(source)
        if intrinsics is not None:
            info = camera_info_message(intrinsics, stamp, frame_id)
            self.publisher(CameraInfo, f'{name}/camera_info').publish(info)

    def intrinsics(self, source: FrameSource) -> Intrinsics | None:
        """Return the intrinsics of the colour image; None: there is no camera_info yet."""
        raise NotImplementedError

    def stamp_of(self, frame: Frame) -> Time:
        """Return the ROS time at which a frame was taken; right under simulated time too."""
        age = max(0.0, time.monotonic() - frame.stamp)
        now = self.get_clock().now()
        if now.nanoseconds < age * 1e9:
            return now.to_msg()
        return (now - Duration(seconds=age)).to_msg()

    def open_camera(self) -> None:
        """Open the camera in the background, or say which parameter is wrong."""
        self._applied = self._values()
        try:
            self._settings = read_parameters(self, self.parameter_kind)
            self._source = self.make_source(self._settings)
        except VLAAdapterError as error:
            self._error = str(error)
            self.get_logger().error(f'{error}; set it right with `ros2 param set`')
            return
        self._error = ''
        self._grabber = FrameGrabber(
            self._source,
            self._wake.trigger,
            self._settings.reconnect_period,
            self._settings.stall_timeout,
        )
        self._grabber.start()

    def _values(self) -> dict[str, object]:
        return {name: p.value for name, p in self.get_parameters_by_prefix('').items()}

    def _follow_parameters(self) -> None:
        """Reopen the camera when parameters have changed, without waiting for it here.

        A validation callback could not: other callbacks may still refuse the change, and rclpy
        calls it once for each parameter of a request.
        """
        if self._closing is not None:
            grabber, end = self._closing
            if not grabber.ended:
                if time.monotonic() < end:
                    return
                self._warn_of_hanging_driver()
            self._closing = None
            self.open_camera()
        elif self._values() != self._applied:
            self._error = 'reopening the camera: parameters have changed'
            if self._grabber is None:
                self.open_camera()
                return
            self._grabber.request_stop()
            self._closing = self._grabber, time.monotonic() + STOP_TIMEOUT_S
            self._grabber = None

    def _on_wake(self) -> None:
        if self._grabber is None or self._settings is None or self._source is None:
            return
        frame = self._grabber.take()
        if frame is not None:
            self.publish_frame(frame, self.stamp_of(frame), self._settings, self._source)
            self._published += 1
        self._report(self._grabber.status())

    def _report(self, status: CameraStatus) -> None:
        """Log changes only: a camera that is away for an hour is one line, not thousands."""
        if (status.state, status.message) == self._reported or status.state == OPENING:
            return
        self._reported = (status.state, status.message)
        if status.state in (STREAMING, ENDED):
            self.get_logger().info(f'{status.state}: {status.message}')
        else:
            self.get_logger().error(f'{status.state}: {status.message}')

    def _publish_diagnostics(self) -> None:
        name = self.get_fully_qualified_name().lstrip('/')
        status = DiagnosticStatus(name=f'{name}: camera', hardware_id=self.get_name())
        if self._grabber is None:
            status.level, status.message = DiagnosticStatus.ERROR, self._error
        else:
            camera = self._grabber.status()
            good = camera.state == STREAMING
            status.level = DiagnosticStatus.OK if good else DiagnosticStatus.ERROR
            status.message = f'{camera.state}: {camera.message}'
            values = {
                'rate': f'{camera.rate:.1f} Hz',
                'frames': str(camera.frames),
                'published': str(self._published),
                'dropped frames': str(camera.dropped_frames),
                'reconnects': str(camera.reconnects),
                'calibration': self.calibration,
                **camera.details,
            }
            status.values = [KeyValue(key=k, value=v) for k, v in values.items()]
            if camera.state != STREAMING:
                self._report(camera)
        message = DiagnosticArray(status=[status])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)


def optical_frame(parameters: CameraParameters) -> str:
    """Return the frame of the headers."""
    return parameters.frame_id or f'{parameters.frame_prefix}{parameters.camera}_optical_frame'
