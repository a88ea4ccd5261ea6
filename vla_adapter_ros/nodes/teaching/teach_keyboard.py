# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Command `teach_keyboard`: the keys of this terminal for the node `teach`, and what it says.

A node under `ros2 launch` has no keyboard, so this runs in a terminal of its own.
"""

from __future__ import annotations

import argparse
import os
import select
import sys
import termios
import tty
from collections.abc import Sequence

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.utilities import remove_ros_args
from std_msgs.msg import String

from vla_adapter_ros.nodes.common.messages import EVERY
from vla_adapter_ros.nodes.teaching.teach_node import SAYINGS
from vla_adapter_ros.teaching.jogging import HELP

_POLL_PERIOD_S = 0.02


def main(words: Sequence[str] | None = None) -> None:
    """Send keys until Ctrl-C."""
    words = sys.argv if words is None else ['teach_keyboard', *words]
    parser = argparse.ArgumentParser(
        prog='teach_keyboard',
        description='Send this terminal\'s keys to the node teach. Ctrl-C ends.',
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--node', default='teach', help='name of the node (%(default)s)')
    arguments = parser.parse_args(remove_ros_args(words)[1:])
    if not sys.stdin.isatty():
        sys.exit('teach_keyboard: needs a terminal; run it with `ros2 run`, not `ros2 launch`')
    rclpy.init(args=words)
    before = termios.tcgetattr(sys.stdin)
    try:
        print(HELP)
        _run(arguments.node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
        rclpy.try_shutdown()


def _run(name: str) -> None:
    node = rclpy.create_node('teach_keyboard')
    publisher = node.create_publisher(String, f'{name}/keys', EVERY)
    node.create_subscription(
        String, f'{name}/state', lambda message: print(f'\r  {message.data}\x1b[K'), SAYINGS
    )
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    tty.setcbreak(sys.stdin)
    connected = False
    print(f'waiting for the node {name} ...')
    while rclpy.ok():
        executor.spin_once(timeout_sec=0.0)
        if connected != (publisher.get_subscription_count() > 0):
            connected = not connected
            print('connected' if connected else f'the node {name} is gone')
        if select.select([sys.stdin], [], [], _POLL_PERIOD_S)[0]:
            # Not through sys.stdin: its buffer would hide keys from select.
            keys = os.read(sys.stdin.fileno(), 64).decode(errors='ignore')
            if not keys:
                return  # the terminal is gone; reading on would spin forever
            publisher.publish(String(data=keys))


if __name__ == '__main__':
    main()
