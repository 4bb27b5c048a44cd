"""How long a training step takes, ours and others', each checked to compute the same thing. See README.md beside this.

    python -m tests.benchmarks.steps

Exit codes: 0 done, however fast; 1 a peer computes something else, or failed; 2 usage.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer

from model.devices import step_flops
from model.errors import BadUsage
from tests.benchmarks.cases import CASES, CHECKED_STEPS, Work, read_digits
from tests.benchmarks.children import Child, Chosen, child_of
from tests.benchmarks.common import Output, PeerFailed, Row, describe_machine, errors_end, save
from tests.benchmarks.peers.matmul import FLOPS
from tests.benchmarks.peers.numpy_loop import NumPy
from tests.benchmarks.peers.table import OURS, Peer, find_peers
from tests.benchmarks.report import case_text

TOLERANCE = 1e-4  # of the largest change of the same array in CHECKED_STEPS; float32 alone makes about 1e-5
SETTLE_SECONDS = 0.2  # threads that wait for more work spin for a while

# The file has one row a case, peer and repeat. seconds and cpu_seconds (of all threads) are of num_steps steps,
# import_seconds of the peer's packages; first_step_seconds is from nothing but the imports to one step done;
# compile_seconds is what the first chunk took longer than the next; matmul_gflops is of peers/matmul.py.


class Contestant(NamedTuple):
    """A peer that is ready for a case."""

    name: str  # in the table of peers
    peer: Peer  # what it is
    child: Child  # its process
    about: dict[str, Any]  # the columns that are the same in every repeat
    num_chunks: int  # of a repeat


def main(
    output: Output = Path("build/benchmarks/steps.parquet"),
    cases: Annotated[str, typer.Option(help="Which, such as AC.")] = "ABCD",
    peers: Annotated[str | None, typer.Option(help="Names with commas between them; by default all.")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Interleaved.")] = 9,
    seconds: Annotated[float, typer.Option(min=0.001, help="Of each repeat, about.")] = 0.5,
) -> None:
    """Time a training step, ours and others'."""
    with errors_end("benchmark"):
        if not set(cases) <= set(CASES):
            raise BadUsage(f"no such case in {cases!r}; there are: {', '.join(CASES)}")
        wanted = find_peers(peers)
        typer.echo(save(output, [row for case in cases for row in measure_case(case, wanted, repeats, seconds)]))


def measure_case(case: str, peers: dict[str, Peer], repeats: int, seconds: float) -> list[Row]:
    """Time a case, in processes of its own: some settings, XLA's flags among them, hold for a process."""
    data, images, labels = read_digits()
    able = {name: peer for name, peer in peers.items() if case in peer.cases}
    with ExitStack() as stack:
        children = {
            name: stack.enter_context(child_of(peer.title, peer.module, CASES[case] if peer.module == "ours" else None))
            for name, peer in able.items()
        }
        matmul = stack.enter_context(child_of("the large product", "matmul"))
        work = children[OURS].ask("make_work", CASES[case], images, labels)
        layers, batch_size = work.config.layers, work.config.batch_size
        about = {"case": case, "data": data, "machine": describe_machine(), "layers": list(layers)}
        about |= {"batch_size": batch_size, "step_flops": step_flops(layers, batch_size)}
        contestants = [prepare(name, peer, children[name], work, about, seconds) for name, peer in able.items()]
        matmul.ask("choose", work, ({},), 0.0)
        found = list(repeat_all(contestants, matmul, work.chunk_length, repeats))
    typer.echo(case_text(work, found, able))
    return found


def prepare(name: str, peer: Peer, child: Child, work: Work, about: dict[str, Any], seconds: float) -> Contestant:
    """Time a peer's start, choose its best setting, and check what it computes; raises PeerFailed if that differs."""
    typer.echo(f"preparing case {about['case']}, {peer.title}", err=True)
    import_seconds = child.ask("import_seconds")
    first_step = child.ask("first_step", work, peer.settings[0])
    chosen: Chosen = child.ask("choose", work, peer.settings, seconds / 2)
    few = work.first_steps(CHECKED_STEPS)
    difference = check(peer, few, child.ask("trained", few, chosen.setting))
    setting = ", ".join(f"{key} {value}" for key, value in chosen.setting.items())
    about = about | {
        "peer": name,
        "setting": setting,
        "import_seconds": import_seconds,
        "first_step_seconds": first_step,
        "compile_seconds": max(0.0, chosen.first_seconds - chosen.chunk_seconds),
        "difference": difference,
        "versions": ", ".join(f"{package} {version(package)}" for package in ("numpy", *peer.packages)),
    }
    return Contestant(name, peer, child, about, max(1, round(seconds / chosen.chunk_seconds)))


def check(peer: Peer, work: Work, found: list[np.ndarray]) -> float:
    """Compare a peer's parameters with those of the same steps in float64; raises PeerFailed if they differ.

    Returns:
        the largest difference of any array from what is expected, over the largest change of that array.
    """
    reference = NumPy(work, dtype=np.float64)
    reference.run(1)
    start = [part for layer in work.start for part in layer]
    triples = zip(found, reference.parameters(), start, strict=True)
    difference = max(float(np.abs(a - b).max() / np.abs(b - before).max()) for a, b, before in triples)
    if not difference <= TOLERANCE:
        raise PeerFailed(
            f"{peer.title} computes something else: after {work.chunk_length} steps its parameters differ by "
            f"{difference:.1e} of their change, more than {TOLERANCE:.0e}"
        )
    return difference


def repeat_all(contestants: list[Contestant], matmul: Child, chunk_length: int, repeats: int) -> Iterator[Row]:
    """Time everybody in turn, again and again, each time beginning with another."""
    for repeat in range(repeats):
        first = repeat % len(contestants)
        rate = FLOPS / matmul.ask("run", 1).seconds / 1e9
        for contestant in contestants[first:] + contestants[:first]:
            time.sleep(SETTLE_SECONDS)
            timed = contestant.child.ask("run", contestant.num_chunks)
            measured = {"num_steps": contestant.num_chunks * chunk_length, "repeat": repeat, "matmul_gflops": rate}
            yield contestant.about | measured | timed._asdict()


if __name__ == "__main__":
    typer.run(main)
