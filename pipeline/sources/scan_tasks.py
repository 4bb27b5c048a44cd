"""The scan of a source in tasks that may run on several workers, and the digest of content that they read together.

The digest of the content of up to WHOLE_EXAMPLES examples is its SHA-256. That of more examples is the SHA-256 of the
SHA-256s of consecutive pieces of PIECE_EXAMPLES examples each, the last one shorter. So it depends neither on tasks nor
on how examples are divided among files. Earlier versions had no pieces: see `digest_without_pieces`.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, NamedTuple, TypeAlias, TypeVar

WHOLE_EXAMPLES = 2**20
PIECE_EXAMPLES = 2**16
MAX_TASKS = 1000  # of a split: each gives the driver a small file to read
MANY_BYTES = 2**32  # one process reads as much in about the time that workers take to start

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


def choose_runner(num_bytes: int, map_tasks: MapTasks) -> MapTasks:
    """Return what runs the tasks that read arrays of that size: this process, or map_tasks if they are large."""
    return map_tasks if num_bytes > MANY_BYTES else map_here


class Span(NamedTuple):
    """Consecutive examples of a split, start to stop - 1, digested in pieces that begin at start."""

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


def whole_span(num_examples: int) -> Span:
    """Return the span of all examples of a split, for content that is read from its beginning to its end."""
    is_whole = num_examples <= WHOLE_EXAMPLES or not _HAS_PIECES.get()
    return Span(0, num_examples, num_examples if is_whole else PIECE_EXAMPLES)


@contextmanager
def digest_without_pieces() -> Iterator[None]:
    """Make the digest of content of any size its SHA-256, as earlier versions did; one process then reads it."""
    token = _HAS_PIECES.set(False)
    try:
        yield
    finally:
        _HAS_PIECES.reset(token)


def cut_span(num_examples: int, least: int = 1) -> list[Span]:
    """Cut the examples of a split into spans of at least that many, each for a task."""
    whole = whole_span(num_examples)
    length = max(1, least, -(-num_examples // MAX_TASKS))
    length = -(-length // max(1, whole.piece)) * max(1, whole.piece)
    return [Span(start, min(start + length, num_examples), whole.piece) for start in range(0, num_examples, length)]


class Content(NamedTuple):
    """Content that is digested: the tasks that read it, and the digests to which it is added.

    A task is a record of the layout, which can be pickled; its `span` says which examples the task digests.
    """

    tasks: list[Any]
    digests: tuple[Hash, ...]


# Returns the digests of a piece of a task, of which there are as many as of the content.
DigestsOf: TypeAlias = Callable[[int], tuple[Hash, ...]]
ReadTask: TypeAlias = Callable[[Any, DigestsOf], Any]  # reads a task and updates the digests of its pieces


def scan_contents(read: ReadTask, contents: list[Content], kind: Any, map_tasks: MapTasks) -> Iterator[list[Any]]:
    """Read all tasks, and yield for each content the results of its tasks when its digests are complete.

    kind is the type of a result. Content of one piece, which no task can share, is read in this process.
    """
    shared = [(task, len(each.digests)) for each in contents if not _is_one_piece(each) for task in each.tasks]
    found = map_tasks(partial(_read_apart, read), shared, tuple[list[list[str]], kind])
    for content in contents:
        if _is_one_piece(content):
            whole = content.digests
            yield [read(task, lambda _, whole=whole: whole) for task in content.tasks]  # type: ignore[misc]
            continue
        results = []
        for _ in content.tasks:
            pieces, result = next(found)
            _add_pieces(content.digests, pieces)
            results.append(result)
        yield results


def _is_one_piece(content: Content) -> bool:
    num_pieces = sum(task.span.num_pieces for task in content.tasks)
    return bool(num_pieces <= 1)


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
