# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What users say becomes the right goal, or a refusal that says what the scene can do."""

import numpy as np
import pytest

from vla_adapter_ros.errors import InstructionError
from vla_adapter_ros.simulation.goals import Move, Place, PutIn, Reach, Sequence, Stack
from vla_adapter_ros.simulation.instructions import parse_instruction
from vla_adapter_ros.simulation.wordings import (
    HELD_OUT,
    MISSPELLED,
    TEMPLATES,
    TRAINED,
    VARIED,
    VARIED_TEMPLATES,
    WORDS,
    describe,
)

TABLE = ('red block', 'blue block', 'green cylinder', 'plate')

GOALS = (
    Reach('green cylinder'),
    Move('blue block', 'left'),
    Move('red block', 'right'),
    Place('green cylinder'),
    Stack('red block', 'blue block'),
    Sequence((Place('red block'), Place('blue block'))),
    Sequence((Place('red block'), Stack('green cylinder', 'red block'), Reach('blue block'))),
)


@pytest.mark.parametrize('words', WORDS)
@pytest.mark.parametrize('goal', GOALS, ids=str)
def test_every_wording_of_a_goal_is_understood_as_that_goal(goal, words):
    rng = np.random.default_rng(0)
    seen = {describe(goal, None, words)} | {describe(goal, rng, words) for _ in range(60)}
    assert len(seen) >= 3
    for text in seen:
        assert parse_instruction(text, TABLE) == goal, text


def sentences(words):
    rng = np.random.default_rng(1)
    return {describe(goal, rng, words) for goal in GOALS for _ in range(1500)}


def test_held_out_sentences_are_new_and_of_known_words():
    trained, held_out = sentences(VARIED), sentences(HELD_OUT)
    assert not trained & held_out
    known = {word.strip(',') for text in trained for word in text.split()}
    assert {word.strip(',') for text in held_out for word in text.split()} <= known


@pytest.mark.parametrize(
    'text',
    [
        'After putting the red block on the plate, put the blue cube on the dish.',
        'put the blue block on the plate after putting the red block on the plate',
        'Before placing the blue block on the plate, could you place the red box on the plate?',
        'first put the red block on the plate, then put the blue block on the plate, please',
        'Robot, put the red block on the plate, then the blue block',
        'kindly lay the red brick and then the blue cube on the saucer',
        'place the red block on the plate followed by the blue block for me',
        'after putting the red block on the plate, put the blue block',
        'after putting the red block on the plate put the blue block on the plate',
        'After you put the red block on the plate, put the blue one there too, thanks!',
        'once the red block is on the plate, put the blue block on the plate',
        'put the blue block on the plate once the red block is on the plate',
        'put the red block on the plate before you put the blue block on the plate',
        'before you put the blue block on the plate put the red block on the plate',
        'put the red block on the plate and put the blue block on the plate',
        'put the red block and the blue block on the plate',
        'put the red block on the plate and the blue block on the plate',
        'put the red block on the plate, next put the blue block on the plate',
        'pick up the red block and place it on the plate and put the blue block there',
        "I'd like you to place the red block on the plate, and after that the blue one",
        'would you mind putting the red block on the plate, then the blue block?',
        'after taking the red block and putting it on the plate, take the blue block and put it '
        'on the plate',
        'after you take the red block and put it on the plate, put the blue block on the plate',
    ],
)
def test_two_clauses_are_understood_in_the_order_of_the_acts(text):
    assert parse_instruction(text, TABLE) == GOALS[5]


def test_the_place_of_two_things_may_be_a_bowl():
    table = ('yellow spoon', 'red duck', 'blue bowl')
    goal = Sequence((PutIn('yellow spoon', 'blue bowl'), PutIn('red duck', 'blue bowl')))
    for text in (
        'put the spoon in the bowl and then the red duck',
        'after dropping the spoon into the bowl, drop the duck there',
        'put the spoon and the duck in the blue bowl',
    ):
        assert parse_instruction(text, table) == goal, text


