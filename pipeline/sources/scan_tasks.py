"""The scan of a source in tasks that may run on several workers, and the digest of content that they read together.

The digest of the content of up to WHOLE_EXAMPLES examples is its SHA-256. That of more examples is the SHA-256 of the
SHA-256s of consecutive pieces of PIECE_EXAMPLES examples each, the last one shorter. So it depends neither on tasks nor
on how examples are divided among files. Text is counted in bytes, as `PieceSize` says. Earlier versions had no pieces:
see `digest_without_pieces`.
"""

import hashlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import partial
from typing import Any, NamedTuple, TypeAlias, TypeVar

from model.errors import BadInput

WHOLE_EXAMPLES = 2**20
PIECE_EXAMPLES = 2**16
WHOLE_BYTES = 2**30  # the same of text, whose bytes are known before it is read, and its rows are not
PIECE_BYTES = 2**26
MAX_TASKS = 1000  # of a split: each gives the driver a small file to read
MANY_BYTES = 2**32  # one process reads as much in about the time that workers take to start
MANY_PARSED_BYTES = 2**30  # the same for text and records, of which one process reads less in a second

# Applies a function to each task, in this process or on workers; yields the results, of the given type, in order. The
# function and the tasks can be pickled, and the results are read from JSON by pydantic.
MapTasks: TypeAlias = Callable[[Callable[[Any], Any], Sequence[Any], Any], Iterator[Any]]
Hash: TypeAlias = Any  # what hashlib's functions return
T = TypeVar("T")


