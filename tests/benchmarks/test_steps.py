"""The peers: all compute the same, and one that does not, or fails, is named."""

from itertools import pairwise

import numpy as np
import pytest

from model.errors import BadUsage
from tests.benchmarks import steps
from tests.benchmarks.cases import CASES, Work
from tests.benchmarks.children import child_of
from tests.benchmarks.common import PeerFailed
from tests.benchmarks.peers import table
from tests.benchmarks.peers.numpy_loop import NumPy


def small_work(case, sizes, num_steps=20):
    random, config = np.random.default_rng(1), CASES[case].model_copy(update={"layers": sizes})
    start = tuple(
        (random.standard_normal((i, o), np.float32), random.standard_normal(o, np.float32)) for i, o in pairwise(sizes)
    )
    images = random.integers(0, 256, (1, num_steps, config.batch_size, sizes[0])).astype(np.uint8)
    return Work(config, start, images, random.integers(0, sizes[-1], images.shape[:3]).astype(np.int32))


@pytest.mark.parametrize(
    ("module", "message"),
    [("numpy_loop", "a peer: run: AttributeError"), ("no_such_module", "a peer: the process has ended; it was to run")],
)
def test_an_error_and_the_end_of_a_peers_process_are_told(module, message):
    with child_of("a peer", module) as child, pytest.raises(PeerFailed, match=message):
        child.ask("run", 1)  # which needs `choose` first


@pytest.mark.thorough
def test_keras_is_imported_in_the_process_that_trains_with_it():
    with child_of("Keras, fit", "keras_fit") as child:
        assert child.ask("import_seconds") > 0


def test_a_peer_that_computes_something_else_is_found():
    work, peer = small_work("C", (12, 7, 3)), table.PEERS["numpy"]
    trainer = NumPy(work)
    trainer.run(1)
    assert steps.check(peer, work, trainer.parameters()) < steps.TOLERANCE
    other = NumPy(work._replace(config=work.config.model_copy(update={"momentum": 0.899})))
    other.run(1)
    with pytest.raises(PeerFailed, match="NumPy computes something else: after 20 steps"):
        steps.check(peer, work, other.parameters())
    with pytest.raises(PeerFailed, match="differ by nan"):
        steps.check(peer, work, [part * np.nan for part in trainer.parameters()])


def test_a_peer_that_is_not_installed_is_named_with_how_to_get_it(monkeypatch):
    absent = table.PEERS["numpy"]._replace(packages=("no_such_package",))
    monkeypatch.setitem(table.PEERS, "absent", absent)
    with pytest.raises(
        BadUsage, match=r"not installed: no_such_package; .*pip install .* -e '.\[bench\]'.*: --peers manual,numpy$"
    ):
        table.find_peers("numpy,absent")
    with pytest.raises(BadUsage, match="no such peer: 'numpi'; there are: manual, autodiff"):
        table.find_peers("numpi")
