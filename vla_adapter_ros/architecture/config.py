# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Shape of the network as frozen dataclasses. No torch here: reading metadata stays cheap.

The defaults are the released form: fused DINOv2-with-registers + SigLIP encoders, Qwen2.5-0.5B,
64 ActionQueries, 24 Bridge Attention blocks, chunks of 8 actions. Everything the paper compares
(Tables 1, 2, 3, 7, 8, Figures 4 and 8, Appendix B) is a field of these classes. Fields for small
networks trained from scratch come last in each class; `model/small/` implements them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from vla_adapter_ros.architecture.checks import (
    at_least_zero,
    divides,
    given_positive,
    one_of,
    positive,
    refuse,
)
from vla_adapter_ros.architecture.tower import DINOV2_LARGE, SIGLIP_SO400M, VisionTowerConfig
from vla_adapter_ros.errors import ConfigError

POLICY_KINDS = ('original', 'pro', 'dit', 'oft')
FEATURES = ('both', 'raw', 'query')
GATES = ('tanh', 'none')
FAMILIES = ('qwen2', 'llama')
ROPE_PRECISIONS = ('run', 'float32', 'bfloat16')
NAMED_LAYERS = ('all', 'first', 'middle', 'last')
FILM_SEGMENTS = 4  # of a prompt; the last one takes all the rest
# Top-level modules of the network that make up the VLM; ActionQueries and policy are the rest.
VLM_MODULES = ('vision_backbone', 'projector', 'language_model')


@dataclass(frozen=True, kw_only=True)
class LanguageConfig:
    """The decoder-only language model. Defaults: Qwen2.5-0.5B."""

    family: str = 'qwen2'
    vocab_size: int = 151936
    hidden: int = 896
    layers: int = 24
    heads: int = 14
    kv_heads: int = 2
    mlp_hidden: int = 4864
    rope_theta: float = 1e6
    norm_eps: float = 1e-6
    max_positions: int = 32768
    embedding_scale: float = 0.02  # at initialisation; another one in small networks only

    def __post_init__(self) -> None:
        one_of(self, 'family', FAMILIES)
        positive(self, 'vocab_size', 'hidden', 'layers', 'heads', 'kv_heads', 'mlp_hidden')
        at_least_zero(self, 'rope_theta', above=True)
        at_least_zero(self, 'norm_eps')
        divides(self, self.hidden)
        if self.heads % self.kv_heads:
            refuse(self, 'kv_heads', f'{self.kv_heads} does not divide the {self.heads} heads')


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
# OpenVLA leaves the norm's epsilon at the library's default, that of LLaMA 1.
OPENVLA_7B = replace(LLAMA2_7B, norm_eps=1e-6)


@dataclass(frozen=True, kw_only=True)
class PolicyConfig:
    """The action policy.

    `features` and `feature_layers` are Table 7 and Figure 4 of the paper: which states of the
    language model the policy reads (raw features, ActionQuery features, both), and from which
    layers: `all` (block i reads layer i + 1), one layer for every block (`first`, `middle`, `last`
    or its number), or one number per block. `raw_gate` and `query_gate` are the injection degrees
    of Table 8: a learned tanh(g), or none (full degree).

    `rope_precision` (Pro only): the released weights were trained with rotary tables computed in
    bfloat16, where positions above 256 are rounded. `run` follows the dtype that the network runs
    in, as the released code does; the others pin them: a policy runs as it was trained. Training
    and the loaders pin them, of early runs by the recipe; files of before the name changed have
    `rope_tables`.

    `oft` is the bridging of OpenVLA-OFT (Tables 2 and 3): it reads action slots of the last layer,
    whatever `features` and `feature_layers` say; `blocks` are those of its MLP, 2 by default.

    `action_limit` (dit only): bound on the normalised actions of the data, to which sampling
    clamps. It is 1 for the bounds normalisations, more for mean and standard deviation (training
    measures it).
    """

    kind: str = 'pro'
    heads: int = 8
    blocks: int | None = None
    width: int | None = None
    features: str = 'both'
    feature_layers: str | int | tuple[int, ...] = 'all'
    raw_gate: str = 'tanh'
    query_gate: str = 'none'
    num_task_tokens: int | None = None
    rope_precision: str = 'run'
    diffusion_steps: int = 50
    sampling_steps: int = 10
    action_limit: float = 1.0

    def __post_init__(self) -> None:
        one_of(self, 'kind', POLICY_KINDS)
        if self.kind == 'oft':
            object.__setattr__(self, 'features', 'query')
            object.__setattr__(self, 'feature_layers', 'last')
        one_of(self, 'features', FEATURES)
        one_of(self, 'raw_gate', GATES)
        one_of(self, 'query_gate', GATES)
        one_of(self, 'rope_precision', ROPE_PRECISIONS)
        positive(self, 'heads', 'diffusion_steps', 'sampling_steps')
        given_positive(self, 'blocks', 'width', 'num_task_tokens')
        at_least_zero(self, 'action_limit', above=True)
        if isinstance(self.feature_layers, str):
            one_of(self, 'feature_layers', NAMED_LAYERS)
        if isinstance(self.feature_layers, list):
            object.__setattr__(self, 'feature_layers', tuple(self.feature_layers))


