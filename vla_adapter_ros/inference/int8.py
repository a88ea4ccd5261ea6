# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Eight-bit integer linear layers for CPUs: with VNNI about 3.5 times the float32 rate.

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
# Between the actions of the quantised and of the float model.
MIN_COSINE = 0.995


class QuantisationError(VLAAdapterError):
    """The quantised model's actions are too far from those of the model it was made from."""


@lru_cache(maxsize=1)
def product_is_exact() -> bool:
    """Return whether this CPU adds products of 8-bit integers exactly, by trying it.

    CPUs without VNNI add two at a time in 16 bits, of activations shifted to 0…255, and saturate.
    """
    for rows in (1, 48):  # a vector may take another kernel than a matrix
        for weight in (LEVELS, -LEVELS):
            a = torch.full((rows, 256), LEVELS, dtype=torch.int8)
            b = torch.full((64, 256), weight, dtype=torch.int8)
            if not (torch._int_mm(a, b.t()) == 256 * LEVELS * weight).all():
                return False
    return True


class Int8Linear(nn.Module):
    """Drop-in for `nn.Linear` at inference: (…, in) → (…, out), in the input's dtype.

    Args:
        linear: the layer to replace; it is not changed.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach().float()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        scale = weight.abs().amax(dim=1).clamp_(min=torch.finfo(torch.float32).tiny) / LEVELS
        quantised = (weight / scale[:, None]).round_().to(torch.int8)
        bias = torch.zeros(len(weight)) if linear.bias is None else linear.bias.detach().float()
        parts = [quantised]
        if not product_is_exact():
            # 2·255·64 fits into 16 bits: two halves give the numbers of a CPU that has VNNI.
            half = quantised // 2
            parts = [half, quantised - half]
        # (parts, out, in); oneDNN multiplies by views (in, out) with unit stride along `in`.
        self.register_buffer('weight_int8', torch.stack(parts))
        self.register_buffer('scale', scale)
        self.register_buffer('bias', bias.clone())

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output; relative error about 1 % on normally distributed data."""
        rows = x.reshape(-1, self.in_features).float()
        # Quantised from float32: bfloat16's own steps are as wide as the integers' near 127.
        scale = rows.abs().amax(dim=1, keepdim=True).clamp_(min=1e-12).div_(LEVELS)
        quantised = (rows / scale).round_().to(torch.int8)
        product = torch._int_mm(quantised, self.weight_int8[0].t())
        for rest in self.weight_int8[1:]:
            product += torch._int_mm(quantised, rest.t())
        result = torch.addcmul(self.bias, product.float().mul_(scale), self.scale)
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


def check_actions(
    actions: np.ndarray, reference: np.ndarray, min_cosine: float = MIN_COSINE
) -> ActionError:
    """Compare normalised actions with a reference's.

    Raises:
        QuantisationError: not finite, or the cosine is below `min_cosine`.
    """
    error = action_error(actions, reference)
    if not np.isfinite(actions).all() or not error.cosine >= min_cosine:
        raise QuantisationError(f'int8: {error}; at least {min_cosine} is required')
    return error


def action_error(actions: np.ndarray, reference: np.ndarray) -> ActionError:
    """Return the error of normalised actions against a reference's."""
    a, b = np.asarray(actions, np.float64).ravel(), np.asarray(reference, np.float64).ravel()
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    cosine = float(a @ b) / norms if norms else float(np.array_equal(a, b))
    difference = np.abs(a - b)
    return ActionError(cosine, float(difference.max()), float(difference.mean()))
