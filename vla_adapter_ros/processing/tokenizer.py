# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Text to token ids, from a checkpoint's own files.

Uses the `tokenizers` library alone: it imports in 0.02 s where transformers' AutoTokenizer takes
seconds. Three kinds, one file format (`tokenizer.json`): Qwen's byte-level BPE of the released
checkpoints; for small checkpoints of our own a word list, a few kilobytes in size, or words with
pieces for all others (`processing/subwords.py`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

from vla_adapter_ros.errors import CheckpointError, readable
from vla_adapter_ros.processing import subwords
from vla_adapter_ros.processing.prompt import plain_text
from vla_adapter_ros.processing.spelling import meant, without_ending
from vla_adapter_ros.processing.subwords import WORD_START
from vla_adapter_ros.weights.files import pointer_hint

TOKENIZER_FILE = 'tokenizer.json'
# Words with which the policy was trained, one a line.
TRAINED_WORDS_FILE = 'trained_words.txt'
QWEN_FILES = ('vocab.json', 'merges.txt')
ADDED_FILE = 'added_tokens.json'
UNKNOWN = '<unk>'
PAD = '<pad>'
MARKS = ('<|im_start|>', '<|im_end|>')
QWEN_SPECIAL = ('<|endoftext|>', '<|im_start|>', '<|im_end|>')
QWEN_PAD = '<|endoftext|>'
# Qwen2's splitting of text before byte pairs are merged.
QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|"
    r' ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+'
)
# Start of every new word list, so that a policy trained on few sentences still has distinct (if
# untrained) embeddings for related words.
COMMON_WORDS = (
    'a and arm at away back behind between block blue bottom box brown button carefully centre '
    'circle close closed container cube cup down drawer drop front from gently grasp gray green '
    'grey grip gripper hold home in into it left lift lower middle move near next of off on onto '
    'open orange out over pick pink place plate point position press pull purple push put reach '
    'red release return right robot rotate side slide slowly square stack stay stop table take '
    'tap that the then this to top touch toward towards tray turn under up wait white with yellow '
    'black bin block blocks object objects stack stacked'
)