def cut_evenly(items: Sequence[T], most: int, least: int = 1) -> list[Sequence[T]]:
    """Cut a sequence into at most that many parts of equally many neighbours, at least the given number each.

    The last part may be shorter.
    """
    length = max(least, -(-len(items) // most))
    return [items[start : start + length] for start in range(0, len(items), length)]


_HAS_PIECES = ContextVar("has_pieces", default=True)


def map_here(function: Callable[[Any], Any], tasks: Sequence[Any], kind: Any) -> Iterator[Any]:
    """Apply a function to each task in this process, when its result is asked for."""
    return map(function, tasks)


def choose_runner(num_bytes: int, map_tasks: MapTasks, is_parsed: bool = False) -> MapTasks:
    """Return map_tasks if the tasks read many bytes, else `map_here`.

    is_parsed says that the bytes are text or records, and not arrays or whole files.
    """
    many = MANY_PARSED_BYTES if is_parsed else MANY_BYTES
    return map_tasks if num_bytes > many else map_here


class PieceSize(NamedTuple):
    """How content is digested: that of up to `whole` units as a whole, that of more in pieces of `piece` units.

    A unit is an example or a byte; whole is a multiple of piece.
    """

    whole: int
    piece: int

    @classmethod
    def of_examples(cls) -> "PieceSize":
        """Return that of content that is counted in examples."""
        return cls(WHOLE_EXAMPLES, PIECE_EXAMPLES)

    @classmethod
    def of_bytes(cls) -> "PieceSize":
        """Return that of text, which is counted in bytes."""
        return cls(WHOLE_BYTES, PIECE_BYTES)

    @property
    def most_whole(self) -> int:
        """The largest number of units without pieces."""
        return self.whole if _HAS_PIECES.get() else sys.maxsize


class Span(NamedTuple):
    """Consecutive examples of a split, start to stop - 1, digested in pieces that begin at start.

    It may be one of bytes instead, where those are counted.
    """

    start: int
    stop: int
    piece: int  # examples

    @property
    def num_pieces(self) -> int:
        """The number of pieces."""
        return -(-(self.stop - self.start) // self.piece)

    def pieces(self) -> Iterator[range]:
        """Yield the examples of each piece."""
        for start in range(self.start, self.stop, self.piece):
            yield range(start, min(start + self.piece, self.stop))

    def blocks(self, length: int) -> Iterator[range]:
        """Cut each piece into ranges of at most that many examples."""
        for piece in self.pieces():
            for start in range(piece.start, piece.stop, length):
                yield piece[start - piece.start : start - piece.start + length]

    def piece_of(self, position: int) -> int:
        """Return the number of the piece that has the example at a position of the split."""
        return (position - self.start) // self.piece

    def overlaps(self, start: int, num_examples: int) -> Iterator[tuple[int, slice]]:
        """Yield which of the examples from start on are in each piece: the number of the piece and their positions."""
        position = max(start, self.start)
        stop = min(start + num_examples, self.stop)
        while position < stop:
            piece = self.piece_of(position)
            end = min(stop, self.start + (piece + 1) * self.piece)
            yield piece, slice(position - start, end - start)
            position = end


def whole_span(num_examples: int, size: PieceSize | None = None) -> Span:
    """Return the span of all examples of a split, for content that is read from its beginning to its end."""
    size = size or PieceSize.of_examples()
    return Span(0, num_examples, num_examples if num_examples <= size.most_whole else size.piece)


@contextmanager
def digest_without_pieces() -> Iterator[None]:
    """Make the digest of content of any size its SHA-256, as earlier versions did; one process then reads it."""
    token = _HAS_PIECES.set(False)
    try:
        yield
    finally:
        _HAS_PIECES.reset(token)


def cut_span(num_examples: int, least: int = 1, size: PieceSize | None = None) -> list[Span]:
    """Cut the examples of a split, or its bytes if size counts those, into spans of at least that many for tasks."""
    whole = whole_span(num_examples, size)
    length = max(1, least, -(-num_examples // MAX_TASKS))
    length = -(-length // max(1, whole.piece)) * max(1, whole.piece)
    return [Span(start, min(start + length, num_examples), whole.piece) for start in range(0, num_examples, length)]


class BothDigests(NamedTuple):
    """A digest of a whole and that of its piece, updated together."""

    whole: Hash
    piece: Hash

    def update(self, data: bytes) -> None:
        """Add bytes."""
        self.whole.update(data)
        self.piece.update(data)


class OpenDigest:
    """The digest of content that one task reads and whose length is known only at its end; header comes before it.

    It is made as a whole and in pieces until it is certain which of them counts.
    """

    def __init__(self, size: PieceSize, header: bytes) -> None:
        self.span = Span(0, sys.maxsize, size.piece)
        self._num_whole = size.most_whole // size.piece  # pieces that are digested as a whole
        self._whole = hashlib.sha256(header)
        self._joined = hashlib.sha256(header)
        self._piece = hashlib.sha256()
        self._number = 0

    def of_piece(self, number: int) -> Hash:
        """Return what is updated with a piece: with that of the last call, or the one after it."""
        if number > self._number:
            self._joined.update(self._piece.digest())
            self._piece = hashlib.sha256()
            self._number = number
        return BothDigests(self._whole, self._piece) if number < self._num_whole else self._piece

    def close(self) -> Hash:
        """Return the digest of all pieces, to which other bytes may be added."""
        if self._number < self._num_whole:
            return self._whole
        self._joined.update(self._piece.digest())
        return self._joined


class Content(NamedTuple):
    """Content that is digested: the tasks that read it, and the digests to which it is added.

    A task is a record of the layout, which can be pickled; its `span` says which examples the task digests.
    """

    tasks: list[Any]
    digests: tuple[Hash, ...]  # or one OpenDigest, if there is one task

    @property
    def is_shared(self) -> bool:
        """Whether several tasks digest the content, or one that may be elsewhere: there are pieces, of known number."""
        return not self._is_open and sum(task.span.num_pieces for task in self.tasks) > 1

    @property
    def _is_open(self) -> bool:
        return isinstance(self.digests[0], OpenDigest)

    def digests_of(self, piece: int) -> tuple[Hash, ...]:
        """Return what is updated with a piece of content that is not shared."""
        return (self.digests[0].of_piece(piece),) if self._is_open else self.digests

    def close(self) -> Hash:
        """Return the only digest, when everything has been read; other bytes may be added to it."""
        [digest] = self.digests
        return digest.close() if self._is_open else digest


# Returns the digests of a piece of a task, of which there are as many as of the content.
DigestsOf: TypeAlias = Callable[[int], tuple[Hash, ...]]
ReadTask: TypeAlias = Callable[[Any, DigestsOf], Any]  # reads a task and updates the digests of its pieces


def plan_contents(
    headers: dict[str, bytes],
    size: PieceSize,
    cut: Callable[[], dict[str, list[Any]]] | None,
    read_whole: Callable[[str, Span], Any],
) -> dict[str, Content]:
    """Return the content of each split, of which a header is digested first.

    cut measures the files and returns the tasks of each split; None if that would take too long. Then, or if it finds
    damage (BadInput), read_whole returns the task that reads a split to its end, and raises the first error in order.
    """
    with suppress(BadInput):
        if cut:
            tasks = cut()
            return {split: Content(tasks[split], (hashlib.sha256(header),)) for split, header in headers.items()}
    digests = {split: OpenDigest(size, header) for split, header in headers.items()}
    return {split: Content([read_whole(split, digest.span)], (digest,)) for split, digest in digests.items()}


def scan_contents(read: ReadTask, contents: list[Content], kind: Any, map_tasks: MapTasks) -> Iterator[list[Any]]:
    """Read all tasks, and yield for each content the results of its tasks when its digests are complete.

    kind is the type of a result. Content that no task can share is read in this process.
    """
    shared = [(task, len(each.digests)) for each in contents if each.is_shared for task in each.tasks]
    found = map_tasks(partial(_read_apart, read), shared, tuple[list[list[str]], kind])
    for content in contents:
        if not content.is_shared:
            yield [read(task, content.digests_of) for task in content.tasks]
            continue
        results = []
        for _ in content.tasks:
            pieces, result = next(found)
            _add_pieces(content.digests, pieces)
            results.append(result)
        yield results


def _add_pieces(digests: tuple[Hash, ...], pieces: list[list[str]]) -> None:
    for piece in pieces:
        for digest, of_piece in zip(digests, piece, strict=True):
            digest.update(bytes.fromhex(of_piece))


def _read_apart(read: ReadTask, job: tuple[Any, int]) -> tuple[list[list[str]], Any]:
    """Read a task with that many new digests for each of its pieces, and return these digests and the result."""
    task, num_digests = job
    pieces = list[tuple[Hash, ...]]()

    def digests_of(piece: int) -> tuple[Hash, ...]:
        while len(pieces) <= piece:  # a damaged header may promise more pieces than there are
            pieces.append(tuple(hashlib.sha256() for _ in range(num_digests)))
        return pieces[piece]

    result = read(task, digests_of)
    return [[digest.hexdigest() for digest in piece] for piece in pieces], result
