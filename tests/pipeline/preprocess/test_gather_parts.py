"""Parts of files are brought together on workers that share a disk, and on those that share none."""

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to

from pipeline.preprocess.gather_parts import GatherParts
from pipeline.preprocess.scratch_parts import carry_part, read_part, write_parts
from pipeline.storage.places import RemotePath

PARTS = {"a": [b"a0", b"a1"], "b": [b"b0"]}


def on_disk(folder):
    return [((name, None), write_parts(folder, parts)) for name, parts in PARTS.items() for _ in range(2)]


def carried(_):
    files = [((name, number), carry_part([part])) for name, parts in PARTS.items() for number, part in enumerate(parts)]
    return files + files


@pytest.mark.parametrize("make", [on_disk, carried])
def test_every_part_has_its_files_and_one_without_files_none(make, tmp_path):
    scratch = tmp_path if make is on_disk else RemotePath("gs://bucket/scratch")

    def read(key, files):
        return key, [read_part(file, key[1]) for file in files]

    expected = [(("a", 0), [b"a0"] * 2), (("a", 1), [b"a1"] * 2), (("b", 0), [b"b0"] * 2), (("c", 0), [])]
    with beam.Pipeline("FnApiRunner") as pipeline:
        files = pipeline | beam.Create(make(tmp_path))
        gathered = files | GatherParts({"a": 2, "b": 1, "c": 1}, scratch) | beam.MapTuple(read)
        assert_that(gathered, equal_to(expected))
