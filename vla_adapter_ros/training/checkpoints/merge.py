# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Makes a whole checkpoint of one that holds only what trained (`save.weights=adapters`).

python -m vla_adapter_ros.training.checkpoints.merge CHECKPOINT OUTPUT
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from vla_adapter_ros.errors import VLAAdapterError


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog='python -m vla_adapter_ros.training.checkpoints.merge',
        description='Add what a run trained to the weights that it started from.',
    )
    parser.add_argument('checkpoint', type=Path, help='folder with adapters.safetensors')
    parser.add_argument('output', type=Path, help='new folder for the whole checkpoint')
    parser.add_argument(
        '--start', help='where the start weights lie now (default: where they lay in training)'
    )
    options = parser.parse_args(arguments)
    from vla_adapter_ros.training.checkpoints.content import merge

    try:
        merge(options.checkpoint, options.output, options.start)
    except VLAAdapterError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    print(options.output)
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
