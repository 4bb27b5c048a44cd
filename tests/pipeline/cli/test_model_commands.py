from typer.testing import CliRunner

from model.errors import BadUsage
from pipeline.cli.main import app
from pipeline.train import memory_check


def test_gradient_check_larger_than_the_memory_is_rejected_though_training_fits(monkeypatch):
    monkeypatch.setattr(memory_check, "memory_bytes", lambda: 20 * 2**30)
    failed = CliRunner().invoke(app, ["gradcheck", "--layers", "784,1048576,10"], obj=()).exception
    assert isinstance(failed, BadUsage)
    assert "a gradient check of layers 784-1048576-10 needs 24.8 GiB" in str(failed)
