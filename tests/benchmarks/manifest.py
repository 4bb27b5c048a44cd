"""The time and the memory that a manifest of many shards takes. See README.md beside this.

    python -m tests.benchmarks.manifest

Exit codes: 0 done, however large; those of backbeam if something failed; 2 usage.
"""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from pipeline.preprocess.dataset import load_dataset
from pipeline.preprocess.manifest import MANIFEST_NAME, Manifest, PreprocessConfig, ShardInfo, commit_manifest
from pipeline.preprocess.shards import shard_name, summarize_shards
from pipeline.sources.blocks import SourceInfo
from pipeline.sources.catalog import MAX_SHARDS
from pipeline.storage.files import digest_of
from tests.benchmarks.common import Folder, Output, Row, describe_machine, errors_end, in_child, save
from tests.benchmarks.memory import Measured, check_measurable, watch

CLASS_COUNTS = (819,) * 9 + (821,)  # of a shard of the default size of images of 28 x 28


def main(
    num_shards: Annotated[int, typer.Option(min=1, max=MAX_SHARDS, help="Shards of the train split.")] = MAX_SHARDS,
    folder: Folder = None,
    output: Output = Path("build/benchmarks/manifest.parquet"),
) -> None:
    """Write a manifest and load it, each in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="backbeam-benchmark-", dir=folder) as temporary, errors_end("manifest"):
        check_measurable()
        place = Path(temporary)
        rows = [_row(what, in_child(way, place, num_shards)) for what, way in (("write", write), ("load", load))]
        num_bytes = next(place.glob(f"*/{MANIFEST_NAME}")).stat().st_size
        typer.echo("\n".join([f"{num_shards:,} shards, {num_bytes:,} bytes", *map(describe, rows), save(output, rows)]))


def write(place: Path, num_shards: int) -> Measured:
    """Write the manifest of a data set without files."""
    manifest = make_manifest(num_shards)
    return watch(lambda: commit_manifest(place / manifest.dataset_id, manifest))


def load(place: Path, _: int) -> Measured:
    """Load it as every command does."""
    [folder] = place.iterdir()
    return watch(lambda: load_dataset(folder))


def make_manifest(num_shards: int) -> Manifest:
    """Return a manifest of shards that do not exist, and of one test shard."""
    sizes = {"train": num_shards, "test": 1}
    return Manifest(
        name="many",
        height=28,
        width=28,
        class_names=tuple("0123456789"),
        config=PreprocessConfig(seed=1, num_shards=num_shards),
        sources=(SourceInfo(name="train", num_bytes=1, sha256=digest_of(b"")),),
        splits={split: summarize_shards(_shards(split, size), 28 * 28) for split, size in sizes.items()},
        num_rejected=0,
        rejected=None,
    )


def _shards(split: str, size: int) -> tuple[ShardInfo, ...]:
    return tuple(
        ShardInfo(
            name=shard_name(split, shard, size),
            num_bytes=6_832_128,
            sha256=digest_of(f"{split} {shard}".encode()),
            crc32c=2**31 + shard,
            num_examples=sum(CLASS_COUNTS),
            class_counts=CLASS_COUNTS,
            pixel_sum=213_000_000,
            pixel_square_sum=65_000_000_000,
        )
        for shard in range(size)
    )


def _row(what: str, measured: Measured) -> Row:
    return {"what": what, "machine": describe_machine()} | measured._asdict()


def describe(row: Row) -> str:
    return f"{row['what']:<6}{row['cpu_seconds']:>6.1f} s of a core, {row['driver_bytes'] / 2**20:>5.0f} MiB"


if __name__ == "__main__":
    typer.run(main)
