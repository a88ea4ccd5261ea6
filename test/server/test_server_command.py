# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""`python -m vla_adapter_ros.server` from start to Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from vla_adapter_ros.errors import ServerError
from vla_adapter_ros.server import __main__ as command
from vla_adapter_ros.server.protocol import TOKEN_VARIABLE
from vla_adapter_ros.server.remote_policy import RemotePolicy

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ('arguments', 'part'),
    [
        (['--host', '0.0.0.0'], 'set the environment variable VLA_POLICY_TOKEN'),
        (['--certificate', '/nowhere', '--key', '/nowhere'], 'cannot be used'),
        (['--batch', '0'], '--batch: got 0'),
        (['--host', '203.0.113.7'], 'set the environment variable'),
        (['/nowhere/checkpoint', '--port', '0'], '/nowhere/checkpoint'),
    ],
)
def test_what_cannot_be_served_is_one_sentence(arguments, part, capsys, monkeypatch):
    codes = []
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    monkeypatch.setattr(command.os, '_exit', codes.append)
    codes.append(command.main(arguments))
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith('policy_server: ') and part in error
    assert codes[0] == 1


@pytest.mark.parametrize('missing', ['msgpack', 'websockets.asyncio.server'])
def test_a_library_that_is_missing_or_too_old_is_named_with_the_remedy(
    missing, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.setattr(command.os, '_exit', lambda code: None)
    assert command.main([]) == 1
    error = capsys.readouterr().err
    assert missing in error and '-m pip install -r requirements/server.txt' in error
    with pytest.raises(ServerError, match='pip install'):
        RemotePolicy('ws://127.0.0.1:9')


class Command:
    def __init__(self, log: Path, *arguments):
        self._log = log
        environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'PYTHONUNBUFFERED': '1'}
        with log.open('wb') as file:
            self.process = subprocess.Popen(
                [sys.executable, '-m', 'vla_adapter_ros.server', '--threads', '1', *arguments],
                env=environment, stdout=file, stderr=subprocess.STDOUT, cwd=ROOT,
            )  # fmt: skip

    @property
    def log(self) -> str:
        return self._log.read_text()


@pytest.mark.slow(reason='starts two processes that load a network: ten seconds')
def test_the_shipped_checkpoint_is_served_until_ctrl_c(tmp_path):
    server = Command(tmp_path / 'first', '--port', '0')
    try:
        while not (found := re.search(r'listening at (ws://127\.0\.0\.1:(\d+));', server.log)):
            assert server.process.poll() is None, server.log
        second = Command(tmp_path / 'second', '--port', found[2])
        remote = RemotePolicy(found[1], timeout=20.0)
        remote.warm_up()  # asks once
        assert second.process.wait(60) == 1
        assert 'policy_server: cannot listen on' in second.log
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(20) == 0
        assert 'Traceback' not in server.log + second.log
    finally:
        server.process.kill()
        server.process.wait()
