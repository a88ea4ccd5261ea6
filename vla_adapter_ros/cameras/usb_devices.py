# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Find USB cameras by stable paths, and say in one sentence why one cannot be opened."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from vla_adapter_ros.errors import CameraError

Open = Callable[[str, int], int]


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
    """Yield a descriptor of the device. Raises CameraError with the way out."""
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
