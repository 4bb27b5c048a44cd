"""Looking at a data set: its statistics, and contact sheets of its examples."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from model.errors import BadUsage
from model.examples import Bytes, Examples
from pipeline.preprocess.dataset import Dataset
from pipeline.preprocess.manifest import MANIFEST_NAME, Manifest, SplitInfo, load_manifest
from pipeline.preprocess.shards import read_shard
from pipeline.preprocess.validation_config import ValidationRecord, check_validation, is_validated
from pipeline.report.contact_sheet import SheetRow, Tile, draw_classes, draw_named
from pipeline.storage.files import write_without_lock
from pipeline.storage.places import Place
from pipeline.storage.workspace import find_complete

if TYPE_CHECKING:
    pass  # NumPy and Pillow are not needed by every command


CLASSES_NAME = "classes.png"
EXAMPLES_NAME = "examples.png"
MOST_NAMED = 1000  # examples on one sheet


@dataclass(frozen=True)
class NamedExample:
    """An example asked for by name.

    Attributes:
        split: its split.
        index: its position in the source.
        label: its class.
        image: uint8[height, width].
    """

    split: str
    index: int
    label: int
    image: Bytes


def check_split(option: str, split: str, manifest: Manifest) -> None:
    """Check that there is such a split; raises BadUsage, which names the option, if not."""
    if split not in manifest.splits:
        raise BadUsage(
            f"{option}: {manifest.dataset_id} has no split {split!r}; there are: {', '.join(manifest.splits)}"
        )


def parse_examples(texts: Sequence[str], manifest: Manifest) -> dict[str, list[int]]:
    """Read names of examples such as train:17,42.

    Returns:
        indices by split, each once, in the order given.

    Raises:
        BadUsage: a text is no such name, there is no such split, or there are too many.
    """
    found: dict[str, list[int]] = {}
    for text in texts:
        split, _, indices = text.partition(":")
        check_split("--examples", split, manifest)
        if not all(index.isascii() and index.isdigit() for index in indices.split(",")):
            raise BadUsage(f"--examples takes a split and positions in its source, such as train:17,42; found {text!r}")
        found.setdefault(split, []).extend(map(int, indices.split(",")))
    unique = {split: list(dict.fromkeys(indices)) for split, indices in found.items()}
    if sum(map(len, unique.values())) > MOST_NAMED:
        raise BadUsage(f"--examples names more than {MOST_NAMED} examples")
    return unique


def write_class_sheet(target: Place, dataset: Place, manifest: Manifest, split: str, per_class: int) -> None:
    """Write a contact sheet of the first examples of each class, in the order of the shards, which is a shuffle.

    Raises:
        CorruptArtefact: a shard is not as the manifest says.
    """
    counts, names = manifest.splits[split].class_counts, manifest.class_names
    picked = pick_examples_of_classes(dataset, manifest, split, per_class)
    rows = [
        SheetRow(class_title(label, names), f"{counts[label]:,} examples", [Tile(image) for image in picked[label]])
        for label in range(len(names))
    ]
    sheet = draw_classes(f"{manifest.dataset_id}, split {split}", rows, per_class, manifest.height, manifest.width)
    write_without_lock(target, sheet)


def write_example_sheet(
    target: Place, dataset: Place, manifest: Manifest, wanted: dict[str, list[int]]
) -> list[NamedExample]:
    """Write a contact sheet of single examples and return them.

    Raises:
        BadUsage: there is no such example.
        CorruptArtefact: a shard is not as the manifest says.
    """
    found = [named for split, indices in wanted.items() for named in find_named(dataset, manifest, split, indices)]
    tiles = [
        Tile(named.image, (f"{named.split}:{named.index}", class_title(named.label, manifest.class_names)))
        for named in found
    ]
    write_without_lock(target, draw_named(manifest.dataset_id, tiles, manifest.height, manifest.width))
    return found


def pick_examples_of_classes(dataset: Place, manifest: Manifest, split: str, per_class: int) -> list[list[Bytes]]:
    """Return up to per_class images of each class; reads no more shards than it must."""
    info = manifest.splits[split]
    picked: list[list[Bytes]] = [[] for _ in manifest.class_names]
    missing = [min(count, per_class) for count in info.class_counts]
    for examples in _read(dataset, manifest, split):
        for label, number in enumerate(missing):
            chosen = np.flatnonzero(examples.labels == label)[:number]
            picked[label] += [*_pictures(examples.images[chosen], manifest)]
            missing[label] -= len(chosen)
        if not any(missing):
            break
    return picked


def find_named(dataset: Place, manifest: Manifest, split: str, indices: Sequence[int]) -> list[NamedExample]:
    """Find examples of a split by their position in the source, in the order asked for.

    Raises:
        BadUsage: one is not there.
    """
    found: list[NamedExample] = []
    for examples in _read(dataset, manifest, split):
        chosen = examples.take(np.flatnonzero(np.isin(examples.indices, indices)))
        pairs = zip(chosen.indices.tolist(), chosen.labels.tolist(), _pictures(chosen.images, manifest), strict=True)
        found += [NamedExample(split, *pair) for pair in pairs]
    missing = sorted(set(indices) - {named.index for named in found})
    if missing:
        raise BadUsage(f"--examples: {manifest.dataset_id} has no example {split}:{missing[0]}")
    return sorted(found, key=_place_in(indices))


def statistics(manifest: Manifest) -> dict[str, Any]:
    """Return what the manifest says of each split, as JSON values; shares are parts of the split."""
    return {
        name: {
            "num_examples": split.num_examples,
            "num_shards": len(split.shards),
            "pixel_mean": split.pixel_mean,
            "pixel_std": split.pixel_std,
            "classes": [
                {"label": label, "class_name": class_name, "num_examples": count, "share": _share(count, split)}
                for label, (class_name, count) in enumerate(zip(manifest.class_names, split.class_counts, strict=True))
            ],
        }
        for name, split in manifest.splits.items()
    }


def class_title(label: int, class_names: Sequence[str]) -> str:
    """Return a class's number and, unless that says the same, its name."""
    name = class_names[label] if label < len(class_names) else "no class"
    return str(label) if name == str(label) else f"{label}  {name}"


