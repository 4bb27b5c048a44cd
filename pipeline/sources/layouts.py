"""What a layout is: one way in which people keep the files of a data set. `source_lookup.LAYOUTS` lists them all."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from pipeline.sources.blocks import ClassCount, SourceScan
from pipeline.sources.catalog import AnySource, PictureOptions
from pipeline.sources.scan_tasks import MapTasks
from pipeline.storage.places import Place

# Arguments and errors as `source_lookup.scan_source`, but the count of classes as `choose_class_names`.
ScanSource: TypeAlias = Callable[[Any, ClassCount, int, MapTasks], SourceScan]


class SourceLayout(NamedTuple):
    """A layout: how it is recognised, found and scanned. `SplitScan` in `blocks.py` says how to add one."""

    kind: type[AnySource]  # of its sources
    title: str  # what a data set in this layout is made of, in messages
    example: str  # what --dataset may name, in the message for places that hold no data set
    options: frozenset[str]  # the fields of PictureOptions that apply to it
    holds: Callable[[Place], bool]  # whether a folder, which may be in a store, looks like this layout
    find: Callable[[str, Place, PictureOptions], AnySource]  # name and folder to a source; raises BadInput
    scan: ScanSource  # whole sources
    # If --dataset may name files, with commas between them, instead of a folder: how their names end (one of those in
    # `catalog`), and name and existing files to a source. Raises BadUsage for another number of files.
    file_name: re.Pattern[str] | None = None
    find_files: Callable[[str, tuple[Place, ...], PictureOptions], AnySource] | None = None
