"""Copy what lies below a URI into a local folder: `python -m tests.engines.fetch_store URI FOLDER`."""

import sys
from pathlib import Path

from pipeline.storage.object_store import find_store


def main() -> None:
    uri, folder = sys.argv[1], Path(sys.argv[2])
    store = find_store(uri)
    for each in store.walk(uri):
        place = folder / each.removeprefix(f"{uri}/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(store.read(each))


if __name__ == "__main__":
    main()
