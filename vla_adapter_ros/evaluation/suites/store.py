# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Results of a benchmark, one line per episode, safe on disk before the next is counted."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vla_adapter_ros.errors import VLAAdapterError, readable

FILE = 'results.jsonl'
# What every result tells beside the account of its worker.
EXAMPLE = {'error': '', 'attempts': 1, 'seconds': 0.0, 'policy_seconds': 0.0}
Key = tuple[int, ...]


class ResultStore:
    """The results of one run in one folder; a run that was interrupted goes on.

    Args:
        folder: created if missing.
        identity: everything that decides the results, as plain JSON data.
        nothing: an example of a worker's account; every other has its fields, and their types.
        names: of the fields that tell results apart.

    Attributes:
        path: of the file.
        nothing, names: as given.
        results: values of these fields → the last result.

    Raises:
        VLAAdapterError: the folder holds results of something else, or cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        identity: Mapping[str, Any],
        nothing: Mapping[str, Any],
        names: Sequence[str] = ('task', 'episode'),
    ) -> None:
        self.path = folder / FILE
        self.nothing, self.names = nothing, names
        self.results: dict[Key, dict[str, Any]] = {}
        text = json.dumps(identity, sort_keys=True)
        self.hash = hashlib.sha256(text.encode()).hexdigest()[:16]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            kept = self._read(identity) if self.path.exists() else 0
            self._file = self.path.open('r+b' if kept else 'wb')
            self._file.truncate(kept)  # a line that was being written when the machine died
            self._file.seek(kept)
        except OSError as error:
            raise VLAAdapterError(f'{self.path}: cannot be written: {error.strerror}') from None
        if not kept:
            self._append({'run': self.hash, 'identity': dict(identity)})

    def add(self, result: Mapping[str, Any]) -> None:
        """Append the result of an episode and wait until it is on the disk."""
        self._append(result)
        self.results[self.key(result)] = dict(result)

    def key(self, result: Mapping[str, Any]) -> Key:
        """Return what tells a result, or the request for it, from others."""
        return tuple(result[name] for name in self.names)

    def done(self, request: Mapping[str, Any]) -> bool:
        """Return whether a request has its verdict; what ended in an error has none."""
        key = self.key(request)
        return key in self.results and not self.results[key]['error']

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _append(self, line: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(line).encode() + b'\n')
        self._file.flush()
        os.fsync(self._file.fileno())

    def _read(self, identity: Mapping[str, Any]) -> int:
        """Read what is there; return the bytes of its complete lines."""
        data = self.path.read_bytes()
        data = data[: data.rfind(b'\n') + 1]
        with readable(self.path, VLAAdapterError, 'choose another --out'):
            lines = [json.loads(line) for line in data.splitlines()]
            if lines:
                self._check(lines[0], identity)
            for line in lines[1:]:
                self._check_types(line)
                self.results[self.key(line)] = line
        return len(data)

    def _check_types(self, result: Mapping[str, Any]) -> None:
        examples = {**dict.fromkeys(self.names, 0), **self.nothing, **EXAMPLE}
        for name, example in examples.items():
            number = isinstance(example, float) and type(result[name]) is int
            if not (number or type(result[name]) is type(example)):
                raise TypeError(f'{name} is {result[name]!r:.40}')
            if type(example) is int and result[name] < 0:  # they count
                raise ValueError(f'{name} is {result[name]}')

    def _check(self, first: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
        if first['run'] == self.hash:
            return
        old = first['identity']
        names = sorted(name for name in {*old, *identity} if old.get(name) != identity.get(name))
        what = ', '.join(f'{name} {old.get(name)!r}, now {identity.get(name)!r}' for name in names)
        raise VLAAdapterError(
            f'{self.path}: results of another run ({what}); choose another --out'
        )
