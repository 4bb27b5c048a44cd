"""The manifest, which lists all files of a data set. It is written last: a data set with a manifest is complete."""

import hashlib
import json
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from model.errors import BadInput, BadUsage
from pipeline.sources.blocks import SourceInfo
from pipeline.sources.catalog import MAX_SHARDS
from pipeline.sources.idx_format import MAX_EXAMPLE_BYTES
from pipeline.sources.picture_style import MIDDLE, PictureStyle
from pipeline.storage.files import MAX_RECORD_BYTES
from pipeline.storage.formats import VersionedRecord
from pipeline.storage.places import Place
from pipeline.storage.records import Count, Digest, FileInfo, FileName, Record, commit_file

MANIFEST_NAME = "manifest.json"


class ShardInfo(FileInfo):
    """A shard and the totals of its examples."""

    crc32c: Count
    num_examples: Count
    class_counts: tuple[Count, ...]
    pixel_sum: Count  # of all pixel values (0 to 255)
    pixel_square_sum: Count
    part: Count | None = Field(None, exclude_if=lambda part: part is None)  # in a joint data set, number of its part


class SplitInfo(Record):
    """A split."""

    num_examples: Count
    class_counts: tuple[Count, ...]
    pixel_mean: float  # of the pixel values (0 to 255); 0 for a split without examples
    pixel_std: float  # population standard deviation of the pixel values
    shards: tuple[ShardInfo, ...]


class RejectedCounts(Record):
    """The rejected examples of a split, and those of them that have the label of a class, by class."""

    num_examples: Count = 0
    class_counts: tuple[Count, ...] = ()


class PreprocessConfig(Record):
    """What determines a data set's bytes besides its sources: the seed of the order, and the number of train shards."""

    seed: Annotated[int, Field(ge=0, lt=2**63)]
    num_shards: Annotated[int, Field(gt=0, le=MAX_SHARDS)]


class PartInfo(Record):
    """A part of a joint data set, which is a complete data set itself."""

    dataset_id: FileName  # name of its folder, which is beside that of the joint data set
    dataset_digest: Digest  # of its manifest
    num_source: dict[str, Count]  # examples in each split of its source, rejected ones included


