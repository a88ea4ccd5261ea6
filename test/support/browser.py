# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A browser without a window, for pages that we write: driven by Chromium's DevTools protocol."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

PROGRAMS = ('chromium-headless-shell', 'chromium', 'chromium-browser', 'google-chrome', 'chrome')
LONGEST = 60.0  # [s] for anything asked of it


def find_browser() -> str | None:
    """Return a program of this machine, or None."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class Browser:
    """One page.

    Attributes:
        complaints: errors and warnings of the page's scripts, policy and loading.
    """

    def __init__(self, folder: Path, width: int, height: int) -> None:
        from websockets.sync.client import connect

        self._open = ExitStack()
        self._log = (folder / 'browser.log').open('w+')
        self._process = subprocess.Popen(
            [
                str(find_browser()), '--headless', '--no-sandbox', '--disable-gpu',
                '--disable-dev-shm-usage', '--hide-scrollbars', '--remote-debugging-port=0',
                '--remote-allow-origins=*', f'--window-size={width},{height}',
                f'--user-data-dir={folder / "profile"}', 'about:blank',
            ],
            stdout=self._log, stderr=self._log, start_new_session=True,
        )  # fmt: skip
        self.complaints: list[str] = []
        self._number, self._session = 0, ''
        try:
            address = self._address(folder / 'profile/DevToolsActivePort')
            self._socket = self._open.enter_context(connect(address, max_size=None))
            target = self.ask('Target.getTargets')['targetInfos'][0]['targetId']
            self._session = self.ask('Target.attachToTarget', targetId=target, flatten=True)[
                'sessionId'
            ]
            for domain in ('Page', 'Runtime', 'Log'):
                self.ask(f'{domain}.enable')
        except BaseException:
            self.close()
            raise

    def _address(self, file: Path) -> str:
        """Return where the browser listens, which it writes into a file once it does."""

        def found() -> list[str]:
            assert self._process.poll() is None, Path(self._log.name).read_text()
            return file.read_text().split() if file.is_file() else []

        port, path = wait_until(lambda: len(found()) == 2 and found())
        return f'ws://127.0.0.1:{port}{path}'

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result."""
        self._number += 1
        message = {'id': self._number, 'method': method, 'params': parameters}
        if self._session:
            message['sessionId'] = self._session
        self._socket.send(json.dumps(message))
        while True:
            answer = json.loads(self._socket.recv(timeout=LONGEST))
            if answer.get('id') == self._number:
                assert 'error' not in answer, answer
                return answer['result']
            self._hear(answer)

    def _hear(self, event: dict[str, Any]) -> None:
        kind, found = event.get('method'), event.get('params', {})
        if kind == 'Runtime.exceptionThrown':
            self.complaints.append(json.dumps(found['exceptionDetails']))
        elif kind == 'Runtime.consoleAPICalled' and found['type'] in ('error', 'warning'):
            self.complaints.append(json.dumps(found['args']))
        elif kind == 'Log.entryAdded' and found['entry']['level'] in ('error', 'warning'):
            self.complaints.append(found['entry']['text'])

    def open(self, page: Path) -> None:
        """Load a file and wait until its pictures are there."""
        self.ask('Page.navigate', url=page.resolve().as_uri())
        wait_until(lambda: self.value('document.readyState') == 'complete')
        wait_until(lambda: self.value('[...document.images].every((i) => i.complete)'))

    def value(self, script: str) -> Any:
        """Return what an expression of JavaScript is, as JSON."""
        answer = self.ask('Runtime.evaluate', expression=script, returnByValue=True)
        assert 'exceptionDetails' not in answer, answer
        return answer['result'].get('value')

    def picture(self) -> bytes:
        """Return what is seen as a PNG file."""
        return base64.b64decode(self.ask('Page.captureScreenshot', format='png')['data'])

    def close(self) -> None:
        """End the browser."""
        self._open.close()
        # Debian's program is a script whose child would live on.
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._log.close()

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def wait_until(condition: Callable[[], Any]) -> Any:
    """Return what a condition gives once that is true."""
    end = time.monotonic() + LONGEST
    while not (found := condition()):
        assert time.monotonic() < end, 'the browser takes too long'
        time.sleep(0.02)
    return found
