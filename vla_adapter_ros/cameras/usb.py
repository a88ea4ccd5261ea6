# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A USB (UVC) camera through OpenCV and Video4Linux2, with fixed focus, exposure and colour.

A policy sees what its training data showed. A camera that refocuses or re-exposes gives other
pictures of the same scene, so the automatic functions are off unless asked for.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import cv2

from vla_adapter_ros.cameras import v4l2
from vla_adapter_ros.cameras.captures import Capture, Generated, PacedFile
from vla_adapter_ros.cameras.frame import EndOfStream, Frame
from vla_adapter_ros.cameras.usb_devices import choose_device, opened
from vla_adapter_ros.errors import CameraError

GENERATED = 'generated'
_VIDEO_SUFFIXES = ('.mp4', '.avi', '.mkv', '.mov', '.webm')
# A driver's capture time is believed if it is at most this old on arrival [s].
_MAX_BUFFER_AGE = 1.0


@dataclass(frozen=True)
class UsbSettings:
    """What to open and how; -1 leaves a control as the camera has it.

    Attributes:
        device: path under /dev (by-id), a video file, `generated`, or '' = the only camera.
        width: image width [px].
        height: image height [px].
        fps: frame rate [1/s].
        pixel_format: four letters; MJPG is needed for 30 fps above 640×480 on USB 2.
        loop: start a video file again at its end.
        auto_focus: let the camera focus by itself.
        focus: focus position in the camera's unit (0 = far).
        auto_exposure: let the camera choose the exposure.
        exposure: exposure time [0.1 ms].
        gain: sensor gain in the camera's unit.
        auto_white_balance: let the camera choose its white point.
        white_balance: colour temperature [K].
        power_line_frequency: against flicker: 0 off, 1 = 50 Hz, 2 = 60 Hz.
    """

    device: str = ''
    width: int = 640
    height: int = 480
    fps: float = 30.0
    pixel_format: str = 'MJPG'
    loop: bool = False
    auto_focus: bool = False
    focus: int = 0
    auto_exposure: bool = False
    exposure: int = 156
    gain: int = -1
    auto_white_balance: bool = False
    white_balance: int = 4500
    power_line_frequency: int = -1

    def controls(self) -> dict[str, int]:
        """Return the controls to set, in the order the hardware needs: modes before values."""
        wanted = {
            'auto_focus': int(self.auto_focus),
            # V4L2's menu: 1 = manual, 3 = aperture priority (what webcams call automatic).
            'auto_exposure': 3 if self.auto_exposure else 1,
            'auto_white_balance': int(self.auto_white_balance),
            # Else the camera lowers its frame rate in a dark room.
            'exposure_changes_frame_rate': 0,
            'power_line_frequency': self.power_line_frequency,
            'focus': -1 if self.auto_focus else self.focus,
            'exposure': -1 if self.auto_exposure else self.exposure,
            'gain': -1 if self.auto_exposure else self.gain,
            'white_balance': -1 if self.auto_white_balance else self.white_balance,
        }
        return {name: value for name, value in wanted.items() if value >= 0}


