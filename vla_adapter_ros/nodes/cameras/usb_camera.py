# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Node `usb_camera`: a UVC camera such as the Logitech C920e, with fixed focus and exposure."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from ament_index_python.packages import get_package_share_directory

from vla_adapter_ros.cameras.calibration import Intrinsics, load_calibration
from vla_adapter_ros.cameras.frames import FrameSource
from vla_adapter_ros.cameras.usb import UsbCamera, UsbSettings
from vla_adapter_ros.nodes.cameras.camera_node import CameraNode, CameraParameters
from vla_adapter_ros.nodes.common.node_main import run_node
from vla_adapter_ros.nodes.common.parameters import parameter


@dataclass(frozen=True)
class UsbCameraParameters(CameraParameters, UsbSettings):
    """Parameters of `usb_camera`; -1 leaves a control as the camera has it."""

    camera_info_url: str = parameter(
        '',
        'Calibration file (file://, package:// or a path) for <camera>/camera_info; empty: '
        '~/.ros/camera_info/<camera>.yaml, if it exists.',
    )


class UsbCameraNode(CameraNode):
    """Publishes a USB camera, a video file or a generated image."""

    parameter_kind = UsbCameraParameters

    def __init__(self) -> None:
        super().__init__('usb_camera')

    def make_source(self, parameters: UsbCameraParameters) -> FrameSource:
        """Return the camera for validated parameters."""
        found = load_calibration(
            parameters.camera_info_url, parameters.camera, parameters.width, parameters.height,
            get_package_share_directory,
        )  # fmt: skip
        self._intrinsics, self.calibration = found.intrinsics, found.source
        # A policy needs no calibration: whatever is wrong with it, images are published.
        # (rclpy knows a caller by its line and refuses another severity from the same one.)
        if found.doubtful:
            self.get_logger().warning(f'camera_info: {found.source}')
        else:
            self.get_logger().info(f'camera_info: {found.source}')
        return UsbCamera(parameters)

    def intrinsics(self, source: FrameSource) -> Intrinsics:
        """Return those of the calibration file."""
        return self._intrinsics


def main(args: Sequence[str] | None = None) -> None:
    """Run the node."""
    sys.exit(run_node('usb_camera', __doc__, UsbCameraParameters, UsbCameraNode, args))


if __name__ == '__main__':
    main()
