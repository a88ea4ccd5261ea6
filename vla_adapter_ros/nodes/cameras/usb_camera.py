# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Node `usb_camera`: a UVC camera such as the Logitech C920e, with fixed focus and exposure."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from vla_adapter_ros.cameras.frames import FrameSource
from vla_adapter_ros.cameras.usb import UsbCamera, UsbSettings
from vla_adapter_ros.nodes.cameras.camera_node import CameraNode, CameraParameters
from vla_adapter_ros.nodes.common.node_main import run_node


@dataclass(frozen=True)
class UsbCameraParameters(CameraParameters, UsbSettings):
    """Parameters of `usb_camera`; -1 leaves a control as the camera has it."""


class UsbCameraNode(CameraNode):
    """Publishes a USB camera, a video file or a generated image."""

    parameter_kind = UsbCameraParameters

    def __init__(self) -> None:
        super().__init__('usb_camera')

    def make_source(self, parameters: UsbCameraParameters) -> FrameSource:
        """Return the camera for validated parameters."""
        return UsbCamera(parameters)


def main(args: Sequence[str] | None = None) -> None:
    """Run the node."""
    sys.exit(run_node('usb_camera', __doc__, UsbCameraParameters, UsbCameraNode, args))


if __name__ == '__main__':
    main()
