# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""USB cameras by stable paths, and the part of Video4Linux2 that OpenCV hides: modes, controls.

Structures and request codes: linux/videodev2.h. A code carries the size of its structure, which
a test checks.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from vla_adapter_ros.errors import CameraError

Open = Callable[[str, int], int]
Ioctl = Callable[[int, int, ctypes.Structure], object]

_CAPTURE = 1  # V4L2_BUF_TYPE_VIDEO_CAPTURE
_DISCRETE = 1  # V4L2_FRMSIZE_TYPE_DISCRETE, V4L2_FRMIVAL_TYPE_DISCRETE
_CAPABILITY_CAPTURE = 0x00000001
_CAPABILITY_DEVICE_CAPS = 0x80000000
_CONTROL_DISABLED = 0x0001

CONTROLS = {
    'gain': 0x00980913,
    'auto_white_balance': 0x0098090C,
    'white_balance': 0x0098091A,
    'power_line_frequency': 0x00980918,
    'auto_exposure': 0x009A0901,
    'exposure': 0x009A0902,
    'exposure_changes_frame_rate': 0x009A0903,
    'focus': 0x009A090A,
    'auto_focus': 0x009A090C,
}


class Capability(ctypes.Structure):
    """struct v4l2_capability."""

    _fields_ = [
        ('driver', ctypes.c_char * 16), ('card', ctypes.c_char * 32),
        ('bus_info', ctypes.c_char * 32), ('version', ctypes.c_uint32),
        ('capabilities', ctypes.c_uint32), ('device_caps', ctypes.c_uint32),
        ('reserved', ctypes.c_uint32 * 3),
    ]


class FormatDescription(ctypes.Structure):
    """struct v4l2_fmtdesc."""

    _fields_ = [
        ('index', ctypes.c_uint32), ('type', ctypes.c_uint32), ('flags', ctypes.c_uint32),
        ('description', ctypes.c_char * 32), ('pixelformat', ctypes.c_uint32),
        ('reserved', ctypes.c_uint32 * 4),
    ]


class FrameSize(ctypes.Structure):
    """struct v4l2_frmsizeenum; the union read as its discrete member."""

    _fields_ = [
        ('index', ctypes.c_uint32), ('pixel_format', ctypes.c_uint32), ('type', ctypes.c_uint32),
        ('width', ctypes.c_uint32), ('height', ctypes.c_uint32),
        ('rest', ctypes.c_uint32 * 4), ('reserved', ctypes.c_uint32 * 2),
    ]


class FrameInterval(ctypes.Structure):
    """struct v4l2_frmivalenum; the union read as its discrete member."""

    _fields_ = [
        ('index', ctypes.c_uint32), ('pixel_format', ctypes.c_uint32),
        ('width', ctypes.c_uint32), ('height', ctypes.c_uint32), ('type', ctypes.c_uint32),
        ('numerator', ctypes.c_uint32), ('denominator', ctypes.c_uint32),
        ('rest', ctypes.c_uint32 * 4), ('reserved', ctypes.c_uint32 * 2),
    ]


class ControlQuery(ctypes.Structure):
    """struct v4l2_queryctrl."""

    _fields_ = [
        ('id', ctypes.c_uint32), ('type', ctypes.c_uint32), ('name', ctypes.c_char * 32),
        ('minimum', ctypes.c_int32), ('maximum', ctypes.c_int32), ('step', ctypes.c_int32),
        ('default', ctypes.c_int32), ('flags', ctypes.c_uint32), ('reserved', ctypes.c_uint32 * 2),
    ]


class Control(ctypes.Structure):
    """struct v4l2_control."""

    _fields_ = [('id', ctypes.c_uint32), ('value', ctypes.c_int32)]


QUERYCAP, ENUM_FMT, ENUM_FRAMESIZES = 0x80685600, 0xC0405602, 0xC02C564A
ENUM_FRAMEINTERVALS, QUERYCTRL, S_CTRL, G_CTRL = 0xC034564B, 0xC0445624, 0xC008561C, 0xC008561B


@dataclass(frozen=True)
class Mode:
    """A size and frame rate that a camera offers in one pixel format (`MJPG`, `YUYV`, …)."""

    pixel_format: str
    width: int
    height: int
    fps: float

    def __str__(self) -> str:
        return f'{self.width}×{self.height}@{self.fps:g} {self.pixel_format}'


def fourcc(text: str) -> int:
    """Return the code of a four-letter pixel format."""
    return int.from_bytes(text.encode('ascii'), 'little')


def query_card(descriptor: int, ioctl: Ioctl = fcntl.ioctl) -> str:
    """Return the camera's name. Raises CameraError if it is not a capture device."""
    capability = Capability()
    try:
        ioctl(descriptor, QUERYCAP, capability)
    except OSError as error:
        raise CameraError('not a Video4Linux2 device; name a camera (/dev/video0)') from error
    flags = capability.capabilities
    if flags & _CAPABILITY_DEVICE_CAPS:
        flags = capability.device_caps
    name = capability.card.decode(errors='replace')
    if not flags & _CAPABILITY_CAPTURE:
        # UVC cameras register a second node for metadata; picking it is the usual mistake.
        raise CameraError(f'metadata node of {name}; use the path that ends in -index0')
    return name


