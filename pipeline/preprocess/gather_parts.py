"""A transform that brings the parts of scratch files together: see `scratch_parts`."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import apache_beam as beam

from pipeline.preprocess.scratch_parts import PartsFile, read_index, write_index
from pipeline.processes import SameCode
from pipeline.storage.places import Place

PartKey: TypeAlias = tuple[str, int | None]  # files that belong together, and the number of a part, None for all parts


@dataclass(eq=False)
class GatherParts(beam.PTransform):  # type: ignore[misc]
    """Give each part the list of the files that have it: (PartKey, PartsFile) -> ((name, part), [PartsFile]).

    A file is in the scratch folder and has all parts of its name; or, if that folder is in a store, the file is carried
    and has one part. A part without files has an empty list. The engine shuffles one element for each file, not one for
    each file and part: an engine that shuffles in memory holds them all.
    """

    num_parts: dict[str, int]  # by name
    scratch: Place

    def expand(self, files: "beam.PCollection[tuple[PartKey, PartsFile]]") -> "beam.PCollection":
        """Apply the transforms."""
        carried = not isinstance(self.scratch, Path)
        keys = [
            (name, part) for name, count in self.num_parts.items() for part in (range(count) if carried else [None])
        ]
        every_key = files.pipeline | "EveryPart" >> beam.Create([(key, None) for key in keys])
        gathered = (files, every_key) | "AddEveryPart" >> beam.Flatten() | "GroupFiles" >> beam.GroupByKey()
        if carried:
            return gathered | "ListFiles" >> beam.MapTuple(SameCode(list_files))
        return (
            gathered  # ((name, None), PartsFile or None)
            | "WriteIndex" >> beam.FlatMapTuple(SameCode(index_files, self.num_parts, self.scratch))
            | "SpreadParts" >> beam.Reshuffle()  # ((name, part), index)
            | "ReadIndex" >> beam.MapTuple(SameCode(read_files))
        )


def list_files(key: PartKey, files: Iterable[PartsFile | None]) -> tuple[PartKey, list[PartsFile]]:
    """List the files of a part."""
    return key, [file for file in files if file is not None]


def index_files(
    num_parts: dict[str, int], scratch: Path, key: PartKey, files: Iterable[PartsFile | None]
) -> Iterator[tuple[PartKey, PartsFile]]:
    """Write an index of the files of a name, and yield it for each of its parts."""
    name, _ = key
    index = write_index(scratch, list_files(key, files)[1])
    for part in range(num_parts[name]):
        yield (name, part), index


def read_files(key: PartKey, index: PartsFile) -> tuple[PartKey, list[PartsFile]]:
    """Read the index of the files of a part; raises CorruptArtefact."""
    return key, read_index(index)
