# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Start a node, spin it, and leave cleanly on Ctrl-C and SIGTERM."""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.nodes.common.dds_profile import use_shipped_profile
from vla_adapter_ros.nodes.common.node_help import help_if_asked

# How long a signal can go unnoticed while the executor waits for work.
_SIGNAL_LATENCY_S = 0.1
# A second Ctrl-C within this time belongs to the first: a terminal and a launcher both send one.
_SECOND_PRESS_S = 0.5


def run_node(
    name: str,
    description: str | None,
    parameters: type,
    make_node: Callable[[], Node],
    args: Sequence[str] | None = None,
) -> int:
    """Be the executable `name`: print its help if requested, else run the node.

    A node that cannot be made (VLAAdapterError) ends the program with one line.
    """
    help_if_asked(args, name, description or '', parameters)

    def make() -> Node:
        try:
            return make_node()
        except VLAAdapterError as error:
            sys.exit(f'{name}: {error}')

    code = spin_node(make, args)
    if any(thread.daemon for thread in threading.enumerate()):
        # Left behind inside a driver or a model that did not return. Python's own end would take
        # the interpreter away from under it, which aborts the process.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def spin_node(make_node: Callable[[], Node], args: Sequence[str] | None = None) -> int:
    """Run a node until it is stopped; returns the exit code.

    A node's `close()`, where it has one, runs while the context is still valid: its last
    commands (hold) must still reach the driver. Therefore rclpy's own signal handlers, which
    shut the context down immediately, are not installed. An error in a callback goes to the node's
    `on_callback_error(error)`, where it has one.
    """
    listen_for_stop()
    # Started by launch, the environment says which. Alone, a node must get images too.
    use_shipped_profile(sim=False)
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    node = None
    try:
        node = make_node()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        while not _stop.requested and rclpy.ok():
            _spin_once(executor, node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        if node is not None:
            if hasattr(node, 'close'):
                node.close()
            node.destroy_node()
        rclpy.try_shutdown()
    return 0


def _spin_once(executor: SingleThreadedExecutor, node: Node) -> None:
    try:
        executor.spin_once(timeout_sec=_SIGNAL_LATENCY_S)
    except ExternalShutdownException:
        raise
    except Exception as error:
        # A node that knows what to do about an error in one of its callbacks lives on.
        handle = getattr(node, 'on_callback_error', None)
        if handle is None:
            raise
        handle(error)


def listen_for_stop() -> None:
    """Let SIGINT and SIGTERM set `stop_requested`.

    An exception raised by a signal in the middle of a call into the middleware comes out of it as
    an error of that call.
    """
    _stop.listen()


def stop_requested() -> bool:
    """Return whether SIGINT or SIGTERM came; what takes long in a callback must ask."""
    return _stop.requested


class _StopRequest:
    """Turns SIGINT and SIGTERM into one flag, from before the context exists.

    A person who presses Ctrl-C again wants no more waiting: the process ends immediately.
    """

    def __init__(self) -> None:
        self.requested = False
        self._interrupted_at = math.inf

    def listen(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _: object) -> None:
        self.requested = True
        if number != signal.SIGINT:
            return
        now = time.monotonic()
        if now - self._interrupted_at > _SECOND_PRESS_S:
            os.write(2, b'interrupted again: ending immediately\n')
            os._exit(128 + number)
        self._interrupted_at = min(self._interrupted_at, now)


_stop = _StopRequest()
