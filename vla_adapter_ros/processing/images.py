# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""From camera image to model pixels, exactly as the official evaluation.

One path for training, offline evaluation, simulation and robot:

    rotate → [JPEG round trip → Lanczos resize] → centre crop → normalise once per vision tower

`resize_for_model` is the first half (a training cache stores its result), `crop_and_normalise` the
second; `preprocess` does both. Sources, in OpenHelix-Team/VLA-Adapter: `processing_prismatic.py`
and `experiments/robot/openvla_utils.py` (resize_image_for_policy, crop_and_resize).
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np

from vla_adapter_ros.errors import CheckpointError, ObservationError
from vla_adapter_ros.processing.resize import lanczos3

RESIZE_KERNELS = ('lanczos3', 'bicubic')
JPEG_QUALITY = 95
Triple = tuple[float, float, float]

# The official processor normalises for DINO with ImageNet's statistics as they come out of
# bfloat16 (its preprocessor_config.json stores them so), and for SigLIP with one half.
DINO_STATISTICS: tuple[Triple, Triple] = (
    (0.484375, 0.455078125, 0.40625),
    (0.228515625, 0.2236328125, 0.224609375),
)
SIGLIP_STATISTICS: tuple[Triple, Triple] = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def _check(good: bool, key: str, value: object, allowed: str) -> None:
    if not good:
        raise CheckpointError(f'preprocessing.{key}: got {value!r}, expected {allowed}')


def _statistics_of_towers(values: Any) -> tuple[tuple[Triple, Triple], ...]:
    try:
        return tuple((_triple(mean), _triple(std)) for mean, std in values)
    except (TypeError, ValueError):
        raise CheckpointError(
            f'preprocessing.normalisations: got {values!r}, expected [[mean, std], …] of RGB'
        ) from None


def _triple(values: Any) -> Triple:
    red, green, blue = (float(value) for value in values)
    return (red, green, blue)


