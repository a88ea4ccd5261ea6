# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Start the recorder of demonstrations.

    ros2 launch vla_adapter_ros record.launch.py instruction:='pick up the red block'
    ros2 service call /recorder/start std_srvs/srv/Trigger
    ros2 service call /recorder/stop std_srvs/srv/Trigger

`--show-args` lists the arguments; a robot whose cameras have other names has `<camera>_topic`
arguments of its own. Without launch_ros: `python -m vla_adapter_ros.nodes.bringup record`.
"""

from __future__ import annotations

from launch import LaunchDescription

from vla_adapter_ros.nodes.bringup.demonstrations import RECORD
from vla_adapter_ros.nodes.bringup.launch_actions import launch_description


def generate_launch_description() -> LaunchDescription:
    return launch_description(RECORD)
