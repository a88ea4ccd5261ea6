# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Intrinsics of a camera: the pinhole model, and the calibration files of camera_info_manager.

`ros2 run camera_calibration cameracalibrator` writes such a file (ost.yaml).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from vla_adapter_ros.errors import CameraError
from vla_adapter_ros.plain_yaml import parse_yaml

# camera_info_manager's: where calibration tools store a camera's file by its name.
DEFAULT_URL = 'file://${ROS_HOME}/camera_info/${NAME}.yaml'
# Distortion model → allowed numbers of coefficients (OpenCV's).
_COEFFICIENTS = {
    'plumb_bob': (0, 4, 5), 'rational_polynomial': (8, 12, 14), 'equidistant': (4,),
}  # fmt: skip
# Two sizes have the same shape if their aspect ratios differ by less than this.
_ASPECT_TOLERANCE = 0.01
_IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


class CalibrationError(CameraError):
    """A calibration file is missing, malformed, or of another image size."""


@dataclass(frozen=True)
class Intrinsics:
    """Pinhole model of one stream [px], as `sensor_msgs/CameraInfo` wants it.

    The centre of the top left pixel is (0, 0), as in OpenCV and ROS.

    Attributes:
        width: image width.
        height: image height.
        fx: focal length in columns; 0 = not calibrated.
        fy: focal length in rows.
        cx: column of the optical axis.
        cy: row of the optical axis.
        distortion: coefficients of the model, for `plumb_bob` (k1, k2, p1, p2, k3).
        model: of the distortion.
        rectification: (9,) rotation to the rectified frame, row by row.
        projection: (12,) projection of the rectified image, row by row; None: as the image itself.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion: tuple[float, ...] = ()
    model: str = 'plumb_bob'
    rectification: tuple[float, ...] = _IDENTITY
    projection: tuple[float, ...] | None = None

    @staticmethod
    def unknown(width: int, height: int) -> Intrinsics:
        """Return those of a camera that is not calibrated: all 0, as CameraInfo defines it."""
        return Intrinsics(width, height, 0.0, 0.0, 0.0, 0.0, (), '', (0.0,) * 9, (0.0,) * 12)

    @property
    def camera_matrix(self) -> list[float]:
        """(9,) K, row by row."""
        if self.fx == 0.0:
            return [0.0] * 9
        return [self.fx, 0.0, self.cx, 0.0, self.fy, self.cy, 0.0, 0.0, 1.0]

    @property
    def projection_matrix(self) -> list[float]:
        """(12,) P, row by row."""
        if self.projection is not None:
            return list(self.projection)
        return [self.fx, 0.0, self.cx, 0.0, 0.0, self.fy, self.cy, 0.0, 0.0, 0.0, 1.0, 0.0]

    def scaled(self, width: int, height: int) -> Intrinsics:
        """Return the intrinsics of the same picture at another size of the same shape.

        Raises:
            CalibrationError: the shape is another, so the camera shows another part of the scene.
        """
        if (width, height) == (self.width, self.height):
            return self
        x, y = width / self.width, height / self.height
        if abs(x / y - 1.0) > _ASPECT_TOLERANCE:
            raise CalibrationError(
                f'it is for {self.width}×{self.height}, the camera gives {width}×{height}, which '
                'has another aspect ratio'
            )
        projection = self.projection
        if projection is not None:
            fx, skew, cx, tx, a, fy, cy, ty, *rest = projection
            projection = (
                fx * x, skew * x, _scaled_centre(cx, x), tx * x,
                a * y, fy * y, _scaled_centre(cy, y), ty * y, *rest,
            )  # fmt: skip
        return replace(
            self, width=width, height=height, fx=self.fx * x, fy=self.fy * y,
            cx=_scaled_centre(self.cx, x), cy=_scaled_centre(self.cy, y), projection=projection,
        )  # fmt: skip


def _scaled_centre(position: float, scale: float) -> float:
    # The image's edge is half a pixel before the centre of its first pixel, at every size.
    return (position + 0.5) * scale - 0.5


@dataclass(frozen=True)
class Calibration:
    """Intrinsics and where they come from.

    Attributes:
        intrinsics: those of `Intrinsics.unknown` where there is no usable file.
        source: the file, or why there is none; one sentence.
        camera_name: the camera's name in the file; '' if it has none.
        doubtful: whether a person should look at it. A camera that was never calibrated (no URL,
            nothing in the default place) is no cause for that.
    """

    intrinsics: Intrinsics
    source: str
    camera_name: str = ''
    doubtful: bool = False


def calibration_path(
    url: str, camera: str, share_folder: Callable[[str], str], environment: Mapping[str, str]
) -> Path:
    """Return the file that a URL names, by the rules of camera_info_manager.

    Args:
        url: `file:///path`, `package://package/path`, or a path; '' means DEFAULT_URL. `${NAME}`
            is the camera's name, `${ROS_HOME}` the folder of that variable or ~/.ros.
        camera: its name.
        share_folder: name of a ROS package → its share folder; raises LookupError.
        environment: with ROS_HOME and HOME.

    Raises:
        CalibrationError: another kind of URL, or an unknown package.
    """
    home = environment.get('ROS_HOME') or f'{environment.get("HOME", "~")}/.ros'
    resolved = (url or DEFAULT_URL).replace('${NAME}', camera).replace('${ROS_HOME}', home)
    scheme, separator, rest = resolved.partition('://')
    if not separator:
        return Path(resolved).expanduser()
    if scheme == 'file' and rest.startswith('/'):
        return Path(rest)
    if scheme == 'package':
        package, _, inside = rest.partition('/')
        try:
            return Path(share_folder(package)) / inside
        except LookupError:
            raise CalibrationError(f'{url}: no ROS package is called {package!r}') from None
    raise CalibrationError(f'{url}: expected file:///path, package://package/path, or a path')


def read_calibration(path: Path) -> Calibration:
    """Read a calibration file. Raises CalibrationError naming file, key and what is allowed."""
    try:
        data = parse_yaml(path.read_text(encoding='utf-8'))
    except FileNotFoundError:
        raise CalibrationError(f'{path} does not exist') from None
    except OSError as error:
        raise CalibrationError(f'{path} cannot be read: {error.strerror}') from None
    except (yaml.YAMLError, ValueError):
        raise CalibrationError(f'{path} is not YAML') from None
    if not isinstance(data, Mapping):
        raise CalibrationError(f'{path}: expected the keys of a calibration')
    try:
        return Calibration(_intrinsics(data), str(path), str(data.get('camera_name') or ''))
    except CalibrationError as error:
        raise CalibrationError(f'{path}: {error}') from None


def _intrinsics(data: Mapping[str, Any]) -> Intrinsics:
    width, height = (_size(data, key) for key in ('image_width', 'image_height'))
    # Files from before 2010 have no model.
    model = data.get('distortion_model') or 'plumb_bob'
    if not isinstance(model, str) or model not in _COEFFICIENTS:
        known = ', '.join(_COEFFICIENTS)
        raise CalibrationError(f'distortion_model: got {model!r}, expected one of: {known}')
    k = _matrix(data, 'camera_matrix', (9,))
    if not (k[0] > 0.0 and k[4] > 0.0):
        raise CalibrationError('camera_matrix: expected focal lengths above 0')
    return Intrinsics(
        width, height, k[0], k[4], k[2], k[5],
        _matrix(data, 'distortion_coefficients', _COEFFICIENTS[model]), model,
        _matrix(data, 'rectification_matrix', (9,)), _matrix(data, 'projection_matrix', (12,)),
    )  # fmt: skip


def _size(data: Mapping[str, Any], key: str) -> int:
    value = data.get(key)
    if type(value) is not int or not 1 <= value <= 65535:
        raise CalibrationError(f'{key}: got {value!r}, expected a number of pixels')
    return value


def _matrix(data: Mapping[str, Any], key: str, lengths: tuple[int, ...]) -> tuple[float, ...]:
    matrix = data.get(key)
    given = matrix.get('data') if isinstance(matrix, Mapping) else None
    try:
        # YAML 1.1 reads 1e-05, as camera_info_manager writes it, as a text.
        values = tuple(float(value) for value in given)
    except (TypeError, ValueError):
        values = ()
    if (
        not isinstance(given, list)
        or len(values) != len(given)
        or len(given) not in lengths
        or (not all(map(math.isfinite, values)))
    ):
        expected = ' or '.join(str(length) for length in lengths)
        raise CalibrationError(f'{key}.data: got {given!r}, expected {expected} numbers')
    return values


def load_calibration(
    url: str,
    camera: str,
    width: int,
    height: int,
    share_folder: Callable[[str], str],
    environment: Mapping[str, str] = os.environ,
) -> Calibration:
    """Return the calibration of a stream of this size; never fails.

    Args:
        url: see `calibration_path`.
        camera: its name.
        width: of the stream [px].
        height: of the stream [px].
        share_folder: see `calibration_path`.
        environment: see `calibration_path`.
    """
    unknown = Intrinsics.unknown(width, height)
    place = ''
    try:
        path = calibration_path(url, camera, share_folder, environment)
        if not url and not path.is_file():
            return Calibration(unknown, f'not calibrated, no {path}')
        found = read_calibration(path)
        place = f'{path}: '
        intrinsics = found.intrinsics.scaled(width, height)
    except CalibrationError as error:
        return Calibration(unknown, f'not calibrated: {place}{error}', doubtful=True)
    source = found.source
    if intrinsics is not found.intrinsics:
        source += f', scaled from {found.intrinsics.width}×{found.intrinsics.height}'
    if other := found.camera_name not in ('', camera):
        source += f', made for camera {found.camera_name!r}, not {camera!r}'
    return Calibration(intrinsics, source, found.camera_name, other)
