# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Processes of this package without the seconds that their imports take.

One process for each test process imports a module when it is asked for the first time and forks
for each start; it holds no ROS context and no device, so that a fork is as good as new. The
module's `main` runs as with `python -m`. All processes end when the test process does.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


class StartedProcess:
    """A process that the starter forked, with what is used of `subprocess.Popen`."""

    def __init__(
        self, module: str, arguments: list[str], environment: dict, output: Path,
        errors: Path | None = None, text: Path | None = None,
    ):
        self.pid = _ask({
            'module': module, 'arguments': arguments, 'environment': environment,
            'files': [str(text or os.devnull), str(output), str(errors or output)],
        })  # fmt: skip
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = _ask({'poll': self.pid})
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        end = time.monotonic() + (timeout or 0.0)
        while self.poll() is None:
            if timeout is not None and time.monotonic() > end:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(0.01)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run_module(
    module: str, arguments: list[str], environment: dict, folder: Path, answers: str = '',
    timeout: float = 60.0,
) -> subprocess.CompletedProcess:
    """Run a command of this package to its end, as `subprocess.run` with text and pipes."""
    paths = [folder / f'{time.monotonic_ns()}.{name}' for name in ('in', 'out', 'err')]
    paths[0].write_text(answers)
    process = StartedProcess(module, arguments, environment, paths[1], paths[2], paths[0])
    try:
        code = process.wait(timeout)
    finally:
        process.kill()
    return subprocess.CompletedProcess(
        [module, *arguments], code, paths[1].read_text(), paths[2].read_text()
    )


_lock = threading.Lock()
_server: subprocess.Popen | None = None


def _ask(request: dict):
    """Send a request to the starter of this process and return its answer."""
    global _server
    with _lock:
        if _server is None:
            folders = [str(REPOSITORY), str(REPOSITORY / 'test'), os.environ.get('PYTHONPATH', '')]
            _server = subprocess.Popen(
                [sys.executable, '-u', '-c', 'from support import node_starter as s; s.serve()'],
                cwd=REPOSITORY, env={**os.environ, 'PYTHONPATH': os.pathsep.join(folders)},
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
            )  # fmt: skip
            atexit.register(_end)
        _server.stdin.write(json.dumps(request) + '\n')
        _server.stdin.flush()
        return json.loads(_server.stdout.readline())


def _end() -> None:
    _server.stdin.close()
    _server.wait()


def serve() -> None:
    """The starter: answer requests from standard input until it is closed."""
    running: set[int] = set()
    for line in sys.stdin:
        request = json.loads(line)
        if 'poll' in request:
            pid, status = os.waitpid(request['poll'], os.WNOHANG)
            running.discard(pid)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        else:
            # A module that cannot be imported says so in the log of its own process.
            with contextlib.suppress(Exception):
                importlib.import_module(request['module'])
            if not (answer := os.fork()):
                _become(request)
            running.add(answer)
        print(json.dumps(answer), flush=True)
    for pid in running:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _become(request: dict) -> None:
    """Be the process that was asked for; does not return."""
    for number, (path, mode) in enumerate(
        zip(request['files'], (os.O_RDONLY, *2 * [os.O_WRONLY | os.O_CREAT | os.O_APPEND]))
    ):
        file = os.open(path, mode, 0o644)
        os.dup2(file, number)
        os.close(file)
    sys.stdin = os.fdopen(0, closefd=False)  # the old one has read ahead
    os.environ.clear()
    os.environ.update(request['environment'])
    sys.path[:0] = [
        folder for folder in os.environ.get('PYTHONPATH', '').split(os.pathsep)
        if folder and folder not in sys.path
    ]  # fmt: skip
    sys.argv = [request['module'], *request['arguments']]
    code = 1
    try:
        code = importlib.import_module(request['module']).main() or 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        threading._shutdown()
        atexit._run_exitfuncs()
        # Not the exit handlers of C: LTTng's (in rclpy) ends a thread that a fork has not.
        os._exit(code)
