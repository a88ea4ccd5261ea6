# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Other ways to say the instructions of demonstrations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from vla_adapter_ros.errors import ConfigError, readable
from vla_adapter_ros.plain_yaml import parse_yaml

_EXPECTED = 'expected a list of lists, each with two or more sentences that ask for the same'


class Paraphrases:
    """Groups of sentences that ask for the same.

    In a YAML file:

        - [put the cup on the plate, place the mug on the dish]
        - [open the drawer, pull the drawer open, please open the drawer]

    Args:
        groups: the sentences.
        where: the file, for error messages.

    Raises:
        ConfigError: a group is not one, or a sentence is in two.
    """

    def __init__(self, groups: Sequence[Sequence[str]], where: str = 'paraphrases') -> None:
        self._where = where
        self._groups: dict[str, Sequence[str]] = {}
        if not isinstance(groups, (list, tuple)):
            raise ConfigError(f'{where}: got a {type(groups).__name__}, {_EXPECTED}')
        for number, group in enumerate(groups, 1):
            self._add(group, f'{where}: group {number}')

    def _add(self, group: Sequence[str], where: str) -> None:
        good = isinstance(group, (list, tuple)) and len(group) > 1
        if not good or not all(isinstance(text, str) and text.strip() for text in group):
            raise ConfigError(f'{where}: got {str(group)[:80]!r}, {_EXPECTED}')
        sentences = list(dict.fromkeys(group))
        for text in sentences:
            if text in self._groups:
                raise ConfigError(f'{where}: {text!r} is in another group, too')
            self._groups[text] = sentences

    @classmethod
    def load(cls, path: str | Path) -> Paraphrases:
        """Read a file.

        Raises:
            ConfigError: it is missing, not YAML, or not groups of sentences.
        """
        where = f'data.paraphrases {path}'
        with readable(where, ConfigError):
            return cls(parse_yaml(Path(path).read_text(encoding='utf-8')), where)

    def another(self, text: str, place: float) -> str:
        """Return the sentence at a place of the text's group; of a text in none: itself.

        Args:
            text: an instruction.
            place: in [0, 1), 0 for the first sentence; drawn evenly, each comes equally often.
        """
        group = self._groups.get(text, [text])
        return group[int(place * len(group))]

    def all_of(self, texts: Iterable[str]) -> list[str]:
        """Return texts and what may take their place, sorted.

        Raises:
            ConfigError: no text is in a group.
        """
        texts = list(texts)
        if not any(text in self._groups for text in texts):
            raise ConfigError(
                f'{self._where}: no instruction of the data is in it, e.g. {texts[0]!r}; a group '
                'must have the instruction word for word'
            )
        return sorted({other for text in texts for other in self._groups.get(text, [text])})
