# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Eight-bit integer linear layers for CPUs that have VNNI or AMX.

Weights have one scale per output channel, activations one per token, found at run time: no
calibration data, and one token's outlier does not cost the others their precision. The towers'
and the language model's linear layers are replaced; norms, attention and the small policy stay
in floating point. `check_actions` measures the effect on the actions and refuses a large one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.inference.packed_linear import replace_vlm_layers

LEVELS = 127
# What stands for zero among activations of 0 to 255.
_ZERO = 128
# Between the actions of a narrower and of the float32 network: the cosine alone lets one action
# through that is far off among many that are not.
MIN_COSINE = 0.995
# Largest difference of an action, in normalised units (the data spans -1 to 1).
MAX_ERROR = 0.05
INT8_NEEDS = 'a CPU with VNNI or AMX, and a torch with oneDNN'


class QuantisationError(VLAAdapterError):
    """The quantised model's actions are too far from those of the model it was made from."""


@lru_cache(maxsize=1)
def int8_works() -> bool:
    """Return whether this CPU adds products of 8-bit integers exactly, by trying it.

    CPUs without VNNI add two at a time in 16 bits and saturate.
    """
    for rows in (1, 48):  # a vector may take another kernel than a matrix
        for weight in (LEVELS, -LEVELS):
            linear = nn.Linear(256, 64, bias=False).requires_grad_(False)
            linear.weight.fill_(weight)
            x = torch.full((rows, 256), float(LEVELS))
            try:
                product = Int8Linear(linear)(x)
            except (AttributeError, RuntimeError, NotImplementedError):
                return False
            if not (product == 256 * LEVELS * weight).all():
                return False
    return True


def quantise_rows(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return rows (N, in) as 8-bit integers shifted by `_ZERO` (N, in), and their scales (N, 1).

    Quantised from float32: bfloat16's own steps are as wide as the integers' near 127.
    """
    # Passes over memory are what this costs: two reductions and no array of absolute values.
    rows = rows.to(torch.float32, copy=True)
    largest = torch.maximum(rows.amax(1, keepdim=True), rows.amin(1, keepdim=True).neg_())
    scale = largest.clamp_(min=1e-12).div_(LEVELS)
    quantised = rows.mul_(scale.reciprocal()).round_().to(torch.int8)
    # torch converts to int8 eight times as fast as to uint8; flipping the sign bit adds 128.
    return quantised.view(torch.uint8).bitwise_xor_(_ZERO), scale


class Int8Linear(nn.Module):
    """Drop-in for `nn.Linear` at inference: (…, in) → (…, out), in the input's dtype.

    oneDNN's quantised linear layer on weights that it has reordered once; it takes activations
    from 0 to 255 and makes up for the shift.

    Args:
        linear: the layer to replace; it is not changed.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach().float()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        scale = weight.abs().amax(dim=1).clamp_(min=torch.finfo(torch.float32).tiny) / LEVELS
        quantised = (weight / scale[:, None]).round_().to(torch.int8)
        # Not buffers: they keep their types when the network is converted.
        self._packed = torch.ops.onednn.qlinear_prepack(quantised, None)
        self.scale = scale
        self.zero_points = torch.zeros(len(scale), dtype=torch.int64)
        bias = None if linear.bias is None else linear.bias.detach().clone()
        self.register_buffer('bias', bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output; relative error about 1 % on normally distributed data."""
        quantised, scale = quantise_rows(x.reshape(-1, self.in_features))
        # In float32 up to the end: bfloat16 between would add as much error as the integers.
        result = torch.ops.onednn.qlinear_pointwise(
            quantised, 1.0, _ZERO, self._packed, self.scale, self.zero_points,
            None, 1.0, 0, torch.float32, 'none', [], '',
        ).mul_(scale)  # fmt: skip
        if self.bias is not None:
            result.add_(self.bias)
        return result.to(x.dtype).view(*x.shape[:-1], self.out_features)


def quantise(model: nn.Module, keep: tuple[str, ...] = ()) -> int:
    """Replace the linear layers of the towers, the projector and the language model, in place.

    Args:
        model: a `VLAAdapter` on the CPU.
        keep: full names, or last parts of names (`down_proj`), of layers that stay as they are.

    Returns:
        How many layers were replaced.
    """
    return replace_vlm_layers(model, nn.Linear, Int8Linear, keep)


@dataclass(frozen=True)
class ActionError:
    """How far actions are from the reference, over everything compared.

    Attributes:
        cosine: cosine of the angle between them.
        largest: largest absolute difference, in normalised units (the data spans -1 to 1).
        mean: mean absolute difference.
    """

    cosine: float
    largest: float
    mean: float

    def __str__(self) -> str:
        return (
            f'action cosine {self.cosine:.5f}, largest error {self.largest:.4f}, '
            f'mean {self.mean:.4f} (normalised units)'
        )


def check_actions(actions: np.ndarray, reference: np.ndarray) -> ActionError:
    """Compare normalised actions with a reference's: one gate for `dtype: int8` and `auto`.

    Raises:
        QuantisationError: not finite, the cosine is below `MIN_COSINE`, or a difference is above
            `MAX_ERROR`.
    """
    error = action_error(actions, reference)
    close = error.cosine >= MIN_COSINE and error.largest <= MAX_ERROR  # false if not a number
    if not close:
        raise QuantisationError(
            f'{error}; a cosine of at least {MIN_COSINE} and an error of at most {MAX_ERROR} '
            'are required'
        )
    return error


def action_error(actions: np.ndarray, reference: np.ndarray) -> ActionError:
    """Return the error of normalised actions against a reference's."""
    a, b = np.asarray(actions, np.float64).ravel(), np.asarray(reference, np.float64).ravel()
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    cosine = float(a @ b) / norms if norms else float(np.array_equal(a, b))
    difference = np.abs(a - b)
    return ActionError(cosine, float(difference.max()), float(difference.mean()))
