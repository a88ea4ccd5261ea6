# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Start and activate the nodes without `ros2 launch`, which PyPI does not carry.

    python -m vla_adapter_ros.nodes.bringup sim:=true instruction:='push the red block'
    python -m vla_adapter_ros.nodes.bringup teach sim:=true
    python -m vla_adapter_ros.nodes.bringup record instruction:='push the red block'

Takes the arguments of launch/{alicia,teach,record}.launch.py in the same form and starts the same
executables with the same parameters: both follow nodes_to_start.py and demonstrations.py.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from ament_index_python.packages import PackageNotFoundError, get_package_prefix

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.nodes.bringup.demonstrations import RECORD, TEACH
from vla_adapter_ros.nodes.bringup.launch_model import PACKAGE, LaunchFile, NodeProcess
from vla_adapter_ros.nodes.bringup.nodes_to_start import ALICIA
from vla_adapter_ros.nodes.bringup.view import installed
from vla_adapter_ros.nodes.common.dds_profile import isolation_warning, use_shipped_profile
from vla_adapter_ros.nodes.common.lifecycle_client import configure_and_activate

# First word → launch file; without one, ALICIA.
COMMANDS = {'teach': TEACH, 'record': RECORD}
# Loading a full-size checkpoint from a slow disk takes minutes.
CONFIGURE_TIMEOUT_S = 600.0
# A node holds the arm and releases its device before it ends.
STOP_TIMEOUT_S = 10.0
_POLL_PERIOD_S = 0.1


class BringupError(VLAAdapterError):
    """A node could not be started or activated."""