@dataclass(frozen=True, kw_only=True)
class VLAAdapterConfig:
    """The network: cameras and instruction in, one chunk of normalised actions out.

    `aligned_slices` corrects two off-by-one reads of the released code (see `sequence.py`); the
    released checkpoints need it False, a policy trained from scratch is better off with True.
    `use_film` conditions the towers on the instruction's mean embedding (FiLM), which in the
    released form, without `aligned_slices`, covers the stop token too.
    """

    vision: tuple[VisionTowerConfig, ...] = (DINOV2_LARGE, SIGLIP_SO400M)
    language: LanguageConfig = field(default_factory=LanguageConfig)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    num_images: int = 2
    num_queries: int = 64
    chunk_size: int = 8
    action_dim: int = 7
    proprio_dim: int = 8
    use_proprio: bool = True
    use_film: bool = False
    aligned_slices: bool = False
    # Small networks only.
    film_segment_tokens: int = 0  # FiLM: one mean per segment of so many words; 0: one in all
    film_pieces: tuple[int, int] = (0, 0)  # ids (first, end) of tokens that go on with a word
    film_slots: int = 0  # FiLM: so many slots of a sentence reader (`model/small/reader.py`)
    query_scale: float = 0.02  # of the ActionQueries at initialisation

    def __post_init__(self) -> None:
        object.__setattr__(self, 'vision', tuple(self.vision))
        object.__setattr__(self, 'film_pieces', tuple(self.film_pieces))
        positive(self, 'num_images', 'num_queries', 'chunk_size', 'action_dim', 'proprio_dim')
        segment = self.film_segment_tokens
        if segment and not (self.use_film and segment > 0):
            allowed = '0 or, with use_film, a number of words'
            refuse(self, 'film_segment_tokens', f'got {segment}, allowed are {allowed}')
        if self.film_slots and (segment or not self.use_film or self.film_slots < 0):
            allowed = '0 or, with use_film and without film_segment_tokens, a number of slots'
            refuse(self, 'film_slots', f'got {self.film_slots}, allowed are {allowed}')
        asked = any(tower.asked_keypoints or tower.turn_hidden for tower in self.vision)
        if asked and not self.use_film:
            refuse(
                self, 'use_film', 'got False, asked_keypoints and turn_hidden of a tower need it'
            )
        if len(self.vision) not in (1, 2):
            refuse(self, 'vision', f'got {len(self.vision)} towers, allowed are 1 or 2')
        tokens = {tower.tokens for tower in self.vision}
        sizes = {tower.image_size for tower in self.vision}
        if len(tokens) > 1 or len(sizes) > 1:
            refuse(
                self,
                'vision',
                f'fused towers must agree, got {sorted(tokens)} tokens per image and image sizes '
                f'{sorted(sizes)}',
            )
        policy, width = self.policy, self.policy_width
        divides(policy, width)
        if policy.kind != 'original' and (width // policy.heads) % 2:
            refuse(
                policy,
                'heads',
                f'head width {width // policy.heads} is odd, rotary positions need an even one',
            )
        if policy.kind == 'original' and width != self.language.hidden:
            # One projection serves chunk tokens and features: both need the same width.
            refuse(
                policy,
                'width',
                f'{width} for an original policy, which needs the hidden size '
                f'{self.language.hidden}',
            )
        chosen, layers, blocks = policy.feature_layers, self.language.layers, self.policy_blocks
        if chosen == 'all' and blocks > layers:
            refuse(
                policy,
                'blocks',
                f'{blocks} blocks read one layer each, but the language model has {layers}',
            )
        if isinstance(chosen, tuple) and len(chosen) != blocks:
            refuse(
                policy, 'feature_layers', f'got {len(chosen)} layers for {blocks} policy blocks'
            )
        for layer in self.layer_of_block:
            if not 0 <= layer <= layers:
                refuse(policy, 'feature_layers', f'got layer {layer}, allowed are 0 to {layers}')

    @property
    def image_size(self) -> int:
        """Side of the square input images [px]."""
        return self.vision[0].image_size

    @property
    def film_width(self) -> int:
        """Width of the conditioning vector of the FiLM layers; 0 without FiLM."""
        if not self.use_film:
            return 0
        means = FILM_SEGMENTS if self.film_segment_tokens else 1
        return self.language.hidden * (self.film_slots or means)

    @property
    def towers(self) -> dict[str, VisionTowerConfig]:
        """Module names of the vision towers -> their configurations."""
        return dict(zip(('featurizer', 'fused_featurizer'), self.vision))

    @property
    def vision_width(self) -> int:
        """Channels of the fused visual features."""
        return sum(tower.width for tower in self.vision)

    @property
    def channels_per_image(self) -> int:
        """Input channels per camera: three for each tower, normalised for that tower."""
        return 3 * len(self.vision)

    @property
    def tokens_per_image(self) -> int:
        """Visual tokens per camera."""
        return self.vision[0].tokens

    @property
    def visual_tokens(self) -> int:
        """Visual tokens of all cameras."""
        return self.num_images * self.tokens_per_image

    @property
    def context_tokens(self) -> int:
        """Visual tokens, and the proprioception token that the language model of `oft` reads."""
        return self.visual_tokens + (self.policy.kind == 'oft' and self.use_proprio)

    @property
    def policy_width(self) -> int:
        """Width of the policy's tokens."""
        return self.policy.width or self.language.hidden

    @property
    def policy_blocks(self) -> int:
        """Policy blocks that read features: by default one per language-model layer."""
        if self.policy.kind == 'oft':
            return 1
        return self.policy.blocks or self.language.layers

    @property
    def queries_in_sequence(self) -> int:
        """ActionQueries, or slots of an `oft` policy; 0 for a policy on raw features only."""
        if self.policy.kind == 'oft':
            return self.chunk_size * self.action_dim
        return 0 if self.policy.features == 'raw' else self.num_queries

    @property
    def num_task_tokens(self) -> int:
        """Raw-feature tokens the policy reads.

        The released head fixes 512 whatever the number of images, which is right for two only;
        here it follows the images unless `policy.num_task_tokens` pins it.
        """
        if self.policy.features == 'query':
            return 0
        return self.policy.num_task_tokens or self.visual_tokens

    @property
    def layer_of_block(self) -> tuple[int, ...]:
        """Index of the hidden state that each policy block reads (0: embeddings)."""
        blocks, layers = self.policy_blocks, self.language.layers
        chosen = self.policy.feature_layers
        if chosen == 'all':
            # Block i reads state i + 1: the embedding output (state 0) is never used.
            return tuple(range(1, blocks + 1))
        if isinstance(chosen, tuple):
            return chosen
        named = {'first': 1, 'middle': (layers + 1) // 2, 'last': layers}
        return (named[chosen] if isinstance(chosen, str) else chosen,) * blocks

    def as_trained(self, precision: str) -> VLAAdapterConfig:
        """Return a copy whose rotary tables are those of a training in `bf16` or `fp32`.

        Under autocast a bridge policy's tokens are bfloat16, a diffusion policy's are not. Tables
        that are pinned already stay as they are.
        """
        if self.policy.rope_precision != 'run':
            return self
        half = precision == 'bf16' and self.policy.kind != 'dit'
        return self.override(rope_precision='bfloat16' if half else 'float32')

    def replace(self, **changes: Any) -> VLAAdapterConfig:
        """Return a copy with changed fields."""
        return replace(self, **changes)

    def override(self, **changes: Any) -> VLAAdapterConfig:
        """Return a copy with changed fields, those of the sections by their own names.

        `override(num_images=1, rope_precision='run')` changes `num_images` of this class and
        `rope_precision` of `policy`. A field of `vision` changes in every tower.

        Raises:
            ConfigError: no such field, or a name that several sections have (`heads`).
        """
        kinds = {'vision': VisionTowerConfig, 'language': LanguageConfig, 'policy': PolicyConfig}
        names = {section: {item.name for item in fields(kind)} for section, kind in kinds.items()}
        own = {item.name for item in fields(self)}
        top = {key: value for key, value in changes.items() if key in own}
        nested: dict[str, dict[str, Any]] = {}
        for key in changes.keys() - own:
            found = [section for section, known in names.items() if key in known]
            if not found:
                allowed = sorted(own.union(*names.values()))
                raise ConfigError(f'unknown field {key!r}, allowed are {allowed}')
            if len(found) > 1:
                raise ConfigError(f'{key}: a field of {found}; give the section, {found[-1]}=…')
            nested.setdefault(found[0], {})[key] = changes[key]
        for section, values in nested.items():
            old = top.get(section, getattr(self, section))
            top[section] = (
                tuple(replace(tower, **values) for tower in old)
                if section == 'vision'
                else replace(old, **values)
            )
        return replace(self, **top)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON; `from_dict` restores an equal configuration."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> VLAAdapterConfig:
        """Build from plain data.

        Raises:
            ConfigError: a key is unknown or a value is not allowed; the message names it.
        """
        data = dict(data)
        if 'vision' in data:
            data['vision'] = tuple(_build(VisionTowerConfig, tower) for tower in data['vision'])
        policy = data.get('policy')
        if isinstance(policy, dict) and (old := policy.get('rope_tables')) is not None:
            renamed = {'rope_precision': 'run' if old == 'dtype' else old}
            data['policy'] = renamed | {k: v for k, v in policy.items() if k != 'rope_tables'}
        for key, kind in (('language', LanguageConfig), ('policy', PolicyConfig)):
            if key in data:
                data[key] = _build(kind, data[key])
        return _build(cls, data)

    @classmethod
    def full(cls, kind: str = 'pro') -> VLAAdapterConfig:
        """Return the released size: 1.25 B VLM parameters and a `pro` or `original` policy."""
        return cls(policy=PolicyConfig(kind=kind))

    @classmethod
    def tiny(cls, **changes: Any) -> VLAAdapterConfig:
        """Return a network of the same structure for tests and CPU training: 96 px, width 128."""
        tower = {'width': 96, 'depth': 4, 'heads': 3, 'mlp_hidden': 384, 'patch': 12}
        tower |= {'image_size': 96, 'position_scale': 0.7}
        base: dict[str, Any] = {
            'vision': (
                VisionTowerConfig(class_token=True, registers=4, layer_scale=True, **tower),
                VisionTowerConfig(**tower),
            ),
            'language': LanguageConfig(
                vocab_size=512, hidden=128, layers=4, heads=4, kv_heads=2, mlp_hidden=384
            ),
            'policy': PolicyConfig(kind='pro', heads=4, rope_precision='float32'),
            'num_queries': 16,
            'proprio_dim': 7,
            'aligned_slices': True,
            'query_scale': 0.7,
        }
        return cls(**(base | changes))


def _build(kind: type, data: Any) -> Any:
    if isinstance(data, kind):
        return data
    known = {item.name for item in fields(kind)}
    unknown = sorted(set(data) - known)
    if unknown:
        raise ConfigError(f'{kind.__name__}: unknown keys {unknown}, allowed are {sorted(known)}')
    try:
        return kind(**data)
    except TypeError as error:
        raise ConfigError(f'{kind.__name__}: {error}') from None
