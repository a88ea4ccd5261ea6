# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The Fast DDS profiles that ship: with Fast DDS's own, the second camera's images are lost."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.robot.contract import config_folders

PROFILE_VARIABLE = 'FASTDDS_DEFAULT_PROFILES_FILE'
# The name that Fast DDS 2 reads; Fast DDS 3 warns about it in every process.
OLD_PROFILE_VARIABLE = 'FASTRTPS_DEFAULT_PROFILES_FILE'
OLD_DISTRIBUTIONS = ('humble', 'iron', 'jazzy')


def shipped_config(name: str) -> Path:
    """Return the path of a file of config/, installed or in a checkout."""
    for folder in config_folders():
        if (folder / name).is_file():
            return folder / name
    raise VLAAdapterError(f'{name} is missing from the installation: {config_folders()}')


def profile_environment(sim: bool, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the Fast DDS variables to set; empty when the user has chosen a profile.

    A simulation stays on this machine: it publishes on the topics of a real arm.
    """
    if environment.get(PROFILE_VARIABLE) or environment.get(OLD_PROFILE_VARIABLE):
        return {}
    profile = str(shipped_config('fastdds_loopback.xml' if sim else 'fastdds_network.xml'))
    old = environment.get('ROS_DISTRO') in OLD_DISTRIBUTIONS
    return dict.fromkeys((PROFILE_VARIABLE, *([OLD_PROFILE_VARIABLE] * old)), profile)


def use_shipped_profile(sim: bool) -> None:
    """Set the Fast DDS profile for this process and those that it starts."""
    os.environ.update(profile_environment(sim, os.environ))
