"""What other layouts, loops and compiler flags would make of the step of case A. See README.md beside this.

    python -m tests.benchmarks.layouts

Exit codes: as those of tests.benchmarks.steps.
"""

from pathlib import Path
from typing import Annotated

import typer

from tests.benchmarks.peers.table import OURS, PEERS, Peer
from tests.benchmarks.peers.variants import VARIANTS
from tests.benchmarks.steps import run


def main(
    names: Annotated[str, typer.Option("--variants", help="Names with commas between them.")] = ",".join(VARIANTS),
    repeats: Annotated[int, typer.Option(min=1, help="Interleaved.")] = 9,
    seconds: Annotated[float, typer.Option(min=0.001, help="Of each repeat, about.")] = 0.3,
    output: Annotated[Path, typer.Option(help="The Parquet file.")] = Path("build/benchmarks/layouts.parquet"),
) -> None:
    """Time other ways to write and compile the step."""
    unknown = set(names.split(",")) - set(VARIANTS)
    if unknown:
        raise typer.BadParameter(f"no such variant: {min(unknown)!r}; there are: {', '.join(VARIANTS)}")
    variants = {
        name: Peer(VARIANTS[name].title, "variants", ("tensorflow",), ({"variant": name},), "A", None)
        for name in names.split(",")
    }
    run("A", {OURS: PEERS[OURS]} | variants, repeats, seconds, output)


if __name__ == "__main__":
    typer.run(main)
