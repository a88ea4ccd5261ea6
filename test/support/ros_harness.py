# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Helpers for tests on the real ROS graph: node processes, waiting, and a listening node."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from support.node_starter import REPOSITORY, StartedProcess

# Ports of domains above 101 may fall into the ephemeral range and collide.
DOMAINS = range(1, 102)
_NAME = 'vla_adapter_ros test domain {}'
# Domains that were unused before this process took them: what is left in them is its own.
_own: set[int] = set()
# Reservations of the newest rigs of this process; nodes of an earlier one may still be ending.
_reserved: deque[socket.socket] = deque(maxlen=8)
# Stops what was started in this module: a rig whose constructor fails has no other way to stop its
# nodes, which would answer others' requests.
_started: list[Callable[[], object]] = []
PROFILE = str(Path(__file__).with_name('fastdds_local.xml'))


def stop_at_end_of_module(stop: Callable[[], object]) -> None:
    """Have something stopped after the tests of the module; it may have been stopped before."""
    _started.append(stop)


def stop_leftovers() -> None:
    """Stop what rigs have left, the newest first."""
    while _started:
        _started.pop()()


def reserve_domain() -> tuple[int, socket.socket]:
    """Return a ROS domain that no other test process of this machine uses, and its reservation.

    The domain is free again when the reservation is closed, or the process ends: a socket bound to
    a name without a file (Linux).
    """
    # Those of which shared memory is there may be in use by a robot, or nodes were killed there.
    dirty = {_domain_of(path) for path in _ports()} - _own
    domains = random.SystemRandom().sample(DOMAINS, len(DOMAINS))
    for domain in sorted(domains, key=dirty.__contains__):
        reservation = socket.socket(socket.AF_UNIX)
        try:
            reservation.bind('\0' + _NAME.format(domain))
        except OSError:
            reservation.close()
            continue
        if domain in _own:
            _remove_ports(domain)
        elif domain not in dirty:
            _own.add(domain)
        return domain, reservation
    raise RuntimeError('every ROS domain is reserved by a test process of this machine')


def _ports() -> Iterator[Path]:
    """Yield the files by which Fast DDS reaches processes through shared memory."""
    return Path('/dev/shm').glob('*fast*_port*')


def _domain_of(port: Path) -> int:
    # RTPS: the ports of a domain begin at 7400 + 250 * domain.
    return (int(re.search(r'_port(\d+)', port.name)[1]) - 7400) // 250


def _remove_ports(domain: int) -> None:
    """Remove what killed nodes have left: Fast DDS would send to them too, and be late."""
    for path in _ports():
        if _domain_of(path) == domain:
            path.unlink(missing_ok=True)


def isolated_environment() -> dict[str, str]:
    """Return an environment with a domain of its own and shared memory that fits two images."""
    domain, reservation = reserve_domain()
    if len(_reserved) == _reserved.maxlen:
        _reserved.popleft().close()
    _reserved.append(reservation)
    return {
        **os.environ,
        'ROS_DOMAIN_ID': str(domain),
        'FASTDDS_DEFAULT_PROFILES_FILE': PROFILE,
        'FASTRTPS_DEFAULT_PROFILES_FILE': PROFILE,
        'OMP_NUM_THREADS': '1',
        'PYTHONUNBUFFERED': '1',
    }


def wait_until(condition, seconds=30.0, what='condition', poll=0.02):
    """Return the first truthy value of `condition()`; fail the test after `seconds`."""
    end = time.monotonic() + seconds
    late = False
    while not late:
        # Before the look: one that comes after the time is the last.
        late = time.monotonic() > end
        if value := condition():
            return value
        time.sleep(poll)
    raise AssertionError(f'{what}: not within {seconds:g} s')


class NodeProcess:
    """A node of this package in its own process; `fresh`: started as `ros2 run` would, seconds
    later, and with an end that is Python's own.
    """

    def __init__(
        self,
        module: str,
        parameters: dict,
        environment: dict,
        name: str = '',
        remap: dict | None = None,
        fresh: bool = False,
    ):
        (path,) = (REPOSITORY / 'vla_adapter_ros' / 'nodes').glob(f'*/{module}.py')
        full = f'vla_adapter_ros.nodes.{path.parent.name}.{module}'
        arguments = ['--ros-args']
        if name:
            arguments += ['-r', f'__node:={name}']
        for source, target in (remap or {}).items():
            arguments += ['-r', f'{source}:={target}']
        for key, value in parameters.items():
            text = str(value).lower() if isinstance(value, bool) else value
            text = f"'{text}'" if isinstance(text, str) and not isinstance(value, bool) else text
            arguments += ['-p', f'{key}:={text}']
        self.log_path = Path(tempfile.mkstemp(prefix=f'{module}_', suffix='.log')[1])
        if fresh:
            with self.log_path.open('wb') as log:
                self.process = subprocess.Popen(
                    [sys.executable, '-m', full, *arguments],
                    env=environment, stdout=log, stderr=subprocess.STDOUT, cwd=REPOSITORY,
                )  # fmt: skip
        else:
            self.process = StartedProcess(full, arguments, environment, self.log_path)
        stop_at_end_of_module(self.stop)

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors='replace')

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def wait_for_log(self, text: str, seconds: float = 60.0, after: int = 0) -> None:
        """Wait for a text behind the first `after` characters of the log."""
        def seen():
            if not self.alive and text not in self.log[after:]:
                raise AssertionError(f'process ended with {self.process.returncode}:\n{self.log}')
            return text in self.log[after:]

        try:
            wait_until(seen, seconds, f'log line {text!r}')
        except AssertionError as error:
            raise AssertionError(f'{error}\n{self.log[-4000:]}') from None

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> int:
        """Terminate, insist, kill: a SIGTERM at the wrong moment can be lost."""
        for action in (self.interrupt, self.process.terminate, self.process.kill):
            if not self.alive:
                break
            action()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
        return self.process.returncode


def simulated(robot: str, folder: Path) -> str:
    """Write the contract of a robot that nobody can be hurt by: `enable: true` is allowed."""
    path = folder / f'{robot}_simulated.yaml'
    # An emulated driver on a busy machine answers late.
    path.write_text(f'extends: {robot}\nsimulated: true\nsupervision: {{lag: 0.4}}\n')
    return str(path)