class Tokenizer:
    """A checkpoint's tokenizer. Build it with `from_directory`, `from_texts` or `subwords`.

    Attributes:
        trained: the words with which its policy was trained; None: not recorded. A word list has
            others beside them.
    """

    def __init__(self, implementation: Any, trained: frozenset[str] | None = None) -> None:
        self._implementation = implementation
        self.trained = trained
        self._unknown_id = _unknown_id(implementation)
        # LLaMA's writes a character that it has no token for in bytes.
        self._has_bytes = bool(getattr(implementation.model, 'byte_fallback', False))

    @staticmethod
    def from_directory(directory: str | Path) -> Tokenizer:
        """Read `tokenizer.json`, or `vocab.json` + `merges.txt` of a Qwen2 tokenizer.

        Raises:
            CheckpointError: neither is there, or they cannot be read.
        """
        import tokenizers

        directory = Path(directory)
        whole = directory / TOKENIZER_FILE
        parts = [directory / name for name in QWEN_FILES]
        try:
            if whole.is_file():
                implementation = tokenizers.Tokenizer.from_file(str(whole))
                return Tokenizer(implementation, _trained_words(directory))
            if all(part.is_file() for part in parts):
                return Tokenizer(_qwen(directory))
        except Exception as error:  # the library raises plain Exception
            files = [whole] if whole.is_file() else [*parts, directory / ADDED_FILE]
            raise _unreadable(files, error) from error
        raise CheckpointError(
            f'{directory}: no tokenizer; expected {TOKENIZER_FILE}, or {" and ".join(QWEN_FILES)}'
        )

    @staticmethod
    def from_texts(texts: Iterable[str] = ()) -> Tokenizer:
        """Make a word-level tokenizer that knows the words of `texts` and some common ones."""
        from tokenizers import AddedToken, Regex, models, normalizers, pre_tokenizers
        from tokenizers import Tokenizer as Implementation

        words = set(split_words(COMMON_WORDS))
        for text in texts:
            words.update(split_words(text))
        vocabulary = {word: i for i, word in enumerate((PAD, UNKNOWN, *MARKS, *sorted(words)))}
        implementation = Implementation(models.WordLevel(vocabulary, unk_token=UNKNOWN))
        implementation.normalizer = normalizers.Lowercase()
        pieces = pre_tokenizers.Split(Regex(WORD.pattern), behavior='removed', invert=True)
        implementation.pre_tokenizer = pieces
        implementation.add_special_tokens(
            [AddedToken(mark, special=True) for mark in (PAD, UNKNOWN, *MARKS)]
        )
        return Tokenizer(implementation)

    @staticmethod
    def subwords(texts: Iterable[str]) -> Tokenizer:
        """Make a tokenizer with a token for each word of `texts`, and pieces for all others."""
        words = sorted({word for text in texts for word in split_words(text)})
        examples = split_words(COMMON_WORDS)
        return Tokenizer(subwords.build((PAD, *MARKS), words, examples, WORD.pattern))

    @property
    def vocab_size(self) -> int:
        """Number of ids, added tokens included."""
        return int(self._implementation.get_vocab_size(with_added_tokens=True))

    @property
    def pad_id(self) -> int:
        """Id for right padding; padded positions are masked and never read."""
        for mark in (QWEN_PAD, PAD):
            if (token := self._implementation.token_to_id(mark)) is not None:
                return int(token)
        return 0

    def encode(self, text: str) -> list[int]:
        """Return the ids of `text`; prompt marks in it are encoded as such.

        LLaMA's tokenizer begins with `<s>`, behind which the visual tokens go; the others add
        nothing.
        """
        with readable('tokenizer', CheckpointError):  # the library raises plain Exception
            return list(self._implementation.encode(text, add_special_tokens=True).ids)

    def unknown_words(self, text: str) -> list[str]:
        """Return the words of `text`, as models read it, that the policy does not know, each once.

        They have no id of their own, or one that training never used. Byte-level tokenizers make
        no difference between words; for them the list is empty.
        """
        unlisted = self.unlisted_words(text)
        if self.trained is None:
            return unlisted
        words = dict.fromkeys(split_words(text))
        return [w for w in words if w in unlisted or w not in self.trained]

    def unlisted_words(self, text: str) -> list[str]:
        """Return the words of `text`, as models read it, that have no id of their own."""
        if self._has_bytes:
            return []
        if self._unknown_id is None:
            known = self.words
            return [w for w in dict.fromkeys(split_words(text)) if known and w not in known]
        text = plain_text(text)
        with readable('tokenizer', CheckpointError):
            encoding = self._implementation.encode(text, add_special_tokens=False)
        pairs = zip(encoding.ids, encoding.offsets, strict=True)
        unknown = [text[a:b] for token, (a, b) in pairs if token == self._unknown_id]
        return list(dict.fromkeys(unknown))

    def read_as(self, text: str) -> dict[str, str]:
        """Return those unknown words of `text` that a word list takes for a known one, and that.

        They are known words with an ending or, if unlisted, with one slip of the keyboard
        (`spelling.py`).
        """
        return {word: known for word, known in self._readings(text).items() if known != UNKNOWN}

    def as_known(self, text: str) -> str:
        """Return `text` as a word list reads it, without the words that training had not.

        Those of `read_as` are replaced. A listed word is otherwise the unknown one: policies learn
        to pass over that, but nothing ever gave the listed word's own embedding a meaning.
        """
        read = self._readings(text)
        return WORD.sub(lambda match: read.get(match[0], match[0]), text) if read else text

    def _readings(self, text: str) -> dict[str, str]:
        """Return what a word list reads unknown words of `text` as: a known one, or UNKNOWN.

        Unlisted words without a meaning are left out: their id is that of UNKNOWN anyway.
        """
        if self._unknown_id is None:
            return {}
        listed, known, read = self.words, self.known_words, {}
        for word in self.unknown_words(text):
            # A listed word is what somebody writes: "black" is no slip of "block".
            meaning = (without_ending if word in listed else meant)(word, listed)
            if meaning in known:
                read[word] = meaning
            elif word in listed:
                read[word] = UNKNOWN
        return read

    @cached_property
    def words(self) -> frozenset[str]:
        """The words with an id of their own; empty for byte-level tokenizers."""
        if self._has_bytes:
            return frozenset()
        tokens = self._implementation.get_vocab()
        if self._unknown_id is not None:
            return frozenset(tokens)
        return frozenset(t[len(WORD_START) :] for t in tokens if t.startswith(WORD_START)) - {''}

    @property
    def known_words(self) -> frozenset[str]:
        """The words that the policy knows; empty for byte-level tokenizers."""
        return self.words if self.trained is None else self.words & self.trained

    @property
    def pieces(self) -> tuple[int, int]:
        """Ids (first, end) of the pieces of words that have none; (0, 0) without pieces."""
        if not self.spellings:
            return 0, 0
        return self._implementation.token_to_id(WORD_START) + 1, min(self.spellings)

    @cached_property
    def spellings(self) -> dict[int, list[int]]:
        """Ids that words with an id would have without it, by that id; empty without pieces."""
        spelled = self._unknown_id is None and self.words
        return subwords.spellings(self._implementation) if spelled else {}

    def with_words(self, texts: Iterable[str]) -> Tokenizer:
        """Return a tokenizer that also has the words of `texts`; ids so far stay as they are.

        Byte-level tokenizers encode every text and are returned as they are.
        """
        if not self.words:
            return self
        import tokenizers

        data = json.loads(self._implementation.to_str())
        vocabulary = data['model']['vocab']
        found = {word for text in texts for word in self.unlisted_words(text)}
        start = WORD_START if self._unknown_id is None else ''
        vocabulary |= {start + word: self.vocab_size + i for i, word in enumerate(sorted(found))}
        return Tokenizer(tokenizers.Tokenizer.from_str(json.dumps(data)), self.trained)

    def trained_on(self, texts: Iterable[str], anew: bool) -> Tokenizer:
        """Return a tokenizer that knows the words of `texts`, those of a training.

        Only a word list has others beside them, and keeps a record.

        Args:
            texts: the instructions.
            anew: whether the policy had no training before; where that was not recorded, all
                listed words go on being taken for known.
        """
        before = frozenset() if anew else self.trained
        if before is None or self._unknown_id is None or self._has_bytes:
            return self
        words = {word for text in texts for word in split_words(text)}
        return Tokenizer(self._implementation, before | words)

    def save(self, directory: str | Path) -> Path:
        """Write `tokenizer.json`, and which words had training; returns the path of the first."""
        path = Path(directory) / TOKENIZER_FILE
        self._implementation.save(str(path))
        trained = path.with_name(TRAINED_WORDS_FILE)
        if self.trained is None:
            trained.unlink(missing_ok=True)
        else:
            trained.write_text(''.join(f'{w}\n' for w in sorted(self.trained)), encoding='utf-8')
        return path


