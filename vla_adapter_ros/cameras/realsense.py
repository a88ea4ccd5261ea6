# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A RealSense camera (D405) through pyrealsense2: colour, optional depth, true capture times.

The D405 has no RGB sensor: its colour comes from the stereo module. Therefore streams are
requested by kind, never by the name of a sensor.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np

from vla_adapter_ros.cameras.calibration import Intrinsics
from vla_adapter_ros.cameras.frames import EndOfStream, Frame
from vla_adapter_ros.cameras.settings import StreamSettings, setting
from vla_adapter_ros.errors import CameraError

# The SDK's own estimate of the host time is believed if it makes a frame at most this old.
_MAX_GLOBAL_AGE_S = 1.0
# A frame that arrives this much "earlier" than the best delay seen cannot be drift: the camera's
# clock was set forward.
_JUMP_S = 1.0
_INTEL = '8086'


@dataclass(frozen=True)
class RealSenseSettings(StreamSettings):
    """Settings of a RealSense camera; -1 leaves a control as the camera has it."""

    serial: str = setting('', 'Serial number (text); empty: the only RealSense camera.')
    file: str = setting('', 'Play this recording (.db3) instead of a camera.')
    depth: bool = setting(False, 'Also publish <camera>/depth/image (16UC1, mm), camera_info.')
    auto_exposure: bool = setting(False, 'Let the camera choose the exposure.')
    exposure: int = setting(16_000, 'Exposure time [µs].', low=-1, high=1_000_000)
    gain: int = setting(-1, 'Sensor gain.', low=-1, high=100_000)
    auto_white_balance: bool = setting(False, 'Let the camera choose its white point.')
    white_balance: int = setting(-1, 'Colour temperature [K].', low=-1, high=100_000)
    allow_usb2: bool = setting(False, 'Accept a camera on a USB 2 link.')

    def __post_init__(self) -> None:
        if self.fps != int(self.fps):
            raise CameraError(
                f'parameter fps: got {self.fps}, expected an integer for a RealSense'
            )

    @property
    def profile(self) -> Profile:
        """Size and frame rate of each stream."""
        return Profile(self.width, self.height, int(self.fps))