@dataclass(frozen=True)
class ImageConfig:
    """How images become pixels; travels in the checkpoint. The defaults are official evaluation.

    Attributes:
        size: side of the model's square input [px].
        resize: `lanczos3` (TensorFlow's, official) or `bicubic` (Pillow's).
        jpeg_round_trip: encode and decode as JPEG before resizing, as the released models' data
            was; costs 4.4 ms for 640×480. Not used for our own recordings.
        crop_area: area of the centre crop in (0, 1], resized back to `size`; models trained with
            random crops of this area want it. 1 crops nothing.
        normalisations: (mean, std) of RGB in [0, 1] for each vision tower, in channel order.
        rotate: rotation of every image [degrees clockwise]; LIBERO's simulator needs 180.
    """

    size: int = 224
    resize: str = 'lanczos3'
    jpeg_round_trip: bool = True
    crop_area: float = 0.9
    normalisations: tuple[tuple[Triple, Triple], ...] = (DINO_STATISTICS, SIGLIP_STATISTICS)
    rotate: int = 0

    def __post_init__(self) -> None:
        positive = isinstance(self.size, int) and self.size > 0
        _check(positive, 'size', self.size, 'a positive integer')
        _check(self.resize in RESIZE_KERNELS, 'resize', self.resize, f'one of {RESIZE_KERNELS}')
        fraction = isinstance(self.crop_area, (int, float)) and 0 < self.crop_area <= 1
        _check(fraction, 'crop_area', self.crop_area, 'a number in (0, 1]')
        _check(self.rotate in (0, 90, 180, 270), 'rotate', self.rotate, '0, 90, 180 or 270')
        _check(len(self.normalisations) > 0, 'normalisations', self.normalisations, 'one a tower')

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data; `from_dict` reads it back."""
        data = asdict(self)
        data['normalisations'] = [[list(m), list(s)] for m, s in self.normalisations]
        return data

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> ImageConfig:
        """Read plain data. Raises CheckpointError for an unknown key or a bad value."""
        known = {field.name for field in fields(ImageConfig)}
        if unknown := sorted(set(data) - known):
            raise CheckpointError(f'preprocessing: unknown key {unknown[0]!r}; known: {known}')
        values = dict(data)
        if 'normalisations' in values:
            values['normalisations'] = _statistics_of_towers(values['normalisations'])
        return ImageConfig(**values)


# For our own checkpoints: the same without the JPEG round trip: 2.2 ms a 640×480 image, not 6.4.
OWN_IMAGES = ImageConfig(jpeg_round_trip=False)


def preprocess(
    image: np.ndarray, config: ImageConfig | None = None, *, rotate: int | None = None
) -> np.ndarray:
    """Return the model's pixels of one camera image.

    Args:
        image: (H, W, 3) uint8 RGB.
        config: preprocessing; default: that of the official evaluation.
        rotate: rotation [degrees clockwise] of this camera, in place of `config.rotate`.

    Returns:
        (3·T, size, size) float32, normalised for each of the T towers (DINOv2, then SigLIP).

    Raises:
        ObservationError: not an (H, W, 3) uint8 image, or empty.
    """
    config = config or ImageConfig()
    return crop_and_normalise(resize_for_model(image, config, rotate=rotate), config)


def resize_for_model(
    image: np.ndarray, config: ImageConfig, *, rotate: int | None = None
) -> np.ndarray:
    """Return (size, size, 3) uint8: rotated, JPEG round trip if configured, resized.

    An image that already has the model's size passes unchanged, as official evaluation does.
    """
    check_image(image)
    image = np.rot90(image, -(config.rotate if rotate is None else rotate) // 90)
    if image.shape[:2] == (config.size, config.size):
        return np.ascontiguousarray(image)
    if config.jpeg_round_trip:
        image = jpeg_round_trip(image)
    if config.resize == 'lanczos3':
        return lanczos3(image, config.size)
    return _pillow_bicubic(image, config.size)


def crop_and_normalise(image: np.ndarray, config: ImageConfig) -> np.ndarray:
    """Return (3·T, size, size) float32 pixels of a (size, size, 3) uint8 image."""
    cropped = centre_crop(image, config.crop_area)
    tables = normalisation_tables(config.normalisations)
    pixels = np.empty((len(tables), *image.shape[:2]), np.float32)
    # Eight bits have 256 normalised values; looking them up is exact and four times as fast.
    for channel, table in enumerate(tables):
        np.take(table, cropped[:, :, channel % 3], out=pixels[channel])
    return pixels


def check_image(image: np.ndarray) -> None:
    """Raise ObservationError unless `image` is a non-empty (H, W, 3) uint8 array."""
    shape = getattr(image, 'shape', None)
    if not isinstance(image, np.ndarray) or len(shape or ()) != 3 or image.shape[2] != 3:
        raise ObservationError(f'image: got shape {shape}, expected (height, width, 3) RGB')
    if image.dtype != np.uint8:
        raise ObservationError(f'image: got dtype {image.dtype}, expected uint8')
    if image.size == 0:
        raise ObservationError(f'image: got shape {shape}, expected a non-empty image')


def jpeg_round_trip(image: np.ndarray) -> np.ndarray:
    """Encode and decode as the official pipeline's TensorFlow defaults do.

    Quality 95, 4:2:0, accurate forward DCT; then the fast integer inverse DCT and smooth chroma
    upsampling. The accurate inverse DCT of other decoders differs by up to 7 levels.
    """
    import simplejpeg
    from PIL import Image

    # Not simplejpeg for encoding: below quality 96 it always takes the fast forward DCT.
    encoded = io.BytesIO()
    Image.fromarray(image).save(encoded, 'JPEG', quality=JPEG_QUALITY, subsampling='4:2:0')
    return simplejpeg.decode_jpeg(encoded.getvalue(), fastdct=True, fastupsample=False)


def _pillow_bicubic(image: np.ndarray, size: int) -> np.ndarray:
    from PIL import Image

    resized = Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(resized)


def centre_crop(image: np.ndarray, area: float) -> np.ndarray:
    """Crop the centre `area` of a uint8 image and resize it back, as `tf.image.crop_and_resize`.

    Bit-equal to the official evaluation: bilinear between aligned corners in float32, then
    floor(x · 255.5).
    """
    if area >= 1.0:
        return image
    height, width, _ = image.shape
    y_low, y_high, y_part = crop_positions(height, area)
    x_low, x_high, x_part = crop_positions(width, area)
    values = _unit_table().take(image)
    left, right = values.take(x_low, axis=1), values.take(x_high, axis=1)
    right -= left
    right *= x_part[:, None]
    right += left
    top, bottom = right.take(y_low, axis=0), right.take(y_high, axis=0)
    bottom -= top
    bottom *= y_part[:, None, None]
    bottom += top
    bottom *= np.float32(255.5)
    # Interpolation stays inside [0, 1], so only 1.0 · 255.5 must be kept from wrapping.
    return np.minimum(bottom, np.float32(255)).astype(np.uint8)


@lru_cache(maxsize=16)
def crop_positions(size: int, area: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return of each place (size,) in a centre crop the pixels below and above, and the part."""
    side = np.sqrt(np.float32(area))
    low = np.clip((np.float32(1) - side) / np.float32(2), np.float32(0), np.float32(1))
    high = low + side
    span = np.float32(size - 1)
    step = (high - low) * span / span
    position = low * span + np.arange(size, dtype=np.float32) * step
    below = np.floor(position)
    return below.astype(np.intp), np.ceil(position).astype(np.intp), position - below


@lru_cache(maxsize=1)
def _unit_table() -> np.ndarray:
    # TensorFlow multiplies by 1/255; dividing by 255 rounds differently.
    return np.arange(256, dtype=np.float32) * np.float32(1 / 255)


@lru_cache(maxsize=8)
def normalisation_tables(normalisations: tuple[tuple[Triple, Triple], ...]) -> np.ndarray:
    """Return (3·T, 256) float32: each channel's normalised value of each of the 256 levels."""
    # Here the official image processor divides by 255.
    levels = np.arange(256, dtype=np.float32) / np.float32(255)
    return np.stack(
        [
            (levels - np.float32(mean[channel])) / np.float32(std[channel])
            for mean, std in normalisations
            for channel in range(3)
        ]
    )


def as_camera(image: np.ndarray, rotate: int) -> np.ndarray:
    """Return an upright image in its camera's orientation: the inverse of the rotation.

    Policies rotate camera images; datasets hold upright ones.

    Args:
        image: (H, W, 3), upright.
        rotate: rotation that the policy applies [degrees clockwise].
    """
    return np.ascontiguousarray(np.rot90(image, rotate // 90))
