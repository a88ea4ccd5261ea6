# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Load pyrealsense2, choose a camera and a profile, and translate the SDK's errors."""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from vla_adapter_ros.errors import CameraError

_INTEL = '8086'


@dataclass(frozen=True)
class RealSenseDevice:
    """A connected camera as the SDK describes it; `usb` is the bus generation, `3.2` or `2.1`."""

    name: str
    serial: str
    port: str
    usb: str


@dataclass(frozen=True, order=True)
class Profile:
    """A size and frame rate."""

    width: int
    height: int
    fps: int

    def __str__(self) -> str:
        return f'{self.width}×{self.height}@{self.fps}'


def load_sdk() -> ModuleType:
    """Return pyrealsense2. Raises CameraError with the way out if it cannot be loaded."""
    try:
        return importlib.import_module('pyrealsense2')
    except ImportError as error:
        if 'libusb' not in str(error):
            raise CameraError(
                'pyrealsense2 is not installed; run `pip install pyrealsense2`'
            ) from error
    try:
        # The PyPI package libusb-package carries the library for machines without the Debian one.
        library = importlib.import_module('libusb_package').get_library_path()
        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
        return importlib.import_module('pyrealsense2')
    except (ImportError, OSError) as error:
        raise CameraError(
            'pyrealsense2 needs libusb; run `sudo apt install libusb-1.0-0`'
        ) from error


def choose_camera(
    devices: Sequence[RealSenseDevice], serial: str, allow_usb2: bool = False,
    usb_devices: Path = Path('/sys/bus/usb/devices'),
) -> RealSenseDevice:
    """Return the camera with a serial number ('' = the only one connected).

    Raises:
        CameraError: none, another or several are connected, two share the serial number, or it
            hangs on a USB 2 port.
    """
    if not devices:
        raise CameraError(_why_none(usb_devices))
    # A serial number written without quotes in YAML is a number and loses its leading zeros.
    wanted = serial.lstrip('0')
    found = [device for device in devices if wanted in ('', device.serial.lstrip('0'))]
    listing = ', '.join(f'{d.name} {d.serial}' for d in devices)
    if not found:
        raise CameraError(f'RealSense {serial} is not connected; connected: {listing}')
    if len({device.serial for device in found}) > 1:
        raise CameraError(
            f'{len(found)} RealSense cameras are connected, set `serial`; connected: {listing}'
        )
    if len(found) > 1:
        ports = ' and '.join(device.port for device in found)
        raise CameraError(
            f'{len(found)} cameras have the serial number {found[0].serial} (ports {ports}),'
            f' which the SDK cannot tell apart; unplug one'
        )
    if found[0].usb.startswith('2') and not allow_usb2:
        raise CameraError(
            f'{found[0].name} {found[0].serial} is on a USB {found[0].usb} link, too slow for'
            f' its images; use a USB 3 port and the camera\'s own cable (or set allow_usb2)'
        )
    return found[0]


def choose_profile(
    offered: Sequence[Profile], wanted: Profile, stream: str, camera: str
) -> Profile:
    """Return the wanted profile, or raise CameraError with the camera's own list."""
    if wanted in offered:
        return wanted
    listing = ', '.join(str(p) for p in sorted(set(offered))) or 'none'
    raise CameraError(
        f'{camera} offers no {stream} stream of {wanted}; it offers: {listing}'
    )


def explain(error: Exception) -> str:
    """Return one line that says what an SDK error means and what to do."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    lower = text.lower()
    if 'access' in lower or 'permission' in lower:
        return f'permission denied by USB ({text}); install the udev rules of docs/hardware.md'
    if 'busy' in lower or 'power state' in lower:
        return f'the camera is in use by another program ({text}); close it'
    if 'no device connected' in lower or 'disconnected' in lower:
        return f'the camera is not connected ({text}); check the cable'
    return f'the RealSense SDK says: {text}'


def _why_none(usb_devices: Path) -> str:
    """Return why the SDK sees no camera: none there, or one it may not open."""
    for device in sorted(usb_devices.glob('*')) if usb_devices.is_dir() else ():
        if _read(device / 'idVendor') == _INTEL and 'RealSense' in _read(device / 'product'):
            return (
                f'{_read(device / "product")} is plugged in (USB {device.name}) but cannot be'
                f' opened; install the udev rules of docs/hardware.md and plug it in again'
            )
    return 'no RealSense camera is connected; plug it into a USB 3 port'


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ''
