# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A benchmark's simulator in a process of its own, under the interpreter it is installed for.

The libraries print to standard output and may open a debugger, so neither carries messages:
standard input is empty, the output goes to a log, and messages use a socket pair.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import vla_adapter_ros
from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.evaluation.suites.wire import WireError, receive, send

ANSWER_TIMEOUT_S = 120.0  # loading a scene takes 10 s on a slow machine
LOG_LINES = 3  # of a dead worker, in the message
# Only this package is made importable: a search path would also offer its neighbours, such as
# this interpreter's NumPy, to the other one.
START = """
import runpy, sys, types
package = types.ModuleType('vla_adapter_ros')
package.__path__ = [sys.argv[1]]
sys.modules['vla_adapter_ros'] = package
try:
    runpy.run_module(sys.argv[2], run_name='__main__')
except ModuleNotFoundError as error:
    sys.exit(f'{sys.executable} has no module {error.name}')
"""


class WorkerLost(VLAAdapterError):
    """A worker died, hung, or reported an error of its simulator."""


class WorkerProcess:
    """One worker.

    Args:
        python: the interpreter.
        module: what it runs, of this package; receives the number of its socket.
        log: file for its output, appended to; None: a temporary one.
        timeout: of one answer [s].

    Raises:
        WorkerLost: it cannot be started.
    """

    def __init__(
        self, python: str, module: str, log: Path | None, timeout: float = ANSWER_TIMEOUT_S
    ) -> None:
        self._log = log.open('ab+') if log else tempfile.TemporaryFile()  # noqa: SIM115
        self._begin = self._log.seek(0, 2)
        self._connection, theirs = socket.socketpair()
        self._connection.settimeout(timeout)
        self._timeout = timeout
        folder = str(Path(vla_adapter_ros.__file__).parent)
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [python, '-c', START, folder, module, str(theirs.fileno())],
                    pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=self._log,
                    stderr=self._log, start_new_session=True,
                )  # fmt: skip
            except OSError as error:
                self._connection.close()
                self._log.close()
                raise WorkerLost(f'worker: cannot run {python}: {error.strerror}') from None

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    def ask(
        self, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None
    ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Send a message and return the answer.

        Raises:
            WorkerLost: no answer, or the answer is an error.
        """
        try:
            send(self._connection, header, arrays)
            answer, received = receive(self._connection)
        except TimeoutError:
            raise WorkerLost(f'worker: no answer within {self._timeout:g} s') from None
        except (WireError, OSError) as error:
            raise WorkerLost(f'worker: {self._last_words() or error}') from None
        if 'error' in answer:
            raise WorkerLost(f'worker: {answer["error"]}')
        return answer, received

    def _last_words(self) -> str:
        """Return how the process ended and the end of its log; '' while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = self._process.wait(1.0)
            self._log.seek(self._begin)
            lines = self._log.read().decode(errors='replace').splitlines()
            last = [line.strip() for line in lines if line.strip()][-LOG_LINES:]
            return f'ended with status {status}: {" | ".join(last)[-300:]}'
        return ''

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.kill()
        self._process.wait()
        self._log.close()
