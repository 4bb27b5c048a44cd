"""The table of a case: medians, ratios to ours, and how far from the arithmetic floor."""

from statistics import median

from tests.benchmarks.cases import CHECKED_STEPS, Work
from tests.benchmarks.common import Row
from tests.benchmarks.peers.table import OURS, Peer

FLOOR_TARGET = 3.0  # times as long as the arithmetic alone, at most; in case A
COLUMNS = ("peer", "median us", "min us", "x ours", "target", "", "cores", "first step s", "compile s", "differs by")


def case_text(work: Work, rows: list[Row], peers: dict[str, Peer]) -> str:
    timed = [name for name in peers if any(row["peer"] == name for row in rows)]
    lines = [COLUMNS, *(_cells(name, peers[name], rows) for name in timed)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    table = ["  ".join([cells[0].ljust(widths[0]), *map(str.rjust, cells[1:], widths[1:])]).rstrip() for cells in lines]
    settings = [
        f"{peers[name].title}: {_first(name, rows)['setting']}" for name in timed if len(peers[name].settings) > 1
    ]
    best = ["best of their settings: " + "; ".join(settings)] if settings else []
    return "\n".join(["", _heading(work, rows), *table, _floor(rows), *best, _agreement(rows)])


def step_seconds(rows: list[Row], name: str) -> dict[int, float]:
    return {row["repeat"]: row["seconds"] / row["num_steps"] for row in rows if row["peer"] == name}


def ratio_to_ours(rows: list[Row], name: str) -> float:
    """Median over the repeats of a peer's step over ours in the same repeat."""
    ours, theirs = step_seconds(rows, OURS), step_seconds(rows, name)
    return median(theirs[repeat] / ours[repeat] for repeat in ours)


def target_of(case: str, peer: Peer) -> float | None:
    """At least so many times as long as ours should a peer take; None if it is no rival."""
    return peer.target if case == "A" or peer.target is None else 1.0


def floor_seconds(rows: list[Row]) -> float:
    """What the step's products take at the best rate of the large product in the same run."""
    return float(rows[0]["step_flops"] / max(row["matmul_gflops"] for row in rows) / 1e9)


def _cells(name: str, peer: Peer, rows: list[Row]) -> tuple[str, ...]:
    row, seconds = _first(name, rows), list(step_seconds(rows, name).values())
    times = (peer.title, f"{median(seconds) * 1e6:.1f}", f"{min(seconds) * 1e6:.1f}")
    ratio, target = ratio_to_ours(rows, name), target_of(row["case"], peer)
    wanted = ("", "") if target is None else (f"{target:.1f}", _verdict(ratio >= target))
    compared = ("", "", "") if name == OURS else (f"{ratio:.2f}", *wanted)
    own = [each for each in rows if each["peer"] == name]
    cores = median(each["cpu_seconds"] / each["seconds"] for each in own)
    start = f"{cores:.1f}", f"{row['first_step_seconds']:.2f}", f"{row['compile_seconds']:.2f}"
    return (*times, *compared, *start, f"{row['difference']:.0e}")


def _heading(work: Work, rows: list[Row]) -> str:
    row, config = rows[0], work.config
    layers = "-".join(map(str, config.layers))
    return (
        f"case {row['case']}: {layers}, {config.activation}, {config.output} with {config.loss}, "
        f"momentum {config.momentum:g}, batches of {config.batch_size} of {row['data']}, {row['machine']}"
    )


def _floor(rows: list[Row]) -> str:
    floor, ours = floor_seconds(rows), median(step_seconds(rows, OURS).values())
    target = f" (target {FLOOR_TARGET:g}, {_verdict(ours <= FLOOR_TARGET * floor)})" if rows[0]["case"] == "A" else ""
    return (
        f"the arithmetic floor: {rows[0]['step_flops'] / 1e6:.2f} MFLOP at {rows[0]['step_flops'] / floor / 1e9:.0f} "
        f"GFLOP/s of one core are {floor * 1e6:.1f} us; ours takes {ours / floor:.1f} times as long{target}"
    )


def _agreement(rows: list[Row]) -> str:
    worst = max(row["difference"] for row in rows)
    return (
        f"all compute the same: after {CHECKED_STEPS} steps every parameter is what float64 gives, "
        f"within {worst:.0e} of the largest change of its array"
    )


def _verdict(met: bool) -> str:
    return "met" if met else "missed"


def _first(name: str, rows: list[Row]) -> Row:
    return next(row for row in rows if row["peer"] == name)
