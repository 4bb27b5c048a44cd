"""A store in memory, in place of one that is reached by a network: memory://BUCKET/NAME."""

from collections.abc import Iterator, MutableMapping

import obstore
from obstore.store import MemoryStore


class Objects(MutableMapping[str, bytes]):
    def __init__(self) -> None:
        self._buckets: dict[str, MemoryStore] = {}

    def bucket(self, name: str, *_: object) -> MemoryStore:
        return self._buckets.setdefault(name, MemoryStore())

    def __getitem__(self, uri: str) -> bytes:
        store, name = self._find(uri)
        try:
            return bytes(obstore.get(store, name).bytes())
        except FileNotFoundError:
            raise KeyError(uri) from None

    def __setitem__(self, uri: str, data: bytes) -> None:
        obstore.put(*self._find(uri), data)

    def __delitem__(self, uri: str) -> None:
        obstore.delete(*self._find(uri))

    def __iter__(self) -> Iterator[str]:
        for bucket, store in self._buckets.items():
            yield from (f"memory://{bucket}/{found['path']}" for page in obstore.list(store) for found in page)

    def __len__(self) -> int:
        return len(list(self))

    def _find(self, uri: str) -> tuple[MemoryStore, str]:
        bucket, _, name = uri.removeprefix("memory://").partition("/")
        return self.bucket(bucket), name