class RealSenseCamera:
    """A frame source; see `FrameSource`."""

    def __init__(self, settings: RealSenseSettings) -> None:
        self._settings = settings
        self._rs: Any = None
        self._pipeline: Any = None
        self._playback: Any = None
        self._clock = ClockOffset()
        self._device: RealSenseDevice | None = None
        self._depth_scale = 0.0
        self._last_number = -1
        self._stamps = ''
        self._warnings: list[str] = []
        self.color_intrinsics: Intrinsics | None = None
        self.depth_intrinsics: Intrinsics | None = None

    @property
    def details(self) -> dict[str, str]:
        """Serial number, USB link, clock of the stamps, controls that the camera lacks."""
        device = self._device
        return {
            'camera': device.name if device else '',
            'serial': device.serial if device else '',
            'usb': device.usb if device else '',
            'stamps': self._stamps,
            'warnings': '; '.join(self._warnings) or 'none',
        }

    def open(self) -> str:
        """Connect; returns a description of the streaming mode. Raises CameraError."""
        self._rs = load_sdk()
        self._clock, self._last_number, self._warnings = ClockOffset(), -1, []
        try:
            return self._open_file() if self._settings.file else self._open_camera()
        except RuntimeError as error:
            raise CameraError(explain(error)) from error

    def read(self, timeout: float) -> Frame:
        """Wait for a new colour frame, with the depth taken at the same moment.

        Raises:
            CameraError: none came within `timeout` [s], or the camera went away.
            EndOfStream: the recording has been played to its end.
        """
        deadline = time.monotonic() + timeout
        waited_for_depth = False
        while (remaining := deadline - time.monotonic()) > 0.0:
            frames = self._wait(remaining)
            arrival = time.monotonic()
            color = frames.get_color_frame() if frames else None
            # A frameset repeats the last image of a stream when only the other has a new one.
            if not color or color.get_frame_number() == self._last_number:
                continue
            depth = self._matching_depth(frames, color)
            if self._settings.depth and depth is None and not waited_for_depth:
                waited_for_depth = True
                continue
            self._last_number = color.get_frame_number()
            pixels = np.array(color.get_data(), np.uint8)  # a copy: the SDK reuses its memory
            return Frame(pixels, self._stamp(color, arrival), self._last_number, depth)
        raise CameraError(f'{self._name()} gave no frame for {timeout:g} s; {self._presence()}')

    def close(self) -> None:
        """Stop streaming."""
        pipeline, self._pipeline, self._playback = self._pipeline, None, None
        if pipeline is not None:
            # A camera that is gone cannot be stopped; that is why it is being closed.
            with contextlib.suppress(RuntimeError):
                pipeline.stop()

    def _name(self) -> str:
        return self._device.name if self._device else 'the camera'

    def _open_camera(self) -> str:
        rs, settings = self._rs, self._settings
        handles = list(rs.context().query_devices())
        described = [self._describe(handle) for handle in handles]
        self._device = choose_camera(described, settings.serial, settings.allow_usb2)
        config = rs.config()
        config.enable_device(self._device.serial)
        profile = self._start(config, handles[described.index(self._device)])
        self._set_controls(profile.get_device())
        return f'{self._name()} {self._device.serial}: {self._mode()}, USB {self._device.usb}'

    def _open_file(self) -> str:
        rs, path = self._rs, self._settings.file
        if not Path(path).is_file():
            raise CameraError(f'recording {path} does not exist')
        handle = rs.context().load_device(path)
        self._device = self._describe(handle)
        config = rs.config()
        config.enable_device_from_file(path, repeat_playback=False)
        profile = self._start(config, handle)
        self._playback = profile.get_device().as_playback()
        self._playback.set_real_time(True)
        return f'{self._name()} recorded in {Path(path).name}: {self._mode()}'

    def _start(self, config: Any, device: Any) -> Any:
        """Enable the streams, start the pipeline, and keep intrinsics and depth scale."""
        rs, settings = self._rs, self._settings
        wanted = settings.profile
        streams = [('colour', rs.stream.color, rs.format.rgb8)]
        if settings.depth:
            streams.append(('depth', rs.stream.depth, rs.format.z16))
        for name, stream, pixel_format in streams:
            choose_profile(self._offered(device, stream, pixel_format), wanted, name, self._name())
            config.enable_stream(
                stream, wanted.width, wanted.height, pixel_format, wanted.fps
            )
        self._pipeline = rs.pipeline()
        profile = self._pipeline.start(config)
        self.color_intrinsics = _intrinsics(profile.get_stream(rs.stream.color))
        if settings.depth:
            self.depth_intrinsics = _intrinsics(profile.get_stream(rs.stream.depth))
        return profile

    def _mode(self) -> str:
        settings = self._settings
        kind = 'colour and depth' if settings.depth else 'colour'
        return f'{kind} {settings.profile}'

    def _describe(self, device: Any) -> RealSenseDevice:
        info = self._rs.camera_info

        def text(kind: Any) -> str:
            return device.get_info(kind) if device.supports(kind) else ''

        return RealSenseDevice(
            text(info.name), text(info.serial_number), text(info.physical_port),
            text(info.usb_type_descriptor),
        )

    def _offered(self, device: Any, stream: Any, pixel_format: Any) -> list[Profile]:
        profiles = (
            profile.as_video_stream_profile()
            for sensor in device.query_sensors()
            for profile in sensor.get_stream_profiles()
            if profile.stream_type() == stream and profile.format() == pixel_format
        )
        return [Profile(p.width(), p.height(), p.fps()) for p in profiles]

    def _set_controls(self, device: Any) -> None:
        option, settings = self._rs.option, self._settings
        wanted = [('auto_exposure', option.enable_auto_exposure, int(settings.auto_exposure)),
                  ('auto_white_balance', option.enable_auto_white_balance,
                   int(settings.auto_white_balance))]
        if not settings.auto_exposure:
            wanted += [('exposure', option.exposure, settings.exposure),
                       ('gain', option.gain, settings.gain)]
        if not settings.auto_white_balance:
            wanted.append(('white_balance', option.white_balance, settings.white_balance))
        sensors = [s for s in device.query_sensors()
                   if any(p.stream_type() == self._rs.stream.color
                          for p in s.get_stream_profiles())]
        for name, kind, value in wanted:
            if value >= 0:
                self._warnings += set_option(sensors, name, kind, value)

    def _wait(self, timeout: float) -> Any:
        """Return a frameset, or None if none came in time."""
        try:
            came, frames = self._pipeline.try_wait_for_frames(max(1, int(timeout * 1000)))
        except RuntimeError as error:
            raise CameraError(f'{self._name()}: {explain(error)}') from error
        if came:
            return frames
        if self._playback and (
            self._playback.current_status() == self._rs.playback_status.stopped
        ):
            raise EndOfStream(f'{self._settings.file} has been played to its end')
        return None

    def _presence(self) -> str:
        """Return whether the camera is still plugged in: the two need different remedies."""
        if self._playback:
            return 'the recording has a gap; raise stall_timeout'
        serials = [self._describe(d).serial for d in self._rs.context().query_devices()]
        if self._device and self._device.serial in serials:
            return 'it is still plugged in, so its USB bus is overloaded or it hangs'
        return 'it was unplugged; plug it in again'

    def _matching_depth(self, frames: Any, color: Any) -> np.ndarray | None:
        """Return (H, W) uint16 millimetres taken with the colour image, or None."""
        depth = frames.get_depth_frame() if self._settings.depth else None
        if not depth:
            return None
        half_period = 500.0 / self._settings.fps
        if abs(depth.get_timestamp() - color.get_timestamp()) > half_period:
            return None
        # The D405's own unit is 0.1 mm, the D435's 1 mm; ROS wants millimetres (REP 118).
        return to_millimetres(np.asanyarray(depth.get_data()), depth.get_units())

    def _stamp(self, frame: Any, arrival: float) -> float:
        """Return the capture time on `time.monotonic()` [s]."""
        camera_time = frame.get_timestamp() * 1e-3
        domain = frame.get_frame_timestamp_domain()
        if domain == self._rs.timestamp_domain.global_time and not self._playback:
            # The SDK has mapped the camera's clock to the wall clock already.
            age = time.time() - camera_time
            if 0.0 <= age <= _MAX_GLOBAL_AGE_S:
                self._stamps = f'camera clock mapped by the SDK, age {age * 1e3:.1f} ms'
                return time.monotonic() - age
        stamp = self._clock.to_host(camera_time, arrival)
        self._stamps = f'camera clock + {self._clock.offset:.4f} s ({self._clock.resets} resets)'
        return stamp


