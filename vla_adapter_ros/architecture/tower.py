# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Shape of a vision tower, and the two of the released form."""

from __future__ import annotations

from dataclasses import dataclass

from vla_adapter_ros.architecture.checks import at_least_zero, divides, one_of, positive, refuse

STEMS = ('patch', 'conv')
TURN_MAPS = 4  # keypoint maps between which a turn is decided


@dataclass(frozen=True, kw_only=True)
class VisionTowerConfig:
    """One vision transformer.

    `depth` counts blocks as the released checkpoints do: features leave after block `depth - 2`
    (counted from 0), so the last block and the final norm are never computed and never built.
    """

    width: int
    depth: int
    heads: int
    mlp_hidden: int
    patch: int = 14
    image_size: int = 224
    class_token: bool = False
    registers: int = 0
    layer_scale: bool = False
    norm_eps: float = 1e-6
    name: str = ''
    # Small networks only.
    stem: str = 'patch'  # `conv`: strided 3x3 convolutions down to `patch`, a power of two
    keypoints: int = 0  # spatial-softmax maps whose positions make one more token per image
    local_keypoints: int = 0  # so many of them, the first, take the mean around their peak only
    asked_keypoints: int = 0  # of them, the first: the FiLM vector makes their filters
    keypoint_hidden: int = 0  # hidden channels of one more block before the maps
    turn_hidden: int = 0  # hidden channels of what decides whose turn it is (`small/turn.py`)
    pool: int = 1  # factor by which the patch grid is averaged before it leaves the tower
    position_scale: float = 0.02  # of the position embedding at initialisation

    def __post_init__(self) -> None:
        positive(self, 'width', 'heads', 'mlp_hidden', 'patch', 'image_size', 'pool')
        at_least_zero(self, 'norm_eps')
        divides(self, self.width)
        if self.depth < 2:
            refuse(self, 'depth', f'got {self.depth}, must be at least 2 (the last is unused)')
        if self.image_size % self.patch:
            refuse(
                self, 'patch', f'{self.patch} does not divide the image size {self.image_size}'
            )
        one_of(self, 'stem', STEMS)
        for name in ('local_keypoints', 'asked_keypoints'):
            if not 0 <= (count := getattr(self, name)) <= self.keypoints:
                allowed = f'0 to {self.keypoints} (keypoints)'
                refuse(self, name, f'got {count}, allowed are {allowed}')
        for name in ('keypoint_hidden', 'turn_hidden'):
            at_least_zero(self, name)
        if self.turn_hidden and self.keypoints < TURN_MAPS:
            refuse(self, 'keypoints', f'got {self.keypoints}, turn_hidden needs {TURN_MAPS}')
        if self.grid % self.pool:
            refuse(self, 'pool', f'{self.pool} does not divide the grid of {self.grid} patches')
        if self.stem == 'conv' and (self.patch < 4 or self.patch & (self.patch - 1)):
            refuse(
                self, 'patch', f'got {self.patch}, a conv stem needs a power of two of at least 4'
            )

    @property
    def grid(self) -> int:
        """Patches along one side of the image, before pooling."""
        return self.image_size // self.patch

    @property
    def used_depth(self) -> int:
        """Blocks that the features pass through."""
        return self.depth - 1

    @property
    def tokens(self) -> int:
        """Tokens per image that leave the tower."""
        return (self.grid // self.pool) ** 2 + (1 if self.keypoints else 0)


DINOV2_LARGE = VisionTowerConfig(
    width=1024,
    depth=24,
    heads=16,
    mlp_hidden=4096,
    class_token=True,
    registers=4,
    layer_scale=True,
    name='vit_large_patch14_reg4_dinov2.lvd142m',
)
SIGLIP_SO400M = VisionTowerConfig(
    width=1152, depth=27, heads=16, mlp_hidden=4304, name='vit_so400m_patch14_siglip_224'
)
