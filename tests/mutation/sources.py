"""Which files are changed, and which tests should notice."""

from pathlib import Path

# The tests that mirror a file need no entry: of model/x.py tests/model/test_x.py, of pipeline/a/b.py
# tests/pipeline/a/test_b.py. These are the other tests of its behaviour.
SOURCES: dict[str, tuple[str, ...]] = {
    "model/batches.py": ("tests/model/test_fitting.py",),
    "model/checkpoint.py": ("tests/model/test_fitting.py",),
    "model/examples.py": (),
    "model/fitting.py": ("tests/model/test_training.py",),
    "model/functions.py": ("tests/model/test_gradients.py",),
    "model/gradcheck.py": (),
    "model/gradients.py": ("tests/model/test_gradcheck.py",),
    "model/lockstep.py": ("tests/model/test_training.py",),
    "model/network.py": ("tests/model/test_gradients.py", "tests/model/test_training.py"),
    "model/order.py": ("tests/model/test_batches.py",),
    "model/recipes.py": ("tests/model/test_training.py", "tests/pipeline/test_configuration.py"),
    "model/training.py": ("tests/model/test_gradients.py", "tests/model/test_lockstep.py"),
    "pipeline/buckets.py": (),
    "pipeline/checks.py": ("tests/pipeline/test_buckets.py", "tests/pipeline/test_validation.py"),
    "pipeline/duplicates.py": ("tests/pipeline/test_buckets.py",),
    "pipeline/registry/decision.py": (),
    "pipeline/registry/policy.py": ("tests/pipeline/registry/test_decision.py",),
    "pipeline/scheduling/timetable.py": (),
    "pipeline/shards.py": ("tests/pipeline/test_preprocess.py",),
    "pipeline/sources/idx.py": ("tests/pipeline/sources/test_fetch.py",),
    "pipeline/tables/calibration.py": ("tests/pipeline/tables/test_slices.py",),
    "pipeline/tables/comparison.py": (),
    "pipeline/tables/metrics.py": ("tests/pipeline/tables/test_slices.py",),
    "pipeline/tables/slices.py": (),
    "pipeline/tables/tally.py": ("tests/pipeline/tables/test_slices.py", "tests/pipeline/tables/test_metrics.py"),
    "pipeline/tables/weights.py": (),
    "pipeline/validation.py": (),
}

# tried last, on what the others let through, where they are
GOLDEN = ("tests/test_golden.py",)


def find_tests(root: Path, file: str) -> tuple[str, ...]:
    """Return the test files of a source file, those that mirror it first."""
    path = Path(file)
    mirror = Path("tests", *path.parts[:-1], f"test_{path.name}").as_posix()
    wanted = (mirror, *SOURCES.get(file, ()), *(GOLDEN if file.startswith("model/") else ()))
    return tuple(dict.fromkeys(each for each in wanted if (root / each).exists()))
