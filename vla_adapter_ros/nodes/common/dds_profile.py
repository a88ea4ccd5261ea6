# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Settings of the middleware: images that arrive, simulations that stay on this machine.

With Fast DDS's own profile the second camera's images are lost. A simulation has topics of its own
(its namespace); that no other machine hears it is the second barrier before a real arm.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.robot.contract import config_folders

PROFILE_VARIABLE = 'FASTDDS_DEFAULT_PROFILES_FILE'
# The name that Fast DDS 2 reads; Fast DDS 3 warns about it in every process.
OLD_PROFILE_VARIABLE = 'FASTRTPS_DEFAULT_PROFILES_FILE'
FAST_DDS, ZENOH = 'rmw_fastrtps', 'rmw_zenoh_cpp'
LOOPBACK, NETWORK = 'fastdds_loopback.xml', 'fastdds_network.xml'
OLD_DISTRIBUTIONS = ('humble', 'iron', 'jazzy')


def shipped_config(name: str) -> Path:
    """Return the path of a file of config/, installed or in a checkout."""
    for folder in config_folders():
        if (folder / name).is_file():
            return folder / name
    raise VLAAdapterError(f'{name} is missing from the installation: {config_folders()}')


def profile_environment(sim: bool, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the Fast DDS variables to set; empty when the user has chosen a profile.

    That of a simulation has sockets on this machine's loopback interface only.
    """
    if environment.get(PROFILE_VARIABLE) or environment.get(OLD_PROFILE_VARIABLE):
        return {}
    profile = str(shipped_config(LOOPBACK if sim else NETWORK))
    old = environment.get('ROS_DISTRO') in OLD_DISTRIBUTIONS
    return dict.fromkeys((PROFILE_VARIABLE, *([OLD_PROFILE_VARIABLE] * old)), profile)


def isolation_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what keeps a simulation on this machine with another middleware than Fast DDS."""
    if _middleware(environment).startswith(FAST_DDS):
        # The profile does it; the variable would open a second socket, on every interface.
        return {}
    if environment.get('ROS_DISTRO') == 'humble':
        return {'ROS_LOCALHOST_ONLY': '1'}
    if environment.get('ROS_AUTOMATIC_DISCOVERY_RANGE', '').upper() == 'OFF':
        return {}
    # Static peers are other machines, whatever the range.
    return {'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST', 'ROS_STATIC_PEERS': ''}


def isolation_warning(environment: Mapping[str, str]) -> str:
    """Return why a simulation may be heard on other machines, or ''."""
    middleware = _middleware(environment)
    if middleware == ZENOH:
        return (
            f'{ZENOH}: its router decides which machines hear the simulation; only its namespace'
            ' keeps it apart from a real arm'
        )
    own = environment.get(PROFILE_VARIABLE) or environment.get(OLD_PROFILE_VARIABLE)
    if own and middleware.startswith(FAST_DDS) and own != str(shipped_config(LOOPBACK)):
        return (
            f'{own} decides which machines hear the simulation; only its namespace keeps it apart'
            ' from a real arm'
        )
    return ''


def node_environment(sim: bool, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables to set for the nodes of a launch."""
    isolation = isolation_environment(environment) if sim else {}
    return {**profile_environment(sim, environment), **isolation}


def use_shipped_profile(sim: bool) -> None:
    """Set up the middleware for this process and those that it starts."""
    os.environ.update(node_environment(sim, os.environ))


def _middleware(environment: Mapping[str, str]) -> str:
    if chosen := environment.get('RMW_IMPLEMENTATION'):
        return chosen
    # What is started can be worked out where ROS is not installed.
    from rclpy.utilities import get_rmw_implementation_identifier

    return get_rmw_implementation_identifier()
