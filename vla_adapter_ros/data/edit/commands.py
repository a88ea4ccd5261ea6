# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The edits: which episodes a new version consists of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from vla_adapter_ros.data.bags.parts import PART
from vla_adapter_ros.data.bags.recordings import IDENTITY
from vla_adapter_ros.data.edit import place
from vla_adapter_ros.data.edit.check import check
from vla_adapter_ros.data.edit.opened import OpenedSet, Piece, Row, whole_pieces
from vla_adapter_ros.data.edit.rebuild import Progress, rebuild
from vla_adapter_ros.data.files import new_folder, storage_errors
from vla_adapter_ros.data.lerobot.layout import EDITS, TAKEN_OUT
from vla_adapter_ros.data.lerobot.reencode import SOURCE
from vla_adapter_ros.errors import DatasetError


def write_edit(
    pieces: Sequence[Piece], note: str, output: Path | None = None, say: Progress = print
) -> None:
    """Make a dataset of episodes.

    Args:
        pieces: its episodes; those of the first one's dataset give what all have in common.
        note: the edit in words, kept in the dataset where it carries our contract.
        output: new folder; None: the dataset of the first episode, whose old version is kept.
        say: told what is encoded again.

    Raises:
        DatasetError: nothing is left, the output exists, or the result is read back differently;
            all datasets are as they were.
    """
    if not pieces:
        raise DatasetError('no episode would be left; remove the folder of the dataset instead')
    base = pieces[0].source
    extra = _extra(base, pieces, note)

    def build(folder: Path) -> None:
        encoded = rebuild(pieces, folder, extra, say)
        check(pieces, folder, encoded)

    if output is None:
        place.replace(base.path, build)
        return
    check_new(output)
    with storage_errors(output, 'nothing was written'), new_folder(output) as folder:
        build(folder)


def check_new(folder: Path) -> None:
    """Raise DatasetError if something is there already."""
    if folder.exists():
        raise DatasetError(f'{folder}: exists already; choose a new folder')


def _extra(base: OpenedSet, pieces: Sequence[Piece], note: str) -> dict[str, Any] | None:
    if base.extra is None:
        return None
    # `convert --append` leaves these recordings out: they are not to come back unasked.
    kept = [_recording(piece.source, piece.number) for piece in pieces]
    taken: dict[str, Any] = {}
    for source in {id(piece.source): piece.source for piece in pieces}.values():
        taken |= (source.extra or {}).get(TAKEN_OUT, {})
        taken |= {source.key(n): _recording(source, n) for n in range(len(source.rows))}
    left = {key: facts for key, facts in taken.items() if facts and facts not in kept}
    # The last three are totals that older versions of this package kept.
    old = (TAKEN_OUT, 'counted_episodes', 'image_histograms', 'image_histograms_before')
    extra = {name: value for name, value in base.extra.items() if name not in old}
    edits = [*base.extra.get(EDITS, []), note]
    return extra | {EDITS: edits} | ({TAKEN_OUT: left} if left else {})


def _recording(source: OpenedSet, number: int) -> Row:
    """Return what tells `convert` which recording or episode one was made of; {} if unknown."""
    metadata = source.lines[number].get('metadata') or {} if source.lines else {}
    return {name: metadata[name] for name in (IDENTITY, PART, SOURCE) if name in metadata}


def delete(source: OpenedSet, numbers: Sequence[int]) -> list[Piece]:
    """Return all episodes but some."""
    gone = set(check_numbers(source, numbers))
    return [piece for piece in whole_pieces(source) if piece.number not in gone]


def relabel(
    source: OpenedSet, text: str, numbers: Sequence[int] | None = None, old: str | None = None
) -> list[Piece]:
    """Return all episodes, some with another instruction.

    Args:
        source: the dataset.
        text: the new instruction.
        numbers: of the episodes to change; None: all.
        old: only where this is the instruction now; None: everywhere.

    Raises:
        DatasetError: nothing would change, or the text is empty.
    """
    text = text.strip()
    if not text:
        raise DatasetError('the new instruction is empty')
    chosen = set(range(len(source.rows)) if numbers is None else check_numbers(source, numbers))
    if old is not None:
        chosen = {number for number in chosen if old in source.texts(number)}
    if not chosen:
        found = ', '.join(repr(task) for task in sorted(source.tasks.values()))
        raise DatasetError(f'{source.path}: no such episode has {old!r}; its tasks are {found}')
    return [
        replace(piece, text=text, replaces=old) if piece.number in chosen else piece
        for piece in whole_pieces(source)
    ]


def crop(
    source: OpenedSet, numbers: Sequence[int], start: str | None, end: str | None
) -> list[Piece]:
    """Return all episodes, some without their beginning or end.

    Args:
        source: the dataset.
        numbers: of the episodes to crop.
        start: first moment that is kept, `1.5` in seconds or `45f` in frames; None: as it is.
        end: the moment before which it ends; None: as it is.

    Raises:
        DatasetError: no frame would be left of an episode, or all would.
    """
    chosen = set(check_numbers(source, numbers))
    first = 0 if start is None else _frame(start, source.fps)
    pieces = []
    for piece in whole_pieces(source):
        if piece.number in chosen:
            last = piece.last if end is None else min(piece.last, _frame(end, source.fps))
            if last <= first:
                raise DatasetError(
                    f'{source.path}: episode {piece.number} has {piece.length} frames '
                    f'({piece.length / source.fps:g} s); none would be left'
                )
            piece = replace(piece, first=first, last=last)
        pieces.append(piece)
    if all(piece.whole for piece in pieces):
        raise DatasetError(f'{source.path}: these episodes lie within that time already')
    return pieces