def test_misspelled_sentences_are_the_trained_ones_with_one_word_mistyped():
    trained, mistyped = sentences(TRAINED), sentences(MISSPELLED)
    known = {word.strip(',') for text in trained for word in text.split()}
    assert len(mistyped) > 10 * len(trained)
    changed = 0
    for text in mistyped:
        odd = [word for word in text.split() if word.strip(',') not in known]
        changed += len(odd)
        assert len(odd) <= 1, text  # an error may make another known word: "the", "then"
    assert changed > 0.9 * len(mistyped)


@pytest.mark.parametrize(
    ('text', 'goal'),
    [
        ('Put the red blcok on the plaate', Place('red block')),
        ('puts the green cylindr on the plate', Place('green cylinder')),
        ('stakc the red cubes on the bluue block', Stack('red block', 'blue block')),
        ('aftr putting the red block on the plate, put the blue block on the plate', GOALS[5]),
    ],
)
def test_a_mistyped_word_is_understood_as_a_policy_reads_it(text, goal):
    assert parse_instruction(text, TABLE) == goal


def test_what_is_no_slip_is_refused_in_the_words_that_were_said():
    with pytest.raises(InstructionError, match="'put the red clock on the Plate'.*what is"):
        parse_instruction('put the red clock on the Plate', TABLE)


def test_every_template_is_used():
    rng = np.random.default_rng(0)
    for kind, goal in ((Reach, GOALS[0]), (Move, GOALS[1]), (Place, GOALS[3]), (Stack, GOALS[4])):
        assert len({describe(goal, rng) for _ in range(200)}) == len(TEMPLATES[kind])
        varied = {describe(goal, rng, VARIED) for _ in range(1000)}
        further = {template.format(**vars(goal)) for template in VARIED_TEMPLATES[kind]}
        assert further <= varied


@pytest.mark.parametrize(
    ('text', 'goal'),
    [
        ('Move the BLUE block to the left.', Move('blue block', 'left')),
        ('  push   blue block left ', Move('blue block', 'left')),
        ('reach for the green one', Reach('green cylinder')),
        ('touch the cylinder', Reach('green cylinder')),
        ('put the red cube on the dish', Place('red block')),
        ('gently put the red cube on the saucer, robot', Place('red block')),
        ('grab the red box and put it onto the blue cube', Stack('red block', 'blue block')),
        ('move the red block to the plate', Place('red block')),
        ('move the red block to the left side', Move('red block', 'left')),
        ('Would you mind touching the green cylinder?', Reach('green cylinder')),
        (
            'Put the red block on the plate, then stack the blue block on the red block!',
            Sequence((Place('red block'), Stack('blue block', 'red block'))),
        ),
    ],
)
def test_free_wordings_are_understood(text, goal):
    assert parse_instruction(text, TABLE) == goal


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        ('make me a coffee', 'is not understood'),
        ('', 'is empty'),
        ('then', 'is not understood'),
        ('reach the purple block', "what is 'purple block'?"),
        ('reach the yellow block', 'there is no yellow block'),
        ('reach the block', 'which block is meant?'),
        ('move the plate to the left', 'the plate is fixed'),
        ('stack the red block on the red block', 'cannot be put on itself'),
        ('move the red block up', 'is not understood'),
        ('x' * 10_000, 'is not understood'),
    ],
)
def test_what_the_scene_cannot_do_is_refused_with_what_it_can(text, reason):
    with pytest.raises(InstructionError) as error:
        parse_instruction(text, TABLE)
    message = str(error.value)
    assert reason in message and '\n' not in message
    if 'itself' not in reason:
        assert 'on the table: red block, blue block, green cylinder, plate' in message


def test_without_a_plate_nothing_can_be_put_on_it():
    with pytest.raises(InstructionError, match='there is no plate') as error:
        parse_instruction('put the red block on the plate', TABLE[:3])
    assert 'put the X on the plate' not in str(error.value)
