# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Kills producers at random moments and checks what is left.

Everything runs in children forked from this process, which imports the libraries once and does
nothing else with them: their threads and locks would not survive the fork.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from support.crash_producers import PRODUCERS, Producer

_LIMIT_S = 120.0  # for anything that is not killed


@dataclass
class Row:
    """One producer's line of the table."""

    name: str
    seconds: float
    kills: int = 0
    losses: int = 0


def child(work: Callable[[], None], log: Path) -> int:
    """Run `work` in a forked child and return its process id; errors go to `log`."""
    sys.stdout.flush()
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        os.setsid()
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        work()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def wait(process: int, seconds: float) -> int | None:
    """Return the exit status, or None if the child had to be killed after `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(min(0.002, max(0.0, end - time.monotonic())))
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)  # before it has a group of its own
    os.waitpid(process, 0)
    return None


def _finish(work: Callable[[], None], log: Path) -> str:
    """Run to the end; return '' or the last line of the error."""
    status = wait(child(work, log), _LIMIT_S)
    if status == 0:
        return ''
    lines = log.read_text(errors='replace').strip().splitlines()
    return f'status {status}: {lines[-1] if lines else "no output"}'


def _run(producer: Producer, folder: Path, told: Path) -> None:
    with told.open('a') as file:

        def tell(text: str) -> None:
            file.write(text + '\n')
            file.flush()

        producer.run(folder, tell)


def crash(
    name: str, kills: int, rng: random.Random, place: Path, say: Callable[[str], None] = print
) -> Row:
    """Kill one producer `kills` times; what was lost is kept in `place`.

    Raises:
        RuntimeError: it fails without being killed.
    """
    producer = PRODUCERS[name]
    template, folder, told = place / name, place / f'{name}.now', place / f'{name}.told'
    log = place / f'{name}.log'
    template.mkdir(parents=True)

    def fresh() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(template, folder, symlinks=True)
        told.write_text('')

    def check() -> None:
        producer.check(folder, told.read_text().splitlines())

    if problem := _finish(lambda: producer.start(template), log):
        raise RuntimeError(f'{name}: cannot be set up: {problem}')
    fresh()
    begin = time.monotonic()
    problem = _finish(lambda: _run(producer, folder, told), log)
    row = Row(name, time.monotonic() - begin)
    if problem := problem or _finish(check, log):
        raise RuntimeError(f'{name}: fails without a kill: {problem}')
    while row.kills < kills:
        fresh()
        after = rng.uniform(0.0, row.seconds)
        if wait(child(lambda: _run(producer, folder, told), log), after) is not None:
            continue  # it had finished: not a kill
        row.kills += 1
        if problem := _finish(check, log):
            row.losses += 1
            kept = place / f'{name}.lost.{row.losses}'
            shutil.copytree(folder, kept, symlinks=True)
            say(f'{name}: killed after {after:.4f} s: {problem} ({kept}, {log})')
    return row
