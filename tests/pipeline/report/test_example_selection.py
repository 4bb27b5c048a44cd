"""Which examples a page shows."""

import numpy as np
import pyarrow as pa

from pipeline.report.example_selection import (
    ANSWERS,
    MOST_MISTAKES,
    MOST_SPECIMENS,
    ShownAnswers,
    mistakes,
    mix_right_and_wrong,
    read_answers,
)
from pipeline.storage.tables import SCHEMAS


def answers(labels, predicted, confidence=None, num_classes=None):
    labels, predicted = np.array(labels), np.array(predicted)
    given = np.full(len(labels), 0.5) if confidence is None else np.array(confidence)
    outputs = np.zeros((len(labels), num_classes or labels.max() + 1), np.float32)
    return ShownAnswers("test", np.arange(len(labels)), labels, predicted, given.astype(np.float32), outputs)


def test_the_most_confident_mistakes_come_first_and_equals_in_the_order_of_the_source():
    found = mistakes(answers([0, 0, 1, 1, 1], [1, 0, 0, 0, 1], [0.7, 0.99, 0.9, 0.7, 1.0]))
    assert found.tolist() == [2, 0, 3]
    assert len(mistakes(answers([1] * 99, [0] * 99))) == MOST_MISTAKES
    assert mistakes(answers([1, 0], [1, 0])).tolist() == []


def test_of_every_class_two_right_ones_and_the_two_worst():
    found = mix_right_and_wrong(answers([0] * 6 + [1], [0, 0, 0, 1, 1, 1, 1], [1, 1, 1, 0.2, 0.9, 0.8, 1]), 784)
    assert found.tolist() == [0, 4, 1, 5, 6]


def test_every_class_has_its_turn_where_there_is_not_room_for_all():
    many = answers(np.repeat(np.arange(60), 4), np.tile([0, 0, 59, 59], 60))
    assert len(set(many.labels[mix_right_and_wrong(many, 784)])) == MOST_SPECIMENS
    few = mix_right_and_wrong(answers([0, 0, 1, 1], [0, 0, 1, 1]), 2**17)
    assert few.tolist() == [0, 2]
    assert len(mix_right_and_wrong(answers([0, 1], [0, 1]), 2**30)) == 1


def test_answers_of_several_shards_are_put_together_in_the_order_of_the_source():
    schema = pa.schema([SCHEMAS["predictions"].field(name) for name in ANSWERS])
    rows = [
        ("test", 2, 1, 0, 0.75, [0.75, 0.25]),
        ("train", 0, 0, 0, 1.0, [1.0, 0.0]),
        ("test", 1, 1, 1, 0.5, [0, 0.5]),
    ]
    shards = [pa.Table.from_pylist([dict(zip(ANSWERS, row, strict=True))], schema) for row in rows]
    found = read_answers(pa.concat_tables(shards), "test")
    split, *columns = vars(found).values()
    assert split == "test"
    assert [column.tolist() for column in columns] == [[1, 2], [1, 1], [1, 0], [0.5, 0.75], [[0, 0.5], [0.75, 0.25]]]
