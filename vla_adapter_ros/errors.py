# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""User-facing errors: each message says in one line what is wrong, where, and what is allowed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class VLAAdapterError(ValueError):
    """Base of every error that a user can cause and fix."""


class ContractError(VLAAdapterError):
    """A robot contract is malformed, or two contracts differ where they must agree."""


class ConfigError(VLAAdapterError):
    """A configuration (network, recipe) has a key or a value that is not allowed."""


class CheckpointError(VLAAdapterError):
    """A checkpoint is missing, incomplete, or does not fit what is asked of it."""


class ObservationError(VLAAdapterError):
    """An observation (image, joint state, instruction) cannot be given to a policy."""


class DamagedImageError(ObservationError):
    """An image file is cut off or damaged in transit; the camera's next one may be good."""


class DatasetError(VLAAdapterError):
    """A recording or dataset is missing, damaged, or inconsistent."""


class InstructionError(ObservationError):
    """An instruction is empty, too long, or contains what the prompt cannot carry."""


class CameraError(VLAAdapterError):
    """A camera is missing, refuses what is asked of it, or stopped giving frames."""


class MessageError(VLAAdapterError):
    """A message to or from a policy server is malformed, or not what the protocol allows."""


class ServerError(VLAAdapterError):
    """A policy server cannot be started, reached or trusted, or did not answer in time."""


@contextmanager
def readable(what: object, error: type[VLAAdapterError], remedy: str = '') -> Iterator[None]:
    """Turn whatever is raised about a stranger's bytes, or a damaged file, into our error.

    Damaged files make libraries raise nearly anything: KeyError, struct.error, RecursionError, …

    Args:
        what: names what is read, for the message.
        error: to raise.
        remedy: end of the message: the way out.
    """
    try:
        yield
    except VLAAdapterError:
        raise
    except Exception as problem:
        lines = str(problem).strip().splitlines()
        reason = lines[0] if lines else 'damaged'
        raise error(
            f'{what}: cannot be read: {type(problem).__name__}: {reason}{remedy and f"; {remedy}"}'
        ) from problem
