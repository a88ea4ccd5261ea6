# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Results of checks as a green and red table with an exit code."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

from vla_adapter_ros.errors import VLAAdapterError

PASS, WARN, FAIL, SKIP = 'ok', 'warning', 'FAIL', 'skipped'
_COLOURS = {PASS: '32', WARN: '33', FAIL: '31', SKIP: '2'}
# Columns of the table.
_WIDTH = 100


@dataclass(frozen=True)
class Check:
    """One result.

    Attributes:
        name: of the check.
        verdict: ok, warning, FAIL or skipped.
        detail: the finding, with figures; for warning and FAIL also the remedy.
    """

    name: str
    verdict: str
    detail: str

    def to_dict(self) -> dict[str, str]:
        """Return plain data."""
        return asdict(self)


def run_check(name: str, check: Callable[[], Check | list[Check]]) -> list[Check]:
    """Run a check; one that raises is a FAIL with the error, and the others still run."""
    try:
        result = check()
    except VLAAdapterError as error:
        return [Check(name, FAIL, str(error))]
    except Exception as error:
        first_line = (str(error) or repr(error)).splitlines()[0]
        return [Check(name, FAIL, f'{type(error).__name__}: {first_line}')]
    return [result] if isinstance(result, Check) else result


def table(checks: Iterable[Check], colour: bool) -> str:
    """Return the results as text, one row per check, details wrapped."""
    checks = list(checks)
    width = max((len(check.name) for check in checks), default=0)
    lines = []
    for check in checks:
        verdict = f'{check.verdict:8}'
        if colour:
            verdict = f'\x1b[{_COLOURS[check.verdict]}m{verdict}\x1b[0m'
        room = max(30, _WIDTH - width - 12)
        detail = textwrap.wrap(check.detail, room, break_long_words=False) or ['']
        lines.append(f'{verdict}  {check.name:{width}}  {detail[0]}')
        lines += [' ' * (width + 12) + line for line in detail[1:]]
    lines += ['', summary(checks)]
    return '\n'.join(lines)


def summary(checks: list[Check]) -> str:
    """Return the number of checks by verdict, in one line."""
    counts = {v: sum(c.verdict == v for c in checks) for v in (PASS, WARN, FAIL, SKIP)}
    text = ', '.join(f'{count} {verdict}' for verdict, count in counts.items() if count)
    return f'{text}: {"not ready" if counts[FAIL] else "ready"}'


def exit_code(checks: Iterable[Check]) -> int:
    """Return 1 if any check failed, else 0."""
    return int(any(check.verdict == FAIL for check in checks))
