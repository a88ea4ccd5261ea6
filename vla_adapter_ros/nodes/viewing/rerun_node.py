# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Node `rerun_viewer`: cameras, joints, chunks and state of a running arm, live in rerun.

    ros2 run vla_adapter_ros rerun_viewer --ros-args -p robot:=alicia_d

It only listens. Needs rerun-sdk (requirements/viz.txt).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rclpy.node import Node

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.nodes.common.node_main import run_node
from vla_adapter_ros.nodes.common.parameters import (
    declare_parameters,
    parameter,
    read_parameters,
)
from vla_adapter_ros.nodes.viewing.rerun_log import DISPLAYS, RerunLog, check_rerun, has_display
from vla_adapter_ros.nodes.viewing.rerun_topics import RerunTopics
from vla_adapter_ros.robot.camera_spec import IMAGE_TRANSPORTS
from vla_adapter_ros.robot.contract import contract_path, load_contract
from vla_adapter_ros.robot.kinematics import Kinematics

_NAME = 'rerun_viewer'


@dataclass(frozen=True)
class RerunParameters:
    """Parameters of `rerun_viewer`."""

    robot: str = parameter(
        'alicia_d', 'Robot contract: the name of one that ships, or the path of a YAML file.'
    )
    image_transport: str = parameter(
        'raw',
        'Images that are shown: <camera>/image or <camera>/image/compressed.',
        choices=IMAGE_TRANSPORTS,
    )
    image_rate: float = parameter(
        10.0, 'At most so many images of a camera [Hz]; 0: all.', low=0.0, high=1000.0
    )
    connect: str = parameter(
        '', 'Viewer that runs already, rerun+http://HOST:9876/proxy; empty: open a window here.'
    )
    save: str = parameter('', 'Also write this .rrd file; without a display only that.')


class RerunNode(Node):
    """Node `rerun_viewer`."""

    def __init__(self) -> None:
        super().__init__(_NAME, automatically_declare_parameters_from_overrides=True)
        declare_parameters(self, RerunParameters)
        settings = read_parameters(self, RerunParameters)
        check_rerun()
        window = not settings.connect and has_display(os.environ)
        if not (window or settings.connect or settings.save):
            raise VLAAdapterError(
                f'there is no display ({" and ".join(DISPLAYS)} are not set): give the parameter '
                'connect (a viewer on another machine) or save (a file)'
            )
        path = contract_path(settings.robot)
        contract = load_contract(path)
        self._log = RerunLog(
            contract,
            Kinematics.of(contract, path.parent),
            Path(settings.save) if settings.save else None,
            window,
            settings.connect,
        )
        self._topics = RerunTopics(
            self, contract, self._log, settings.image_transport, settings.image_rate
        )
        places = [settings.connect or 'a window' * window, settings.save]
        self.get_logger().info(f'shown in {" and ".join(place for place in places if place)}')

    def close(self) -> None:
        """Write what is left."""
        self._log.close()


def main(args: Sequence[str] | None = None) -> None:
    """Run the node."""
    sys.exit(run_node(_NAME, __doc__, RerunParameters, RerunNode, args))


if __name__ == '__main__':
    main()
