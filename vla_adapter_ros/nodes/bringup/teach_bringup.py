# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Start teaching without `ros2 launch`, which PyPI does not carry.

    python -m vla_adapter_ros.nodes.bringup.teach_bringup \
        sim:=true instruction:='push the red block'

Takes the arguments of launch/teach.launch.py in the same form.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from vla_adapter_ros.nodes.bringup.bringup import Bringup, command_of_processes, parse_arguments
from vla_adapter_ros.nodes.bringup.nodes_to_start import use_shipped_profile
from vla_adapter_ros.nodes.bringup.teach_plan import TEACH_ARGUMENTS, plan_teaching


def main(words: Sequence[str] | None = None) -> None:
    """Run until Ctrl-C, SIGTERM or until a node ends."""
    given = parse_arguments(
        words, TEACH_ARGUMENTS, 'teach_bringup',
        'Start the teaching node and the recorder, like `ros2 launch vla_adapter_ros'
        ' teach.launch.py`, where launch_ros is not installed. Ctrl-C stops them.',
    )
    with command_of_processes('teach_bringup'):
        processes = plan_teaching(given)
        use_shipped_profile(sim=any(process.name == 'sim_arm' for process in processes))
        with Bringup(processes) as bringup:
            print('keys: ros2 run vla_adapter_ros teach_keyboard (in another terminal)')
            sys.exit(f'teach_bringup: {bringup.wait()}')


if __name__ == '__main__':
    main()
