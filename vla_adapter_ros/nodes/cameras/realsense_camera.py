# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Node `realsense_camera`: a RealSense D405 on the wrist, without the `realsense2_camera` wrapper.

It works beside the wrapper, not instead of it: `alicia.launch.py camera_driver:=…` chooses.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from builtin_interfaces.msg import Time
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, Image

from vla_adapter_ros.cameras.calibration import Intrinsics
from vla_adapter_ros.cameras.frames import Frame, FrameSource
from vla_adapter_ros.cameras.realsense import RealSenseCamera, RealSenseSettings
from vla_adapter_ros.nodes.cameras.camera_messages import camera_info_message, depth_message
from vla_adapter_ros.nodes.cameras.camera_node import CameraNode, CameraParameters, optical_frame
from vla_adapter_ros.nodes.common.node_main import run_node
from vla_adapter_ros.nodes.common.parameters import parameter


@dataclass(frozen=True)
class RealSenseParameters(CameraParameters, RealSenseSettings):
    """Parameters of `realsense_camera`; -1 leaves a control as the camera has it."""

    camera: str = parameter(
        'wrist', 'Name in the robot contract; images are published on <camera>/image.',
        ros_name=True,
    )


class RealSenseCameraNode(CameraNode):
    """Publishes colour and camera_info, and optionally depth."""

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
        return RealSenseCamera(parameters)

    def intrinsics(self, source: RealSenseCamera) -> Intrinsics | None:
        """Return those that the camera holds."""
        return source.color_intrinsics

    def publish_frame(
        self, frame: Frame, stamp: Time, parameters: RealSenseParameters, source: RealSenseCamera
    ) -> None:
        """Publish colour, and depth with its own camera_info."""
        super().publish_frame(frame, stamp, parameters, source)
        name, frame_id = parameters.camera, optical_frame(parameters)
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
    sys.exit(run_node('realsense_camera', __doc__, RealSenseParameters, RealSenseCameraNode, args))


if __name__ == '__main__':
    main()
