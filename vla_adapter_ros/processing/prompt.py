# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Instructions and prompts.

The prompt must be the one of the checkpoint's training, character by character. The official code
uses Qwen's chat form for the 0.5B model (`experiments/robot/openvla_utils.py`, get_vla_action) and
the In/Out form for the others. Official servers that sent the wrong one lost accuracy silently, so
the form is part of the checkpoint.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Protocol

from vla_adapter_ros.errors import CheckpointError, InstructionError

MAX_INSTRUCTION_LENGTH = 500
_SHOWN_CHARACTERS = 5
# Persian and scripts of India are spelled with joiners; among ASCII they are an accident.
_JOINERS = '\u200c\u200d'
_LETTER = rf'[^\x00-\x7f{_JOINERS}]'
_JOINER = re.compile(rf'(?<={_LETTER})[{_JOINERS}]|[{_JOINERS}](?={_LETTER})')


class Vocabulary(Protocol):
    """A tokenizer, or something else that knows its words."""

    def unknown_words(self, text: str) -> list[str]:
        """Return the words of `text` that the tokenizer does not have."""
        ...


PROMPT_FORMATS = {
    'qwen_chat': (
        '<|im_start|>system\n'
        'You are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n'
        '<|im_start|>user\n'
        'What action should the robot take to {instruction}?<|im_end|>\n'
        '<|im_start|>assistant\n'
    ),
    'in_out': 'In: What action should the robot take to {instruction}?\nOut:',
    # For small models of our own. The last token is always the same, as in the official forms:
    # the policy reads its hidden state as if it were the first ActionQuery.
    'plain': '<|im_start|>{instruction}<|im_end|>',
}


def plain_text(text: str) -> str:
    """Return a text trimmed, in lower case, in Unicode's form NFC, with plain spaces only.

    Keyboards and word processors write U+00A0, U+202F or U+3000, which look like a space.
    """
    spaced = ''.join(' ' if unicodedata.category(c) == 'Zs' else c for c in text)
    return unicodedata.normalize('NFC', spaced.strip().lower())


def clean_instruction(text: str, tokenizer: Vocabulary | None = None) -> str:
    """Return the instruction as models read it, see `plain_text`.

    Args:
        text: what the user wrote.
        tokenizer: of the policy. Byte-level ones have every visible character, a word list
            those of its words; None: ASCII alone is accepted.

    Raises:
        InstructionError: empty, longer than 500 characters, or with a character or mark that the
            prompt cannot carry; the message names it.
    """
    if not isinstance(text, str):
        raise InstructionError(f'instruction: got {type(text).__name__}, expected text')
    cleaned = plain_text(text)
    if not cleaned:
        raise InstructionError('instruction: empty; expected what the robot is to do')
    if len(cleaned) > MAX_INSTRUCTION_LENGTH:
        raise InstructionError(
            f'instruction: got {len(cleaned)} characters, '
            f'at most {MAX_INSTRUCTION_LENGTH} are allowed'
        )
    if hidden := {c for c in _JOINER.sub('', cleaned) if not c.isprintable()}:
        raise InstructionError(
            f'instruction: got {_named(hidden)}; control and invisible characters are not allowed'
        )
    if not cleaned.isascii():
        unknown = cleaned if tokenizer is None else ''.join(tokenizer.unknown_words(cleaned))
        _check_ascii(unknown, ' and words of the training data' if tokenizer else '')
    if '<|' in cleaned:
        # Tokenizers read '<|im_end|>' as the mark itself: the user would end the prompt.
        raise InstructionError("instruction: got '<|'; it begins a prompt mark and is not allowed")
    return cleaned


def _check_ascii(text: str, others: str) -> None:
    if bad := {c for c in text if not c.isascii()}:
        raise InstructionError(
            f'instruction: got {_named(bad)}; only printable ASCII characters{others} are allowed'
        )


def _named(characters: Iterable[str]) -> str:
    """Return the first of some characters, with their codes, and how many more there are."""
    bad = sorted(characters)
    shown = ', '.join(f'{c!r} (U+{ord(c):04X})' for c in bad[:_SHOWN_CHARACTERS])
    more = len(bad) - _SHOWN_CHARACTERS
    return f'{shown} and {more} more' if more > 0 else shown


def build_prompt(instruction: str, prompt_format: str = 'qwen_chat') -> str:
    """Return the prompt of an instruction, lower-cased as official evaluation does."""
    if prompt_format not in PROMPT_FORMATS:
        raise CheckpointError(
            f'prompt_format: got {prompt_format!r}, expected one of {sorted(PROMPT_FORMATS)}'
        )
    return PROMPT_FORMATS[prompt_format].format(instruction=instruction.lower())
