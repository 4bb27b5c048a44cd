"""Who is compared: each peer's module, what must be installed for it, and the settings of which it gets its best."""

from importlib.util import find_spec
from itertools import product
from typing import Any, NamedTuple

from model.errors import BadUsage


class Peer(NamedTuple):
    """A way to train the same network on the same batches."""

    title: str  # what the table calls it
    module: str  # has `prepare(work, **setting)`, which returns what has `run(num_chunks)` and `parameters()`
    packages: tuple[str, ...]  # what it needs besides NumPy
    settings: tuple[dict[str, Any], ...] = ({},)  # the fastest is taken; the first is what its users get without asking
    cases: str = "ABCD"  # those that it can train
    # at least how many times as long as ours it should take in case A; None if it is no rival
    target: float | None = 1.0


OURS = "manual"
PEERS = {
    OURS: Peer("ours, manual", "ours", ("tensorflow",), ({"step": "manual"},)),
    "autodiff": Peer("ours, autodiff", "ours", ("tensorflow",), ({"step": "autodiff"},)),
    "article": Peer("the article's loop", "article", ("tensorflow",), cases="AB", target=9.0),
    "pytorch": Peer(
        "PyTorch, eager",
        "pytorch_eager",
        ("torch",),
        tuple({"threads": threads, "fused": fused} for threads, fused in product((2, 1), (False, True))),
        target=5.0,
    ),
    "keras": Peer(
        "Keras, fit",
        "keras_fit",
        ("keras", "tensorflow"),
        tuple(
            {"steps_per_execution": steps, "jit_compile": jit}
            for steps, jit in product((1, 10, 100, 1000), ("auto", True))
        ),
        target=5.0,
    ),
    "numpy": Peer(
        "NumPy", "numpy_loop", ("threadpoolctl",), tuple({"threads": threads} for threads in (2, 1)), target=3.0
    ),
    "jax": Peer("JAX, scan", "jax_scan", ("jax",), ({"transposed": False},), target=1.4),
    "jax-layout": Peer("JAX, scan, our layout", "jax_scan", ("jax",), ({"transposed": True},), target=1.0),
}


def find_peers(names: str | None) -> dict[str, Peer]:
    """Look up peers by their names with commas between them; None for all. Ours is always among them."""
    wanted = [OURS, *(names.split(",") if names else PEERS)]
    unknown = [name for name in wanted if name not in PEERS]
    if unknown:
        raise BadUsage(f"no such peer: {unknown[0]!r}; there are: {', '.join(PEERS)}")
    peers = {name: PEERS[name] for name in wanted}
    missing = {package for peer in peers.values() for package in peer.packages if find_spec(package) is None}
    if missing:
        raise BadUsage(
            f"not installed: {', '.join(sorted(missing))}; get it by: python -m pip install -c constraints.txt "
            "-e '.[bench]', or name the peers to compare with: --peers "
            + ",".join(name for name in peers if not missing & set(peers[name].packages))
        )
    return peers
