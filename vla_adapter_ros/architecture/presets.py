# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Named sizes: the backbones of the paper's Table 1, and small ones."""

from __future__ import annotations

from dataclasses import replace

from vla_adapter_ros.architecture.config import (
    DINOV2_LARGE,
    SIGLIP_SO400M,
    LanguageConfig,
    PolicyConfig,
    VLAAdapterConfig,
)

QWEN_0_5B = LanguageConfig()
LLAMA2_7B = LanguageConfig(
    family='llama',
    vocab_size=32064,  # 32000 and the padding token, rounded up to a multiple of 64
    hidden=4096,
    layers=32,
    heads=32,
    kv_heads=32,
    mlp_hidden=11008,
    rope_theta=1e4,
    norm_eps=1e-5,
    max_positions=2048,
)
# OpenVLA's own configuration leaves the norm's epsilon at the library default of LLaMA 1.
OPENVLA_7B = replace(LLAMA2_7B, norm_eps=1e-6)
LANGUAGE_MODELS = {'qwen2': QWEN_0_5B, 'llama': OPENVLA_7B}


def prismatic_llama2_7b(kind: str = 'pro') -> VLAAdapterConfig:
    """Prismatic VLM on LLaMA-2 7B, two cameras."""
    return VLAAdapterConfig(
        vision=(DINOV2_LARGE, SIGLIP_SO400M),
        language=LLAMA2_7B,
        policy=PolicyConfig(kind=kind),
    )


def openvla_7b(kind: str = 'pro') -> VLAAdapterConfig:
    """OpenVLA 7B: the same shapes as the Prismatic VLM, pre-trained on robot data, one camera."""
    return prismatic_llama2_7b(kind).replace(language=OPENVLA_7B, num_images=1)


PRESETS = {
    'full': VLAAdapterConfig.full,
    'tiny': VLAAdapterConfig.tiny,
    'prismatic-llama2-7b': prismatic_llama2_7b,
    'openvla-7b': openvla_7b,
}
