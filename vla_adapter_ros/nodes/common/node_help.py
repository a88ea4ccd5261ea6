# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""`--help` of a node: what it does, and its parameters with defaults and limits."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence
from dataclasses import Field, fields

from vla_adapter_ros.nodes.common.parameters import describe_limits

_WIDTH = 96


def help_if_asked(
    words: Sequence[str] | None, name: str, description: str, kind: type
) -> None:
    """Print the help and end the program if `-h` or `--help` stands before `--ros-args`.

    Args:
        words: arguments without the program's name; None: those of the program.
        name: executable.
        description: what the node does; the first paragraph of its module's docstring.
        kind: its parameter dataclass.
    """
    given = list(sys.argv[1:] if words is None else words)
    before = given[: given.index('--ros-args')] if '--ros-args' in given else given
    if '-h' in before or '--help' in before:
        print(node_help(name, description, kind))
        raise SystemExit(0)


def node_help(name: str, description: str, kind: type) -> str:
    """Return the help text."""
    summary = ' '.join(description.strip().split())
    lines = [
        f'usage: ros2 run vla_adapter_ros {name} [--ros-args -p NAME:=VALUE -r FROM:=TO ...]',
        '',
        *textwrap.wrap(summary, _WIDTH),
        '',
        'parameters:',
    ]
    for spec in fields(kind):
        lines += _parameter_lines(spec)
    return '\n'.join(lines)


def _parameter_lines(spec: Field) -> list[str]:
    limits = describe_limits(spec)
    allowed = f' [{limits}]' if limits else ''
    default = str(spec.default).lower() if isinstance(spec.default, bool) else repr(spec.default)
    text = f'{spec.metadata["limits"].description}{allowed} (default: {default})'
    return textwrap.wrap(
        text, _WIDTH, initial_indent=f'  {spec.name:24}  ', subsequent_indent=' ' * 28
    )