class Manifest(VersionedRecord):
    """A data set: either a folder of shards, or a joint data set, which lists the shards of its parts.

    The examples of a joint data set are numbered consecutively across its parts: see `offset`.
    """

    format_version: Literal[1] = 1  # of the manifest and the shards
    name: FileName
    height: Annotated[int, Field(gt=0)]
    width: Annotated[int, Field(gt=0)]
    class_names: tuple[str, ...] = Field(min_length=1)  # in the order of the labels
    config: PreprocessConfig
    sources: tuple[SourceInfo, ...]
    splits: dict[str, SplitInfo]
    num_rejected: Count
    rejected: FileInfo | None  # table of rejected examples, if any; the parts of a joint data set have one each
    parts: tuple[PartInfo, ...] = Field((), exclude_if=lambda parts: not parts)  # of a joint data set, in order
    # of the splits that have any; earlier versions did not record them
    rejected_counts: dict[str, RejectedCounts] = Field({}, exclude_if=lambda counts: not counts)
    # None where it is `_guess_style`, so that the manifests of such data sets are those that earlier versions wrote
    pictures: PictureStyle | None = Field(None, exclude_if=lambda pictures: pictures is None)

    # SHA-256 of the file as an earlier version of the format wrote it, by which other records name it
    as_written: Digest | None = Field(None, exclude_if=lambda digest: digest is None)

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        if self.num_pixels > MAX_EXAMPLE_BYTES:
            raise ValueError(f"images of {self.num_pixels} pixels, at most {MAX_EXAMPLE_BYTES}")
        for name, split in self.splits.items():
            if split.num_examples != sum(shard.num_examples for shard in split.shards):
                raise ValueError(f"the shards of {name} do not add up to its num_examples")
            counts = [split.class_counts, *(shard.class_counts for shard in split.shards)]
            if any(len(class_counts) != len(self.class_names) for class_counts in counts):
                raise ValueError(f"{name} counts other classes than class_names")
            if not all(self._has_part(shard.part, name) for shard in split.shards):
                raise ValueError(f"a shard of {name} is of no part")
        return self

    def _has_part(self, part: int | None, split: str) -> bool:
        if part is None:
            return not self.parts
        return part < len(self.parts) and all(split in earlier.num_source for earlier in self.parts[:part])

    @property
    def num_pixels(self) -> int:
        """Pixels of an image."""
        return self.height * self.width

    @property
    def dataset_id(self) -> str:
        """Name of the folder: the data set's name and twelve hexadecimal digits of its identity."""
        if self.parts:
            parts = [[part.dataset_id, part.dataset_digest] for part in self.parts]
            return _append_digest(self.name, ["joint", 1, parts])
        return dataset_id(self.name, self.class_names, self.config, self.sources)

    def num_rejected_of(self, split: str) -> int | None:
        """Return the rejected examples of a split; None if an earlier version recorded only those of all splits."""
        if self.rejected_counts or not self.num_rejected:
            return self.rejected_counts.get(split, RejectedCounts()).num_examples
        return None

    @property
    def style(self) -> PictureStyle:
        """The style of the pictures; a guess if the manifest is of an earlier version, which recorded none."""
        return self.pictures or self._guess_style()

    def with_style(self, style: PictureStyle) -> "Manifest":
        """Return the manifest of pictures of a style."""
        return self.model_copy(update={"pictures": None if style == self._guess_style() else style})

    def _guess_style(self) -> PictureStyle:
        is_light = "train" in self.splits and self.splits["train"].pixel_mean >= MIDDLE
        return PictureStyle(background="light" if is_light else "dark")

    def find_split(self, name: str) -> SplitInfo:
        """Return the record of a split; raises BadUsage if there is none of that name."""
        if name not in self.splits:
            raise BadUsage(f"{self.dataset_id} has no split {name!r}; there are: {', '.join(self.splits)}")
        return self.splits[name]

    def id_of(self, shard: ShardInfo) -> str:
        """Return the id of the data set whose folder holds a shard: this one or a part."""
        return self.dataset_id if shard.part is None else self.parts[shard.part].dataset_id

    def offset(self, split: str, shard: ShardInfo) -> int:
        """Return the number to add to the indices in a shard: the source examples of all earlier parts."""
        return sum(part.num_source[split] for part in self.parts[: shard.part or 0])

    def without_shards(self) -> "Manifest":
        """Return the manifest without its shards, which may take megabytes: workers get theirs one by one."""
        splits = {name: split.model_copy(update={"shards": ()}) for name, split in self.splits.items()}
        return self.model_copy(update={"splits": splits})

    def files(self) -> list[FileInfo]:
        """Return every file that the manifest names."""
        shards: list[FileInfo] = [shard for split in self.splits.values() for shard in split.shards]
        return shards + ([self.rejected] if self.rejected else [])


def count_rejected(counts: dict[tuple[str, int | None], int], num_classes: int) -> dict[str, RejectedCounts]:
    """Return the counts of each split with rejected examples, from their number by split and label."""
    return {
        split: RejectedCounts(
            num_examples=sum(count for (name, _), count in counts.items() if name == split),
            class_counts=tuple(counts.get((split, label), 0) for label in range(num_classes)),
        )
        for split in sorted({name for name, _ in counts})
    }


def dataset_id(
    name: str, class_names: tuple[str, ...], config: PreprocessConfig, sources: tuple[SourceInfo, ...]
) -> str:
    """Return the id of a data set, a function of everything that determines its bytes; known before it is built."""
    digests = [source.sha256 for source in sources]
    # Any change here gives every data set another id, so that it is built again; 1 is the version of the format.
    identity = [1, list(class_names), config.model_dump(), digests]
    return _append_digest(name, identity)


def _append_digest(name: str, identity: list[object]) -> str:
    return f"{name}-{hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]}"


def commit_manifest(folder: Place, manifest: Manifest) -> None:
    """Write a data set's manifest; raises BadInput if it is too large to be read, and what `commit_file` raises."""
    data = manifest.to_json()
    if len(data) > MAX_RECORD_BYTES:
        raise BadInput(f"the manifest would have {len(data)} bytes, at most {MAX_RECORD_BYTES}: lower --num-shards")
    commit_file(folder / MANIFEST_NAME, data)