class Bringup:
    """Runs node processes; a context manager that stops them in reverse order.

    Args:
        processes: to start, in this order.
        log_folder: where to write each node's output, as NAME.log; None: this terminal.
        report: receives one line for each step.
    """

    def __init__(
        self,
        processes: Sequence[NodeProcess],
        log_folder: Path | None = None,
        report: Callable[[str], None] = print,
    ) -> None:
        self._processes = list(processes)
        self._log_folder = log_folder
        self._report = report
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._files = contextlib.ExitStack()

    def __enter__(self) -> Bringup:
        """Start every process.

        Raises:
            BringupError: the package is not built, or an executable is missing.
        """
        try:
            for process in self._processes:
                self._start(process)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop every process."""
        self.stop()

    @property
    def process_ids(self) -> dict[str, int]:
        """Node name → process id."""
        return {name: process.pid for name, process in self._running.items()}

    def activate(self, timeout: float = CONFIGURE_TIMEOUT_S) -> None:
        """Configure and activate the lifecycle nodes.

        Raises:
            BringupError: a node ended, did not answer, or refused; says which.
        """
        for process in self._processes:
            if process.lifecycle:
                begin = time.monotonic()
                failure = configure_and_activate(process.full_name, timeout, self.first_ended)
                if failure:
                    raise BringupError(f'{failure}; {self._where_to_look(process.name)}')
                self._report(f'{process.name} is active ({time.monotonic() - begin:.1f} s)')

    def first_ended(self) -> str:
        """Return 'NAME ended with code N' for a process that is no longer running, or ''."""
        for name, process in self._running.items():
            if process.poll() is not None:
                return f'{name} ended with code {process.returncode}'
        return ''

    def wait(self) -> str:
        """Return what `first_ended` says as soon as a process ends."""
        while not (ended := self.first_ended()):
            time.sleep(_POLL_PERIOD_S)
        return ended

    def stop(self) -> None:
        """Stop what runs: the policy node first, while the arm still obeys its hold."""
        try:
            for process in reversed(self._running.values()):
                end_process(process)
        except BaseException:
            # A second Ctrl-C: no more waiting, but nothing stays behind.
            for process in self._running.values():
                process.kill()
            raise
        finally:
            self._running.clear()
            self._files.close()

    def _start(self, process: NodeProcess) -> None:
        output = None
        if self._log_folder is not None:
            self._log_folder.mkdir(parents=True, exist_ok=True)
            path = self._log_folder / f'{process.name}.log'
            output = self._files.enter_context(path.open('wb'))
        parameters = self._files.enter_context(parameter_file(process.parameters))
        self._running[process.name] = subprocess.Popen(
            command_line(process, parameters),
            stdout=output,
            stderr=subprocess.STDOUT if output else None,
            stdin=subprocess.DEVNULL,
            env={**os.environ, 'PYTHONUNBUFFERED': '1'},
            # Ctrl-C in the terminal must not reach all nodes together: `stop` has an order.
            start_new_session=True,
        )
        self._report(f'{process.name} started (process {self._running[process.name].pid})')

    def _where_to_look(self, name: str) -> str:
        if self._log_folder is None:
            return 'its messages above say why'
        return f'see {self._log_folder / name}.log'


def command_line(process: NodeProcess, parameters: str) -> list[str]:
    """Return the command that starts a node, as `ros2 launch` would build it."""
    executable = str(executable_path(process.executable, process.package))
    words = [executable, *process.arguments, *ros_arguments(process, parameters)]
    return [*words, '-r', f'__node:={process.name}']


def ros_arguments(process: NodeProcess, parameters: str) -> list[str]:
    """Return the arguments of a node whose parameters are in a file, without its name."""
    arguments = ['--ros-args', '--params-file', parameters]
    arguments += namespace_arguments(process.namespace)
    for source, target in process.remappings:
        arguments += ['-r', f'{source}:={target}']
    return [*arguments, '--enclave', process.full_name, '--log-level', process.log_rule]


def namespace_arguments(namespace: str) -> list[str]:
    """Return what puts a node into a namespace ('' for the root), after `--ros-args`."""
    return ['-r', f'__ns:=/{namespace}'] if namespace else []


def executable_path(name: str, package: str = PACKAGE) -> Path:
    """Return the installed executable; raises BringupError if the package is not built."""
    try:
        path = Path(get_package_prefix(package)) / 'lib' / package / name
    except PackageNotFoundError:
        raise BringupError(
            f'{package} is not installed: build it, then source the setup'
        ) from None
    if not path.is_file():
        raise BringupError(f'executable {path} is missing: build the package again')
    return path


@contextlib.contextmanager
def parameter_file(parameters: Mapping[str, Any]) -> Iterator[str]:
    """Write parameters to a file for `--params-file`; yields its path, removes it at the end."""
    with tempfile.NamedTemporaryFile('w', prefix=f'{PACKAGE}_', suffix='.yaml') as file:
        yaml.safe_dump({'/**': {'ros__parameters': dict(parameters)}}, file)
        file.flush()
        yield file.name


def end_process(process: subprocess.Popen[bytes]) -> None:
    """Interrupt, insist, kill: a signal at the wrong moment can be lost."""
    for action in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        process.send_signal(action)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_TIMEOUT_S)


def parse_arguments(words: Sequence[str], launch: LaunchFile) -> dict[str, str]:
    """Return argument name → text from NAME:=VALUE words; raises SystemExit with the usage.

    Raises:
        VLAAdapterError: help is wanted for a robot that cannot be read.
    """
    prog = 'bringup' if launch is ALICIA else f'bringup {launch.name}'
    parser = argparse.ArgumentParser(
        prog=prog,
        description=(
            f'Start {launch.summary}, like `ros2 launch {PACKAGE} {launch.name}.launch.py`, where'
            ' launch_ros is not installed. Ctrl-C stops all.'
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('arguments', nargs='*', metavar='NAME:=VALUE')
    given = {word.partition(':=')[0]: word.partition(':=')[2] for word in words if ':=' in word}
    if '-h' in words or '--help' in words:
        parser.epilog = _help_of_arguments(launch, given)
    for word in parser.parse_args(words).arguments:
        if ':=' not in word:
            parser.error(f'{word!r}: expected NAME:=VALUE')
    return given


def _help_of_arguments(launch: LaunchFile, given: Mapping[str, str]) -> str:
    arguments = launch.arguments(given)
    width = max(len(argument.name) for argument in arguments)
    lines = [
        f'  {argument.name:{width}}  {argument.help} (default: {argument.default!r})'
        for argument in arguments
    ]
    lines.insert(0, "arguments; an empty one keeps the parameter file's or the node's value:")
    if launch is ALICIA:
        lines += [f'bringup {name} --help: {other.summary}' for name, other in COMMANDS.items()]
    return '\n'.join(lines)


@contextlib.contextmanager
def command_of_processes(name: str) -> Iterator[None]:
    """End a command on signals and errors as its user expects: in one line, processes stopped."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # A terminal that is closed; under nohup it is ignored.
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.default_int_handler)
    # A shell that starts this in the background makes it ignore SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    except VLAAdapterError as error:
        sys.exit(f'{name}: {error}')
    except KeyboardInterrupt:
        sys.exit(0)


def main(words: Sequence[str] | None = None) -> None:
    """Run until Ctrl-C, SIGTERM or until a node ends."""
    words = list(sys.argv[1:] if words is None else words)
    launch = COMMANDS.get(words[0], ALICIA) if words else ALICIA
    with command_of_processes('bringup'):
        startup = launch.start(parse_arguments(words[launch is not ALICIA :], launch))
        for other in startup.included:
            raise BringupError(
                f'{other.package} {other.file} needs `ros2 launch`: start it yourself, without'
                f' driver:='
            )
        if startup.simulated and (warning := isolation_warning(os.environ)):
            print(f'bringup: {warning}', file=sys.stderr)
        use_shipped_profile(startup.simulated)
        views, missing = installed(startup.views)
        if missing:
            print(f'bringup: {missing}')
        # A closed window ends nothing else; one that hangs must not delay the hold at the end.
        with Bringup(views), Bringup(startup.nodes) as bringup:
            bringup.activate()
            if launch.hint:
                space = namespace_arguments(startup.nodes[0].namespace)
                print(' '.join([launch.hint, *(['--ros-args', *space] if space else [])]))
            sys.exit(f'bringup: {bringup.wait()}')


if __name__ == '__main__':
    main()
