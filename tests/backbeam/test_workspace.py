"""Data sets and runs of a workspace as objects."""

import numpy as np
import pyarrow.parquet as pq
import pytest

import backbeam
from backbeam.results import ClassifiedImages
from tests.helpers import Digits

ID = "article-manual-seed1"


def test_datasets_are_read_as_arrays(seeds_run):
    data = backbeam.open_workspace(seeds_run).dataset("digits")
    for number, split in enumerate(("train", "test")):
        expected = Digits().split(number, 20 if number else 60)
        images, labels = data.to_numpy(split)
        np.testing.assert_array_equal(images, expected[0])
        np.testing.assert_array_equal(labels, expected[1])
    with pytest.raises(backbeam.BadUsage, match="no split 'tets'; there are: test, train"):
        data.to_numpy("tets")


def test_tf_dataset_has_every_example_once_in_an_order_of_the_seed(seeds_run):
    data = backbeam.open_workspace(seeds_run).dataset()
    images = data.to_numpy("train")[0]

    def read(dataset):
        batches = list(dataset.as_numpy_iterator())
        return np.concatenate([images for images, _ in batches]), np.concatenate([labels for _, labels in batches])

    batched = data.to_tf("train", batch_size=25, seed=1)
    assert [len(batch) for _, batch in batched.as_numpy_iterator()] == [25, 25, 10]
    assert len(batched) == 3
    second = read(batched)  # its second pass
    again = data.to_tf("train", batch_size=60, seed=1)
    first = read(again)
    np.testing.assert_array_equal(read(again)[0], second[0])
    assert not np.array_equal(first[0], second[0])
    for found in (first, second):
        assert sorted(image.tobytes() for image in found[0]) == sorted(image.tobytes() for image in images)
    single = [int(label) for _, label in data.to_tf("test")]
    assert sorted(single) == sorted(data.to_numpy("test")[1].tolist())


def test_predictions_are_those_of_the_table(seeds_run):
    opened = backbeam.open_workspace(seeds_run)
    assert len(opened.runs()) == 3
    run = opened.run(ID)
    images, _ = opened.dataset().to_numpy("test")
    found = run.predict(images)
    assert isinstance(found, ClassifiedImages)
    rows = run.tables["predictions"].to_pylist()
    rows = sorted((row for row in rows if row["split"] == "test"), key=lambda row: row["index"])
    assert found.labels.tolist() == [row["predicted"] for row in rows]
    np.testing.assert_allclose(found.probabilities, [row["probabilities"] for row in rows], rtol=1e-5)
    for wrong in (images.astype(float), images[0], images[:, 1:]):
        with pytest.raises(backbeam.BadInput, match=r"expected uint8\[n, 5, 4\]"):
            run.predict(wrong)


def test_run_has_its_record_parameters_and_tables(seeds_run):
    run = backbeam.open_workspace(seeds_run).run(ID)
    assert repr(run) == f"<run {run.run_id}>"
    assert [layer.weights.shape for layer in run.parameters()] == [(30, 20), (3, 30)]
    assert {"confusion", "learning_curve", "evaluations"} <= set(run.tables)
    assert len(run.tables) == len(list(run.tables)) == len(set(run.tables))
    assert "seeds" not in run.tables
    assert run.tables.get("seeds") is None
    file = next(seeds_run.glob(f"reports/confusion/run={run.run_id}/*.parquet"))
    assert run.tables["confusion"].equals(pq.ParquetFile(file).read())
    with pytest.raises(backbeam.BadUsage, match="no such table"):
        run.tables["confusoin"]
    assert [data.dataset_id for data in backbeam.open_workspace(seeds_run).datasets()] == [run.record.dataset_id]
