# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Settings as dataclass fields: default, description and limits in one place.

The settings of a camera are the parameters of its node too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Limits:
    """Allowed values of a setting, and its description."""

    description: str
    choices: tuple[str, ...] = ()
    low: float = -math.inf
    high: float = math.inf
    ros_name: bool = False


def setting(
    default: Any,
    description: str,
    *,
    choices: Sequence[str] = (),
    low: float = -math.inf,
    high: float = math.inf,
    ros_name: bool = False,
) -> Any:
    """Return a dataclass field with a description and limits; `ros_name`: of a topic."""
    limits = Limits(description, tuple(choices), low, high, ros_name)
    return field(default=default, metadata={'limits': limits})


@dataclass(frozen=True)
class StreamSettings:
    """Settings of every camera."""

    width: int = setting(640, 'Image width [px].', low=16, high=8192)
    height: int = setting(480, 'Image height [px].', low=16, high=8192)
    fps: float = setting(30.0, 'Frame rate [1/s].', low=1.0, high=300.0)
