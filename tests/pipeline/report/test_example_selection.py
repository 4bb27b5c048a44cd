"""The selection of the examples that a page shows."""

import numpy as np
import pyarrow as pa

from pipeline.report.example_selection import (
    ANSWERS,
    MAX_MISTAKES,
    MAX_MIXED,
    ShownAnswers,
    read_answers,
    select_mistakes,
    select_mixed,
)
from pipeline.storage.tables import SCHEMAS


def answers(labels, predicted, confidence=None, num_classes=None):
    labels = np.array(labels)
    confidence = np.full(len(labels), 0.5) if confidence is None else np.array(confidence)
    outputs = np.zeros((len(labels), num_classes or labels.max() + 1), np.float32)
    indices = np.arange(len(labels))
    return ShownAnswers("test", indices, labels, np.array(predicted), confidence.astype(np.float32), outputs)


def test_mistakes_are_sorted_by_confidence_and_then_by_their_order_in_the_source():
    found = select_mistakes(answers([0, 0, 1, 1, 1], [1, 0, 0, 0, 1], [0.7, 0.99, 0.9, 0.7, 1.0]))
    assert found.tolist() == [2, 0, 3]
    assert len(select_mistakes(answers([1] * 99, [0] * 99))) == MAX_MISTAKES
    assert select_mistakes(answers([1, 0], [1, 0])).tolist() == []


def test_a_mix_has_two_right_answers_and_the_two_worst_mistakes_of_every_class():
    found = select_mixed(answers([0] * 6 + [1], [0, 0, 0, 1, 1, 1, 1], [1, 1, 1, 0.2, 0.9, 0.8, 1]), 784)
    assert found.tolist() == [0, 4, 1, 5, 6]


def test_a_limited_mix_has_examples_of_as_many_classes_as_possible():
    many = answers(np.repeat(np.arange(60), 4), np.tile([0, 0, 59, 59], 60))
    assert len(set(many.labels[select_mixed(many, 784)])) == MAX_MIXED
    few = select_mixed(answers([0, 0, 1, 1], [0, 0, 1, 1]), 2**17)
    assert few.tolist() == [0, 2]
    assert len(select_mixed(answers([0, 1], [0, 1]), 2**30)) == 1


def test_answers_of_several_files_are_sorted_by_their_order_in_the_source():
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