def _read(dataset: Place, manifest: Manifest, split: str) -> Iterator[Examples]:
    for shard in manifest.splits[split].shards:
        yield read_shard(dataset, manifest, split, shard)


def _pictures(images: Bytes, manifest: Manifest) -> Bytes:
    return images.reshape(-1, manifest.height, manifest.width)


def _place_in(indices: Sequence[int]) -> Any:
    places = {index: place for place, index in enumerate(indices)}

    def place_of(named: NamedExample) -> int:
        return places[named.index]

    return place_of


def _share(count: int, split: SplitInfo) -> float:
    return count / split.num_examples if split.num_examples else 0.0


@dataclass(frozen=True)
class Inspection:
    """What `inspect` shows.

    Attributes:
        dataset: the data set; of its files, only those that were shown are checked.
        statistics: see `inspection.statistics`.
        validation: what was found when it was validated, if it was.
        sheet: the contact sheet's file.
        named: the examples on it, if any were asked for by name.
    """

    dataset: Dataset
    statistics: dict[str, Any]
    validation: ValidationRecord | None
    sheet: Place
    named: "list[NamedExample]"


def inspect_dataset(
    workspace: Place, wanted: str | None, target: Path | None, split: str, per_class: int, examples: Sequence[str]
) -> Inspection:
    """Work out a data set's statistics and write a contact sheet.

    Args:
        workspace: that holds it.
        wanted: see `runs.find_complete`.
        target: the sheet's folder; None for the workspace's own.
        split: whose classes to show.
        per_class: how many examples of each.
        examples: names of examples to show instead.

    Raises:
        BadUsage: there is no such data set, split or example.
        CorruptArtefact: a file that was read is not what its record says.
    """
    folder = find_complete(workspace / "datasets", MANIFEST_NAME, wanted, "data set")
    data = Dataset(folder, *load_manifest(folder))
    check_split("--split", split, data.manifest)
    names = parse_examples(examples, data.manifest)
    validation = check_validation(workspace, folder.name, data.digest) if is_validated(folder) else None
    place, named = target or workspace / "inspect" / folder.name, list["NamedExample"]()
    if examples:
        sheet = place / EXAMPLES_NAME
        named = write_example_sheet(sheet, folder, data.manifest, names)
    else:
        sheet = place / CLASSES_NAME
        write_class_sheet(sheet, folder, data.manifest, split, per_class)
    return Inspection(data, statistics(data.manifest), validation, sheet, named)
