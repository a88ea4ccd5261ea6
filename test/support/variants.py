# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What the paper compares, as changes of a small network's configuration."""

from __future__ import annotations

from vla_adapter_ros.architecture.config import LanguageConfig, PolicyConfig, VisionTowerConfig


def policy(**changes) -> dict:
    return {'policy': PolicyConfig(**({'heads': 4} | changes))}


CONV = {'width': 32, 'depth': 3, 'heads': 2, 'mlp_hidden': 64, 'patch': 8, 'image_size': 32}
VARIANTS = {
    # Table 7 and Figure 4: which states, from which layers
    'raw features': policy(features='raw'),
    'query features': policy(features='query'),
    'first layer': policy(feature_layers='first'),
    'middle layer': policy(feature_layers='middle'),
    'last layer': policy(feature_layers='last'),
    'layer 3': policy(feature_layers=3),
    'raw features of the middle layer': policy(features='raw', feature_layers='middle'),
    'queries of the last layer': policy(features='query', feature_layers='last'),
    # Table 8: injection degrees
    'raw features at full degree': policy(raw_gate='none'),
    'learned degree on queries': policy(query_gate='tanh'),
    'learned degree on queries only': policy(raw_gate='none', query_gate='tanh'),
    # Figure 8: number of queries
    '1 query': {'num_queries': 1, 'aligned_slices': True},
    '512 queries': {'num_queries': 512},
    # cameras
    '1 camera': {'num_images': 1},
    '3 cameras': {'num_images': 3},
    # Appendix B, and the two released policies
    'dit': policy(kind='dit'),
    'dit on queries': policy(kind='dit', features='query', query_gate='tanh'),
    'original': policy(kind='original'),
    # Tables 2 and 3: OpenVLA-OFT's bridging
    'oft': policy(kind='oft'),
    'oft without proprioception': policy(kind='oft') | {'use_proprio': False},
    'pro': policy(kind='pro'),
    'wide policy': policy(width=48, blocks=2),
    # vision
    'film': {'use_film': True},
    'one tower': {'vision': (VisionTowerConfig(**CONV),)},
    'conv stem with keypoints and film': {
        'vision': (
            VisionTowerConfig(stem='conv', keypoints=8, local_keypoints=2, pool=2, **CONV),
        ),
        'use_film': True,
    },
    # tokens 40 to 59 go on with a word
    'film by segments of spelled words': {
        'use_film': True, 'film_segment_tokens': 2, 'film_pieces': (40, 60),
    },
    'film by a sentence reader': {'use_film': True, 'film_slots': 3},
    'keypoints that the sentence asks for': {
        'use_film': True, 'film_slots': 3,
        'vision': (
            VisionTowerConfig(
                keypoints=8, local_keypoints=4, asked_keypoints=3, keypoint_hidden=16, **CONV
            ),
        ),
    },
    'keypoints of the object whose turn it is': {
        'use_film': True, 'film_slots': 3,
        'vision': (
            VisionTowerConfig(keypoints=8, asked_keypoints=4, turn_hidden=8, **CONV),
        ),
    },
    'keypoints of patches': {'vision': (VisionTowerConfig(keypoints=8, **CONV),)},
    'llama': {
        'language': LanguageConfig(
            family='llama', vocab_size=64, hidden=32, layers=4, heads=4, kv_heads=4, mlp_hidden=64
        )
    },
    'no proprioception': {'use_proprio': False},
}
