"""Which files are changed, and which tests should notice."""

from pathlib import Path

# The tests that mirror a file need no entry: of model/x.py tests/model/test_x.py, of pipeline/a/b.py
# tests/pipeline/a/test_b.py. These are the other tests of its behaviour, those that take longest last.
SOURCES: dict[str, tuple[str, ...]] = {
    "model/batches.py": ("tests/model/test_fitting.py",),
    "model/checkpoint.py": ("tests/model/test_fitting.py",),
    "model/epochs.py": ("tests/model/test_batches.py",),
    "model/examples.py": (),
    "model/fitting.py": ("tests/model/test_training.py",),
    "model/functions.py": ("tests/model/test_gradients.py",),
    "model/gradcheck.py": (),
    "model/gradients.py": ("tests/model/test_gradcheck.py",),
    "model/lockstep.py": ("tests/model/test_training.py",),
    "model/network.py": ("tests/model/test_gradients.py", "tests/model/test_training.py"),
    "model/order.py": ("tests/model/test_batches.py",),
    "model/random_streams.py": (),
    "model/reading.py": ("tests/model/test_batches.py",),
    "model/recipes.py": ("tests/pipeline/cli/test_config.py",),
    "model/synonyms.py": ("tests/model/test_recipes.py",),
    "model/tensor_file.py": ("tests/model/test_checkpoint.py",),
    "model/training.py": ("tests/model/test_gradients.py", "tests/model/test_lockstep.py"),
    "pipeline/preprocess/validation_checks.py": (
        "tests/pipeline/preprocess/test_duplicate_images.py",
        "tests/pipeline/preprocess/test_validation.py",
    ),
    "pipeline/preprocess/duplicate_images.py": ("tests/pipeline/preprocess/test_validation_checks.py",),
    "pipeline/registry/decision.py": (),
    "pipeline/registry/policy.py": ("tests/pipeline/registry/test_decision.py",),
    "pipeline/schedule/timetable.py": (),
    "pipeline/preprocess/shards.py": (
        "tests/pipeline/preprocess/test_validation_checks.py",
        "tests/pipeline/preprocess/test_beam_job.py",
    ),
    "pipeline/sources/idx_format.py": (),
    "pipeline/sources/scan_tasks.py": (),
    "pipeline/evaluate/significance.py": (),
    "pipeline/evaluate/metrics.py": (
        "tests/pipeline/evaluate/test_calibration.py",
        "tests/pipeline/evaluate/test_slices.py",
    ),
    "pipeline/evaluate/learning_problems.py": (),
    "pipeline/train/run_settings.py": ("tests/pipeline/evaluate/test_learning_problems.py",),
    "pipeline/train/curve_points.py": (),
    "pipeline/train/early_parameters.py": (),
    "pipeline/train/layer_statistics.py": (),
    "pipeline/train/unit_states.py": ("tests/pipeline/evaluate/test_learning_problems.py",),
    "pipeline/evaluate/slices.py": ("tests/pipeline/evaluate/test_slice_config.py",),
    "pipeline/evaluate/group_counts.py": (
        "tests/pipeline/evaluate/test_slices.py",
        "tests/pipeline/evaluate/test_metrics.py",
    ),
    "pipeline/evaluate/weight_statistics.py": (),
    "pipeline/preprocess/validation_config.py": ("tests/pipeline/preprocess/test_validation.py",),
}
GOLDEN = ("tests/model/test_golden.py", "tests/test_golden.py")


def find_tests(root: Path, file: str) -> tuple[str, ...]:
    """Return the test files of a source file, in the order to try them: the first that fails ends a trial."""
    path = Path(file)
    mirror = Path("tests", *path.parts[:-1], f"test_{path.name}").as_posix()
    tests = (mirror, *SOURCES.get(file, ()), *GOLDEN)
    return tuple(test for test in tests if (root / test).exists())