def set_option(sensors: list[Any], name: str, kind: Any, value: int) -> list[str]:
    """Set an option on the sensors that have it; returns warnings.

    Raises:
        CameraError: the value is out of the camera's range.
    """
    able = [sensor for sensor in sensors if sensor.supports(kind)]
    for sensor in able:
        allowed = sensor.get_option_range(kind)
        if not allowed.min <= value <= allowed.max:
            raise CameraError(
                f'{name}: got {value}, this camera allows {allowed.min:g} … {allowed.max:g}'
                f' in steps of {allowed.step:g}'
            )
        sensor.set_option(kind, value)
    return [] if able else [f'the camera has no control {name}']


def to_millimetres(raw: np.ndarray, units: float) -> np.ndarray:
    """Return uint16 millimetres, rounded and saturated, of raw depth in `units` [m]."""
    return cv2.multiply(raw, units * 1e3, dtype=cv2.CV_16U)


def _intrinsics(profile: Any) -> Intrinsics:
    model = profile.as_video_stream_profile().get_intrinsics()
    return Intrinsics(
        model.width, model.height, model.fx, model.fy, model.ppx, model.ppy, tuple(model.coeffs)
    )


class ClockOffset:
    """Estimates host time minus camera time.

    A frame never arrives before it was taken, and the bus only ever adds delay, so the smallest
    difference seen is the best estimate. It is taken over a window, to follow slow drift
    (50 ppm is 1.5 ms in 30 s).

    Args:
        window: how long a difference is remembered [s].
    """

    def __init__(self, window: float = 30.0) -> None:
        self._window = window
        # (arrival, difference), differences increasing: a sliding-window minimum.
        self._candidates: deque[tuple[float, float]] = deque()
        self._last_camera_time: float | None = None
        self.resets = 0

    @property
    def offset(self) -> float | None:
        """Host time minus camera time [s], or None before the first frame."""
        return self._candidates[0][1] if self._candidates else None

    def to_host(self, camera_time: float, arrival: float) -> float:
        """Return when a frame was taken, on the host's clock [s].

        Args:
            camera_time: the frame's stamp on the camera's clock [s].
            arrival: when the frame arrived, on the host's monotonic clock [s].
        """
        difference = arrival - camera_time
        if self._was_reset(camera_time, difference):
            self._candidates.clear()
            self.resets += 1
        self._last_camera_time = camera_time
        while self._candidates and self._candidates[-1][1] >= difference:
            self._candidates.pop()
        self._candidates.append((arrival, difference))
        while self._candidates[0][0] < arrival - self._window:
            self._candidates.popleft()
        return camera_time + self._candidates[0][1]

    def _was_reset(self, camera_time: float, difference: float) -> bool:
        """Whether the camera restarted its clock (its 32-bit microseconds wrap in 71 minutes).

        A late frame looks like a clock set back, but the camera's time still goes forward: it
        keeps its true, old stamp.
        """
        if self._last_camera_time is None or self.offset is None:
            return False
        return camera_time < self._last_camera_time or difference < self.offset - _JUMP_S


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
    """Return pyrealsense2. Raises CameraError with the remedy if it cannot be loaded."""
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
            is connected to a USB 2 port.
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
