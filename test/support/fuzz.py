# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Mutated files for readers of what strangers wrote, which may refuse in our own errors only."""

from __future__ import annotations

import json
import os
import random
import resource
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vla_adapter_ros.errors import VLAAdapterError

LONGEST_READ = 10.0  # [s]
MOST_MEMORY = 1 << 30  # [bytes] on top of what the process had before
# Lengths, counts and offsets that readers get wrong.
_NUMBERS = [0, 1, 127, 128, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1]
_VALUES: list[Any] = [
    None, True, -1, 0, 10**30, 1e308, float('nan'), float('inf'), '', 'x', '\x00', '../..', [], {},
    [None], [[]], {'': None}, [1e308] * 3,
]  # fmt: skip

_WORDS = [
    '', '~', 'true', '-1', '1e400', '.nan', '.inf', '0x7fffffffffffffff', '[]', '{}', '[1, [2]]',
    '"\\0"', '&a [*a]', '*b', '!!python/object:os.system x', '!!binary x', '2026-13-01', '? x',
    '%', '"' + 'x' * 300 + '"', '{1: 2, [3]: 4}',
]  # fmt: skip


@dataclass(frozen=True)
class Reader:
    """Something of ours that reads foreign files.

    Attributes:
        name: of the format.
        write: makes a good example in a folder and returns the files to damage.
        read: reads the folder as far as a user would.
        share: of the inputs, beside the others; small for a slow reader.
    """

    name: str
    write: Callable[[Path], Sequence[Path]]
    read: Callable[[Path], object]
    share: float = 1.0


@dataclass
class Outcome:
    """What a series of mutated inputs led to."""

    read: int = 0
    refused: int = 0
    slowest: float = 0.0  # [s]
    failures: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    @property
    def inputs(self) -> int:
        return self.read + self.refused + sum(self.failures.values())

    def __str__(self) -> str:
        found = f'{self.inputs} inputs: {self.read} read, {self.refused} refused'
        shown = [f'{n} × {what}\n{self.examples[what]}' for what, n in self.failures.most_common()]
        return '\n'.join([f'{found}, slowest {self.slowest:.2f} s', *shown])


def mutate(generator: random.Random, data: bytes, name: str = '') -> bytes:
    """Return damaged bytes; half of all JSON files stay JSON, with other values."""
    if name.endswith(('.json', '.jsonl')) and generator.random() < 0.5:
        return _other_values(generator, data)
    if name.endswith(('.yaml', '.jsonl')) and generator.random() < 0.8:
        return _other_lines(generator, data)
    result = bytearray(data)
    for _ in range(generator.choice((1, 1, 1, 2, 4, 16))):
        _damage(generator, result)
    return bytes(result)


def _damage(generator: random.Random, data: bytearray) -> None:
    # The beginning and the end, where headers and indices are, as often as all between.
    size = len(data)
    area = generator.choice(((0, size), (0, min(size, 256)), (max(0, size - 256), size)))
    place, length = generator.randrange(area[0], area[1] + 1), generator.choice((1, 2, 4, 8, 64))
    kind = generator.randrange(7)
    if kind == 0 and place < size:
        data[place] ^= 1 << generator.randrange(8)
    elif kind == 1:
        data[place : place + length] = generator.randbytes(length)
    elif kind == 2:
        del data[place : place + length]
    elif kind == 3:
        data[place:place] = generator.randbytes(length)
    elif kind == 4:
        width = generator.choice((1, 2, 4, 8))
        number = generator.choice(_NUMBERS) & (1 << 8 * width) - 1
        data[place : place + width] = number.to_bytes(width, generator.choice(('little', 'big')))
    elif kind == 5:
        other = generator.randrange(size + 1)
        data[place:place] = data[other : other + length]
    else:
        del data[place:]


def _other_values(generator: random.Random, data: bytes) -> bytes:
    lines = data.decode().splitlines() if data.count(b'}\n{') else [data.decode()]
    number = generator.randrange(len(lines))
    content = json.loads(lines[number])
    places = list(_places(content))
    for _ in range(generator.choice((1, 1, 2))):
        holder, key = generator.choice(places)
        if generator.random() < 0.3:
            if isinstance(holder, dict):
                holder.pop(key, None)
            continue
        holder[key] = generator.choice(_VALUES)
    lines[number] = json.dumps(content)
    return '\n'.join(lines).encode()


def _other_lines(generator: random.Random, data: bytes) -> bytes:
    lines = data.decode().splitlines()
    for _ in range(generator.choice((1, 1, 2))):
        number = generator.randrange(len(lines))
        key, colon, _ = lines[number].partition(': ')
        kind = generator.randrange(5)
        if kind == 0:
            del lines[number]
        elif kind == 1:
            lines.insert(number, generator.choice(lines))
        elif kind == 2:
            lines[number] = generator.choice(('  ', ' ', '- ', '? ', '<<: ')) + lines[number]
        elif colon:
            lines[number] = key + colon + generator.choice(_WORDS)
        else:
            lines[number] += generator.choice(_WORDS)
    return '\n'.join(lines).encode()


def _places(value: Any) -> Any:
    if not isinstance(value, (dict, list)):
        return
    for key in value if isinstance(value, dict) else range(len(value)):
        yield value, key
        yield from _places(value[key])


def fuzz(reader: Reader, folder: Path, count: int, seed: int = 0) -> Outcome:
    """Read `count` damaged copies of an example, one after the other."""
    generator = random.Random(f'{reader.name} {seed}')
    files = reader.write(folder)
    good = [file.read_bytes() for file in files]
    reader.read(folder)
    outcome = Outcome()
    for _ in range(count):
        number = generator.randrange(len(files))
        replace_file(files[number], mutate(generator, good[number], files[number].name))
        _try(reader, folder, outcome)
        replace_file(files[number], good[number])
    return outcome


def replace_file(file: Path, data: bytes) -> None:
    """Write under a new inode: a mapping of the old file, kept by a reader, stays whole."""
    fresh = file.with_name(f'.{file.name}.new')
    fresh.write_bytes(data)
    os.replace(fresh, file)


def _try(reader: Reader, folder: Path, outcome: Outcome) -> None:
    start, memory = time.monotonic(), peak_memory()
    what = ''
    try:
        reader.read(folder)
        outcome.read += 1
    except VLAAdapterError:
        outcome.refused += 1
    except BaseException as error:  # whatever a reader lets through, a Rust panic too
        if isinstance(error, KeyboardInterrupt):
            raise
        what = f'{reader.name}: {type(error).__name__} at {_place_of(error)}'
        outcome.examples.setdefault(what, f'    {error}'[:300])
        outcome.failures[what] += 1
    seconds = time.monotonic() - start
    outcome.slowest = max(outcome.slowest, seconds)
    grown = peak_memory() - memory
    if not what and (seconds > LONGEST_READ or grown > MOST_MEMORY):
        what = f'{reader.name}: {seconds:.0f} s, {grown >> 20} MiB'
        outcome.failures[what] += 1
        outcome.examples[what] = ''


def _place_of(error: BaseException) -> str:
    """Return the line of the package that let an error through."""
    places = [
        f'{frame.filename.rpartition("vla_adapter_ros/")[2]}:{frame.lineno}'
        for frame in traceback.extract_tb(error.__traceback__)
        if 'vla_adapter_ros/' in frame.filename
    ]
    return places[-1] if places else '?'


def peak_memory() -> int:
    """Return the most memory this process had so far [bytes]."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
