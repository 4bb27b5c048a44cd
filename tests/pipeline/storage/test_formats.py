"""Records of earlier format versions are read; those of later ones are refused, not called corrupt."""

import json
from typing import ClassVar, Literal

import pytest
from pydantic import Field

from model.errors import CorruptArtefact, UnknownFormat
from pipeline.storage.files import digest_of
from pipeline.storage.formats import VersionedRecord
from pipeline.storage.records import Digest, seal


class Fruit(VersionedRecord):
    EARLIER: ClassVar = {
        1: lambda content: {"name": content["title"]},
        2: lambda content: content | {"colour": "green"},
    }
    format_version: Literal[3] = 3
    name: str
    colour: str
    as_written: Digest | None = Field(None, exclude_if=lambda digest: digest is None)


def test_a_record_is_upgraded_one_version_at_a_time_and_keeps_its_digest(tmp_path):
    data = seal({"format_version": 1, "title": "pear"})
    fruit = Fruit.from_json(data, tmp_path / "x")
    assert fruit == Fruit(name="pear", colour="green", as_written=digest_of(data))
    assert Fruit.from_json(fruit.to_json(), tmp_path / "x") == fruit


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"format_version": 4, "versions": {"backbeam": "9.1"}},
            "x is sound, and of format version 4, written by backbeam 9.1; this backbeam reads versions 1 to 3: update",
        ),
        ({"format_version": 4, "versions": None}, "of format version 4; this backbeam reads"),
        ({"format_version": 0}, "of format version 0; .* it is read by the version of backbeam that wrote it"),
        (
            {"format_version": 3, "name": "pear", "colour": "green", "taste": 1},
            "x is sound, and has the field taste, which this backbeam does not know: update backbeam",
        ),
    ],
)
def test_a_sound_record_of_another_version_is_not_corrupt(content, message, tmp_path):
    with pytest.raises(UnknownFormat, match=message):
        Fruit.from_json(seal(content), tmp_path / "x")


@pytest.mark.parametrize("version", [1, 4, 0])
def test_a_damaged_version_is_corrupt(version, tmp_path):
    data = Fruit(name="pear", colour="green").to_json().replace(b'version": 3', f'version": {version}'.encode())
    with pytest.raises(CorruptArtefact, match="its content does not match its digest"):
        Fruit.from_json(data, tmp_path / "x")


@pytest.mark.parametrize("version", ["3", 3.5, True, None, [3]])
def test_a_version_that_is_no_number_is_corrupt(version, tmp_path):
    content = json.loads(Fruit(name="pear", colour="green").to_json()) | {"format_version": version}
    with pytest.raises(CorruptArtefact, match="format_version"):
        Fruit.from_json(json.dumps(content).encode(), tmp_path / "x")