class UsbCamera:
    """A frame source; see `FrameSource`."""

    def __init__(self, settings: UsbSettings) -> None:
        self._settings = settings
        self._capture: Capture | None = None
        self._number = 0
        self._name = ''
        self._warnings: list[str] = []
        self._stamp_from = 'arrival'

    @property
    def details(self) -> dict[str, str]:
        """Name, clock of the stamps, and controls that the camera lacks."""
        return {
            'camera': self._name,
            'stamps': self._stamp_from,
            'warnings': '; '.join(self._warnings) or 'none',
        }

    def open(self) -> str:
        """Connect; returns the mode in words. Raises CameraError."""
        self._warnings = []
        device = self._settings.device
        if device == GENERATED:
            self._name = 'generated picture'
            self._capture = Generated(
                self._settings.width, self._settings.height, self._settings.fps
            )
        elif device.lower().endswith(_VIDEO_SUFFIXES):
            self._capture = self._open_file(device)
        else:
            self._capture = self._open_device(choose_device(device))
        settings = self._settings
        return f'{self._name}: {settings.width}×{settings.height}@{settings.fps:g}'

    def read(self, timeout: float) -> Frame:
        """Wait for a frame. Raises CameraError when none comes, EndOfStream after a file's end.

        OpenCV's own timeout applies (2 s); `timeout` is not used by it.
        """
        assert self._capture is not None
        if not self._capture.grab():
            if isinstance(self._capture, PacedFile):
                raise EndOfStream(f'{self._settings.device} has been played to its end')
            raise CameraError(
                f'{self._name} stopped giving frames: unplugged, or its USB bus is overloaded'
            )
        arrival = time.monotonic()
        good, picture = self._capture.retrieve()
        if not good or picture is None:
            raise CameraError(f'{self._name} sent a frame that cannot be decoded')
        self._check_size(picture.shape[1], picture.shape[0])
        self._number += 1
        return Frame(
            cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), self._stamp(arrival), self._number
        )

    def close(self) -> None:
        """Release the camera."""
        capture, self._capture = self._capture, None
        if capture is not None:
            capture.release()

    def _open_file(self, path: str) -> Capture:
        if not Path(path).is_file():
            raise CameraError(f'video file {path} does not exist')
        capture = PacedFile(path, self._settings.loop)
        if not capture.opened:
            raise CameraError(f'video file {path} cannot be decoded')
        self._name = Path(path).name
        return capture

    def _open_device(self, path: str) -> Capture:
        settings = self._settings
        with opened(path) as descriptor:
            try:
                self._name = v4l2.query_card(descriptor)
            except CameraError as error:
                raise CameraError(f'{path}: {error}') from error
            check_mode(v4l2.query_modes(descriptor), settings, self._name)
            capture = cv2.VideoCapture(path, cv2.CAP_V4L2)
            if not capture.isOpened():
                raise CameraError(
                    f'{path} ({self._name}) cannot be streamed; is another program using it?'
                    f' `fuser {path}` names it'
                )
            for prop, value in (
                (cv2.CAP_PROP_FOURCC, v4l2.fourcc(settings.pixel_format)),
                (cv2.CAP_PROP_FRAME_WIDTH, settings.width),
                (cv2.CAP_PROP_FRAME_HEIGHT, settings.height),
                (cv2.CAP_PROP_FPS, settings.fps),
            ):
                capture.set(prop, value)
            # After streaming has started: some cameras forget controls that were set before.
            capture.grab()
            for name, value in settings.controls().items():
                if warning := v4l2.set_control(descriptor, name, value):
                    self._warnings.append(warning)
        return capture

    def _check_size(self, width: int, height: int) -> None:
        if (width, height) != (self._settings.width, self._settings.height):
            raise CameraError(
                f'{self._name} gives {width}×{height}, asked for'
                f' {self._settings.width}×{self._settings.height}; set width and height'
            )

    def _stamp(self, arrival: float) -> float:
        """Return the capture time: the driver's where it gives one (monotonic), else arrival."""
        assert self._capture is not None
        buffer_time = self._capture.get(cv2.CAP_PROP_POS_MSEC) * 1e-3
        if 0.0 <= arrival - buffer_time <= _MAX_BUFFER_AGE:
            self._stamp_from = 'driver'
            return buffer_time
        self._stamp_from = 'arrival'
        return arrival


def check_mode(modes: list[v4l2.Mode], settings: UsbSettings, name: str) -> None:
    """Raise CameraError with the camera's own list if it does not offer the wanted mode."""
    wanted = v4l2.Mode(settings.pixel_format, settings.width, settings.height, settings.fps)
    # A driver that lists nothing is asked to stream, and the first frame's size is checked.
    if not modes or any(
        (m.pixel_format, m.width, m.height) == (wanted.pixel_format, wanted.width, wanted.height)
        and abs(m.fps - wanted.fps) < 0.5
        for m in modes
    ):
        return
    same_format = [m for m in modes if m.pixel_format == wanted.pixel_format]
    offered = ', '.join(str(m) for m in same_format or modes)
    raise CameraError(f'{name} does not offer {wanted}; it offers: {offered}')