# Words, or single marks of punctuation.
WORD = re.compile(r"[A-Za-z0-9_']+|[^\sA-Za-z0-9_']")


def split_words(text: str) -> list[str]:
    """Return words and punctuation marks of an instruction as models read it, for word lists."""
    return WORD.findall(plain_text(text))


def _trained_words(directory: Path) -> frozenset[str] | None:
    file = directory / TRAINED_WORDS_FILE
    return frozenset(file.read_text(encoding='utf-8').split()) if file.is_file() else None


def _unknown_id(implementation: Any) -> int | None:
    token = getattr(implementation.model, 'unk_token', None)
    return None if token is None else implementation.token_to_id(token)


def _unreadable(files: list[Path], error: Exception) -> CheckpointError:
    """Return the error that names the file of several that was not fetched, or all."""
    for file in files:
        if hint := pointer_hint(file):
            return CheckpointError(f'{file}: unreadable tokenizer{hint}')
    names = ', '.join(file.name for file in files if file.is_file())
    reason = ' '.join(str(error).split())
    return CheckpointError(f'{files[0].parent}: unreadable tokenizer ({names}): {reason}')


def _qwen(directory: Path) -> Any:
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers
    from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split

    model = models.BPE.from_file(*(str(directory / name) for name in QWEN_FILES))
    implementation = Tokenizer(model)
    implementation.normalizer = normalizers.NFC()
    implementation.pre_tokenizer = Sequence(
        [
            Split(Regex(QWEN_SPLIT), behavior='isolated'),
            ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    implementation.decoder = decoders.ByteLevel()
    for content in _added_tokens(directory):
        implementation.add_special_tokens([AddedToken(content, special=True)])
    return implementation


def _added_tokens(directory: Path) -> list[str]:
    """Return the added tokens in id order; ids are given in order after the vocabulary."""
    file = directory / ADDED_FILE
    if not file.is_file():
        return list(QWEN_SPECIAL)
    ids: dict[str, int] = json.loads(file.read_text())
    return sorted(ids, key=lambda token: ids[token])
