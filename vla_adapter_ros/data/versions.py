# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Versions of what writes bags and data sets."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

import vla_adapter_ros


def library_versions() -> dict[str, str]:
    """Return name → version of this package, Python, and the libraries that write data."""
    versions = {'vla_adapter_ros': vla_adapter_ros.__version__}
    versions['python'] = platform.python_version()
    for name in ('numpy', 'pyarrow', 'av', 'rosbags'):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions
