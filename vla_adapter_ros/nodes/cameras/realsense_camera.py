# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Node `realsense_camera`: a RealSense D405 on the wrist, without the `realsense2_camera` wrapper.

It works beside the wrapper, not instead of it: `alicia.launch.py camera_driver:=…` chooses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from builtin_interfaces.msg import Time
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, Image

from vla_adapter_ros.cameras.frame import Frame, FrameSource
from vla_adapter_ros.cameras.realsense import RealSenseCamera, RealSenseSettings
from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.nodes.cameras.camera_node import (
    CameraNode,
    CameraParameters,
    camera_info_message,
    depth_message,
    optical_frame,
)
from vla_adapter_ros.nodes.common.node_help import help_if_asked
from vla_adapter_ros.nodes.common.node_main import spin_node
from vla_adapter_ros.nodes.common.parameters import parameter


@dataclass(frozen=True)
class RealSenseParameters(CameraParameters):
    """Parameters of `realsense_camera`; -1 leaves a control as the camera has it."""

    camera: str = parameter(
        'wrist', 'Name in the robot contract; images are published on <camera>/image.'
    )
    serial: str = parameter('', 'Serial number (text); empty: the only RealSense camera.')
    file: str = parameter('', 'Play this recording (.db3) instead of a camera.')
    depth: bool = parameter(
        False, 'Also publish <camera>/depth/image (16UC1, mm) and its camera_info.'
    )
    auto_exposure: bool = parameter(False, 'Let the camera choose the exposure.')
    exposure: int = parameter(16_000, 'Exposure time [µs].', low=-1, high=1_000_000)
    gain: int = parameter(-1, 'Sensor gain.', low=-1, high=100_000)
    auto_white_balance: bool = parameter(False, 'Let the camera choose its white point.')
    white_balance: int = parameter(-1, 'Colour temperature [K].', low=-1, high=100_000)
    allow_usb2: bool = parameter(False, 'Accept a camera on a USB 2 link.')


class RealSenseCameraNode(CameraNode):
    """Publishes colour and camera_info, and depth where asked for."""

    parameter_kind = RealSenseParameters

    def __init__(self) -> None:
        super().__init__('realsense_camera')

    def open_camera(self) -> None:
        """Take a serial number that YAML has read as a number."""
        serial = self.get_parameter('serial').value
        if type(serial) is int:
            self.set_parameters([Parameter('serial', value=str(serial))])
        super().open_camera()

    def make_source(self, parameters: RealSenseParameters) -> FrameSource:
        """Return the camera for validated parameters."""
        if not parameters.fps.is_integer():
            raise VLAAdapterError(
                f'parameter fps: got {parameters.fps}, expected a whole number for a RealSense'
            )
        values = {s.name: getattr(parameters, s.name) for s in fields(RealSenseSettings)}
        return RealSenseCamera(RealSenseSettings(**{**values, 'fps': int(parameters.fps)}))

    def publish_frame(
        self, frame: Frame, stamp: Time, parameters: RealSenseParameters, source: RealSenseCamera
    ) -> None:
        """Publish colour, its camera_info, and depth with its own."""
        super().publish_frame(frame, stamp, parameters, source)
        name, frame_id = parameters.camera, optical_frame(parameters)
        if source.color_intrinsics is not None:
            info = camera_info_message(source.color_intrinsics, stamp, frame_id)
            self.publisher(CameraInfo, f'{name}/camera_info').publish(info)
        if frame.depth is None:
            return
        # Colour and depth of the D405 come from one imager, so they share a frame.
        self.publisher(Image, f'{name}/depth/image').publish(
            depth_message(frame.depth, stamp, frame_id)
        )
        if source.depth_intrinsics is not None:
            info = camera_info_message(source.depth_intrinsics, stamp, frame_id)
            self.publisher(CameraInfo, f'{name}/depth/camera_info').publish(info)


def main(args: Sequence[str] | None = None) -> None:
    """Run the node."""
    help_if_asked(args, 'realsense_camera', __doc__ or '', RealSenseParameters)
    raise SystemExit(spin_node(RealSenseCameraNode, args))


if __name__ == '__main__':
    main()
