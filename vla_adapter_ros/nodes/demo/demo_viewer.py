# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""How the demo can be watched: the simulation's window, or everything in one rerun recording."""

from __future__ import annotations

from collections.abc import Mapping

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.nodes.viewing.rerun_log import DISPLAYS, check_rerun, has_display

VIEWERS = ('none', 'mujoco', 'rerun')


def check_viewer(name: str, environment: Mapping[str, str]) -> None:
    """Refuse a viewer that cannot work here.

    Raises:
        VLAAdapterError: no such viewer, no display for a window, or rerun is missing.
    """
    if name not in VIEWERS:
        raise VLAAdapterError(f'viewer {name!r}: expected {", ".join(VIEWERS)}')
    if name == 'mujoco' and not has_display(environment):
        raise VLAAdapterError(
            f'viewer mujoco: there is no display ({" and ".join(DISPLAYS)} are not set); '
            'viewer rerun writes a file instead'
        )
    if name == 'rerun':
        check_rerun()
