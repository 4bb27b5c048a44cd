import pytest

from pipeline.train.checkpoint_policy import SAVE_SECONDS, CheckpointPolicy


@pytest.mark.parametrize(
    ("every", "chunk", "seconds", "due"),
    [
        (100, (50, 100), 0.0, True),
        (100, (50, 99), 1e9, False),
        (100, (100, 150), 1e9, False),
        (100, (150, 350), 0.0, True),  # a chunk longer than the interval
        (0, (0, 1000), 1e9, False),
        (None, (0, 1000), SAVE_SECONDS, True),
        (None, (0, 1000), SAVE_SECONDS - 0.1, False),
    ],
)
def test_checkpoint_is_due_at_multiples_of_the_interval_or_after_the_default_seconds(every, chunk, seconds, due):
    assert CheckpointPolicy(every).is_due(*chunk, seconds) == due