def query_modes(descriptor: int, ioctl: Ioctl = fcntl.ioctl) -> list[Mode]:
    """Return the modes a camera offers; empty for drivers that only know ranges."""
    modes = []
    for description in _enumerate(descriptor, ENUM_FMT, lambda: FormatDescription(type=_CAPTURE),
                                  ioctl):
        code = description.pixelformat
        name = code.to_bytes(4, 'little').decode('ascii', 'replace')
        for size in _enumerate(descriptor, ENUM_FRAMESIZES,
                               lambda code=code: FrameSize(pixel_format=code), ioctl):
            if size.type != _DISCRETE:
                continue
            width, height = size.width, size.height
            for interval in _enumerate(
                descriptor, ENUM_FRAMEINTERVALS,
                lambda code=code, width=width, height=height: FrameInterval(
                    pixel_format=code, width=width, height=height), ioctl,
            ):
                if interval.type == _DISCRETE and interval.numerator:
                    rate = interval.denominator / interval.numerator
                    modes.append(Mode(name, width, height, round(rate, 2)))
    return modes


def set_control(descriptor: int, name: str, value: int, ioctl: Ioctl = fcntl.ioctl) -> str:
    """Set a control; returns a warning for one the camera lacks, else an empty text.

    Raises:
        CameraError: the value is out of the camera's range, or the camera refuses it.
    """
    query = ControlQuery(id=CONTROLS[name])
    try:
        ioctl(descriptor, QUERYCTRL, query)
    except OSError:
        return f'the camera has no control {name}'
    if query.flags & _CONTROL_DISABLED:
        return f'the camera has no control {name}'
    if not query.minimum <= value <= query.maximum:
        raise CameraError(
            f'{name}: got {value}, this camera allows {query.minimum} … {query.maximum}'
            f' in steps of {query.step}'
        )
    try:
        ioctl(descriptor, S_CTRL, Control(id=query.id, value=value))
    except OSError as error:
        raise CameraError(
            f'{name}: the camera refused {value}: {errno.errorcode.get(error.errno or 0, error)}'
        ) from error
    return ''


def _enumerate(
    descriptor: int, request: int, make: Callable[[], ctypes.Structure], ioctl: Ioctl
) -> Iterator[ctypes.Structure]:
    """Yield the entries of an enumeration until the driver says EINVAL."""
    for index in range(256):
        entry = make()
        entry.index = index
        try:
            ioctl(descriptor, request, entry)
        except OSError:
            return
        yield entry


@dataclass(frozen=True)
class UsbDevice:
    """One capture device: `/dev/videoN` and the stable links to it ('' where there is none)."""

    node: str
    by_id: str
    by_path: str


def list_devices(root: Path = Path('/')) -> list[UsbDevice]:
    """Return the connected cameras; udev links end in -index0 for the node that gives images."""
    by_id = _links(root / 'dev/v4l/by-id', root)
    by_path = _links(root / 'dev/v4l/by-path', root)
    nodes = sorted({*by_id, *by_path})
    return [UsbDevice(node, by_id.get(node, ''), by_path.get(node, '')) for node in nodes]


def _links(folder: Path, root: Path) -> dict[str, str]:
    found = {}
    if folder.is_dir():
        for link in sorted(folder.glob('*-index0')):
            target = '/' + str(link.resolve().relative_to(root.resolve()))
            found[target] = '/' + str(link.relative_to(root))
    return found


def choose_device(wanted: str, root: Path = Path('/')) -> str:
    """Return the path to open for a `device` parameter ('' = the only camera there is).

    Raises:
        CameraError: no camera, several to choose from, the wanted one is not connected, or its
            by-id name is shared by two cameras.
    """
    devices = list_devices(root)
    if not wanted:
        return _only(devices)
    if not (root / wanted.lstrip('/')).exists():
        raise CameraError(f'{wanted} is not connected; {_describe(devices)}')
    twins = _same_name(wanted, devices, root)
    if twins:
        raise CameraError(
            f'{wanted} names {len(twins)} cameras with one serial number; use their ports:'
            f' {", ".join(twins)}'
        )
    return wanted


def _only(devices: list[UsbDevice]) -> str:
    if len(devices) == 1:
        return devices[0].by_id or devices[0].by_path
    if not devices:
        raise CameraError(
            'no camera is connected; plug one in, and check `lsusb` and the cable if it does not'
            ' appear under /dev/v4l/by-id'
        )
    raise CameraError(f'{len(devices)} cameras are connected, set `device`; {_describe(devices)}')


def _same_name(wanted: str, devices: list[UsbDevice], root: Path) -> list[str]:
    """Return the by-path links of the cameras that compete for one by-id link.

    Two cameras with one serial number have one by-id name between them. udev gives it to
    whichever it saw last, so it may change hands at every start.
    """
    owner = next((d for d in devices if d.by_id == wanted), None)
    if owner is None:
        return []
    name = _model(owner.node, root)
    twins = [d for d in devices if not d.by_id and name and _model(d.node, root) == name]
    return [d.by_path for d in (owner, *twins)] if twins else []


def _model(node: str, root: Path) -> str:
    """Return the camera's name from sysfs, '' when unknown."""
    with suppress(OSError):
        return (root / 'sys/class/video4linux' / Path(node).name / 'name').read_text().strip()
    return ''


def _describe(devices: list[UsbDevice]) -> str:
    if not devices:
        return 'no camera is connected'
    return 'connected: ' + ', '.join(d.by_id or d.by_path for d in devices)


@contextmanager
def opened(path: str, open_device: Open = os.open) -> Iterator[int]:
    """Yield a descriptor of the device. Raises CameraError with the remedy."""
    try:
        descriptor = open_device(path, os.O_RDWR | os.O_NONBLOCK)
    except PermissionError as error:
        raise CameraError(
            f'{path}: permission denied; run `sudo usermod -aG video $USER` and log in again'
        ) from error
    except OSError as error:
        raise CameraError(f'{path}: cannot be opened: {os.strerror(error.errno or 0)}') from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)
