# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Node `usb_camera`: a UVC camera such as the Logitech C920e, with fixed focus and exposure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from vla_adapter_ros.cameras.frame import FrameSource
from vla_adapter_ros.cameras.usb import UsbCamera, UsbSettings
from vla_adapter_ros.nodes.cameras.camera_node import CameraNode, CameraParameters
from vla_adapter_ros.nodes.common.node_help import help_if_asked
from vla_adapter_ros.nodes.common.node_main import spin_node
from vla_adapter_ros.nodes.common.parameters import parameter


@dataclass(frozen=True)
class UsbCameraParameters(CameraParameters):
    """Parameters of `usb_camera`; -1 leaves a control as the camera has it."""

    device: str = parameter(
        '',
        'Path under /dev/v4l/by-id, a video file, or `generated`; empty: the only camera.',
    )
    pixel_format: str = parameter(
        'MJPG', 'Pixel format on the bus.', choices=('MJPG', 'YUYV', 'UYVY', 'RGB3', 'BGR3')
    )
    loop: bool = parameter(False, 'Start a video file again at its end.')
    auto_focus: bool = parameter(False, 'Let the camera focus: pictures change by themselves.')
    focus: int = parameter(0, 'Focus position, 0 = far.', low=-1, high=100_000)
    auto_exposure: bool = parameter(False, 'Let the camera choose the exposure.')
    exposure: int = parameter(156, 'Exposure time [0.1 ms].', low=-1, high=100_000)
    gain: int = parameter(-1, 'Sensor gain.', low=-1, high=100_000)
    auto_white_balance: bool = parameter(False, 'Let the camera choose its white point.')
    white_balance: int = parameter(4500, 'Colour temperature [K].', low=-1, high=100_000)
    power_line_frequency: int = parameter(
        -1, 'Against flicker: 0 off, 1 = 50 Hz, 2 = 60 Hz.', low=-1, high=3
    )


class UsbCameraNode(CameraNode):
    """Publishes a USB camera, a video file or a generated picture."""

    parameter_kind = UsbCameraParameters

    def __init__(self) -> None:
        super().__init__('usb_camera')

    def make_source(self, parameters: UsbCameraParameters) -> FrameSource:
        """Return the camera for validated parameters."""
        names = [spec.name for spec in fields(UsbSettings)]
        return UsbCamera(UsbSettings(**{name: getattr(parameters, name) for name in names}))


def main(args: Sequence[str] | None = None) -> None:
    """Run the node."""
    help_if_asked(args, 'usb_camera', __doc__ or '', UsbCameraParameters)
    raise SystemExit(spin_node(UsbCameraNode, args))


if __name__ == '__main__':
    main()
