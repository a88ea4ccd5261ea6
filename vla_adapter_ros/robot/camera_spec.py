# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""One camera of the robot contract: its images, and the part of them that the policy sees."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from vla_adapter_ros.robot.camera_pose import CameraPose, parse_pose
from vla_adapter_ros.robot.sections import Section

# Side of the smallest image or crop [px].
MIN_SIDE = 16
# A node subscribes to one of them: image_transport compresses while somebody listens, and a policy
# would see whichever of the two came last.
IMAGE_TRANSPORTS = ('raw', 'compressed')
# In a contract: any encoding that can be decoded.
ANY_ENCODING = 'any'
GREY_ENCODINGS = ('mono8', '8UC1')
# Encoding → bytes per pixel; robot/image_decoding.py has the conversions.
BYTES_PER_PIXEL = {
    'rgb8': 3,
    'bgr8': 3,
    'rgba8': 4,
    'bgra8': 4,
    'mono8': 1,
    '8UC1': 1,
    'yuv422_yuy2': 2,
    'yuyv': 2,
    'yuv422': 2,
    'uyvy': 2,
    'bayer_rggb8': 1,
    'bayer_bggr8': 1,
    'bayer_gbrg8': 1,
    'bayer_grbg8': 1,
}
# A plane of brightness, then one of colour at half the resolution.
PLANAR_ENCODINGS = ('nv12', 'nv21')
ENCODINGS = (*BYTES_PER_PIXEL, *PLANAR_ENCODINGS)


@dataclass(frozen=True)
class CameraSpec:
    """One camera as the model sees it.

    Attributes:
        width: expected width [px]; other sizes are refused.
        height: expected height [px].
        rotate: rotation applied before the model [degrees clockwise]: 0, 90, 180 or 270.
        mount: where it is mounted (`fixed` or `wrist`); documentation that travels with data.
        encoding: that the camera publishes, as in `sensor_msgs/Image`; others are refused.
            `any`: all that can be decoded.
        crop: (x, y, width, height) [px] of the part that the policy sees, before rotation; None:
            the full image.
        pose: of its optical frame on the robot, for TF; None: unknown. Not compared: a policy
            never uses it.
    """

    width: int
    height: int
    rotate: int
    mount: str
    encoding: str = ANY_ENCODING
    crop: tuple[int, int, int, int] | None = None
    pose: CameraPose | None = None

    @property
    def seen_size(self) -> tuple[int, int]:
        """(width, height) [px] of the part that the policy sees, before rotation."""
        return (self.width, self.height) if self.crop is None else self.crop[2:]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data; newer keys with default values are omitted for older releases."""
        data = asdict(self)
        if self.encoding == ANY_ENCODING:
            del data['encoding']
        if self.crop is None:
            del data['crop']
        else:
            data['crop'] = list(self.crop)
        if self.pose is None:
            del data['pose']
        else:
            data['pose'] = self.pose.to_dict()
        return data


def parse_camera(section: Section) -> CameraSpec:
    """Validate plain data. Raises ContractError naming key, value and what is allowed."""
    rotate = section.integer('rotate', 0, low=0, high=270)
    if rotate % 90:
        raise section.fail('rotate', 'expected 0, 90, 180 or 270')
    width = section.integer('width', low=MIN_SIDE, high=8192)
    height = section.integer('height', low=MIN_SIDE, high=8192)
    pose = section.section('pose', None)
    camera = CameraSpec(
        width=width,
        height=height,
        rotate=rotate,
        mount=section.text('mount', 'fixed', choices=('fixed', 'wrist')),
        encoding=section.text('encoding', ANY_ENCODING, choices=(ANY_ENCODING, *ENCODINGS)),
        crop=_parse_crop(section, width, height),
        pose=None if pose is None else parse_pose(pose),
    )
    section.finish()
    return camera


def _parse_crop(section: Section, width: int, height: int) -> tuple[int, int, int, int] | None:
    if not section.has('crop'):
        return None
    values = section.numbers('crop', length=4)
    x, y, w, h = (int(value) for value in values)
    inside = x >= 0 and y >= 0 and x + w <= width and y + h <= height
    if (x, y, w, h) != values or not inside or min(w, h) < MIN_SIDE:
        raise section.fail(
            'crop',
            f'expected [x, y, width, height] in integer pixels within {width}×{height}, at least '
            f'{MIN_SIDE} on each side',
        )
    return x, y, w, h