def _frame(text: str, fps: float) -> int:
    """Return the frame of a moment, in seconds or (with f) in frames."""
    try:
        frame = float(text[:-1]) if text.endswith('f') else float(text.removesuffix('s')) * fps
        if frame >= 0:
            return round(frame)
    except (ValueError, OverflowError):
        pass
    raise DatasetError(f'{text!r}: expected seconds (1.5) or frames (45f) from the beginning')


def check_numbers(source: OpenedSet, numbers: Sequence[int]) -> Sequence[int]:
    """Raise DatasetError for a number that no episode has."""
    last = len(source.rows) - 1
    for number in numbers:
        if not 0 <= number <= last:
            raise DatasetError(f'{source.path}: no episode {number}; it has 0 to {last}')
    return numbers


def parse_numbers(texts: Sequence[str]) -> list[int]:
    """Return the numbers of `3`, `7-9` and `3,7-9`.

    Raises:
        DatasetError: another form.
    """
    numbers: list[int] = []
    for text in ','.join(texts).split(','):
        first, dash, last = text.strip().partition('-')
        if not first.isdigit() or (dash and not last.isdigit()) or int(last or first) < int(first):
            raise DatasetError(f'{text!r}: expected an episode (3) or a range (7-9)')
        numbers += range(int(first), int(last or first) + 1)
    return numbers


def split(source: OpenedSet, parts: Mapping[str, str]) -> dict[str, list[Piece]]:
    """Return the episodes of each part.

    Args:
        source: the dataset.
        parts: folder → fraction (`0.8`: that many of the episodes, in order) or episodes (`0-39`).

    Raises:
        DatasetError: fractions that do not add up to 1, or an episode in two parts.
    """
    if len(parts) < 2:
        raise DatasetError('split: name two parts or more')
    total = len(source.rows)
    if all('.' in text for text in parts.values()):
        bounds = _bounds([_fraction(text) for text in parts.values()], total)
        numbers = [range(first, last) for first, last in pairwise(bounds)]
    else:
        numbers = [check_numbers(source, parse_numbers([text])) for text in parts.values()]
    taken: dict[int, str] = {}
    for folder, chosen in zip(parts, numbers, strict=True):
        if not chosen:
            raise DatasetError(f'{folder}: no episode of the {total} would be in it')
        for number in chosen:
            if number in taken:
                raise DatasetError(f'episode {number} is in {taken[number]} and in {folder}')
            taken[number] = folder
    return {
        folder: whole_pieces(source, chosen)
        for folder, chosen in zip(parts, numbers, strict=True)
    }


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 < value < 1.0:
        raise DatasetError(f'{text!r}: expected a fraction above 0.0 and below 1.0')
    return value


def _bounds(fractions: Sequence[float], total: int) -> list[int]:
    if abs(sum(fractions) - 1.0) > 1e-6:
        raise DatasetError(f'split: the fractions add up to {sum(fractions):g}, expected 1')
    sums = [sum(fractions[:count]) for count in range(len(fractions) + 1)]
    return [round(total * fraction) for fraction in sums]


def merge(sources: Sequence[OpenedSet]) -> list[Piece]:
    """Return all episodes of several datasets.

    Raises:
        DatasetError: their contracts, settings or features differ, or one episode is in two.
    """
    base, *others = sources
    for other in others:
        _check_agree(base, other)
    pieces = [piece for source in sources for piece in whole_pieces(source)]
    seen: dict[str, Piece] = {}
    for piece in pieces:
        name = repr(piece.source.lines[piece.number]['metadata']) if piece.source.lines else ''
        twin = seen.setdefault(name, piece) if _recording(piece.source, piece.number) else piece
        if twin is not piece:
            raise DatasetError(
                f'{piece.source.path}: episode {piece.number} and episode {twin.number} of '
                f'{twin.source.path} are the same recording; delete one of them first'
            )
    return pieces


def _check_agree(base: OpenedSet, other: OpenedSet) -> None:
    pairs = [('frames per second', base.fps, other.fps)]
    pairs += [('robot_type', base.info.get('robot_type'), other.info.get('robot_type'))]
    names = dict.fromkeys([*base.features, *other.features])
    for name in names:
        for field in ('dtype', 'shape', 'names'):
            values = [(s.features.get(name) or {}).get(field) for s in (base, other)]
            pairs.append((f'{field} of {name}', *values))
    one, two = base.extra or {}, other.extra or {}
    pairs += [
        (name, one.get(name), two.get(name))
        for name in ('fps', 'image_size', 'storage', 'quality', 'conversion')
    ]
    for name, here, there in pairs:
        if here != there:
            raise DatasetError(f'{other.path}: {name} is {there!r}, in {base.path} {here!r}')
    contracts = [_contract(base), _contract(other)]
    if None in contracts and any(contracts):
        lacking = other if contracts[0] else base
        raise DatasetError(
            f'{lacking.path}: has no robot contract, the other has; give it one with '
            '`python -m vla_adapter_ros.data.attach`'
        )
    if contracts[0] is not None and (found := contracts[0].differences(contracts[1])):
        raise DatasetError(f'{other.path}: another contract: {"; ".join(found)}')


def _contract(source: OpenedSet) -> Any:
    from vla_adapter_ros.robot.contract import RobotContract

    if source.extra is None:
        return None
    try:
        return RobotContract.from_dict(source.extra['contract'], str(source.path))
    except (KeyError, TypeError) as error:
        raise DatasetError(f'{source.path}: meta/vla_adapter.json has no contract') from error
