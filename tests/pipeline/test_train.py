"""Training as a stage, by the real command."""

from tests.helpers import Digits, backbeam


def test_the_window_decides_the_order_and_names_the_run(tmp_path):
    digits = Digits(num_train=1500, num_test=20, height=28, width=28).write(tmp_path / "digits")  # 1.1 MiB of pixels
    options = ["--workspace", tmp_path / "ws", "--num-steps", 20, "--json"]
    whole = backbeam("run", "--dataset", digits, "--num-shards", 3, *options)
    assert whole.code == 0, whole.err
    cut, again = (backbeam("train", *options, "--window-mib", mib) for mib in (1, 1024))
    assert again.json["run_id"] == whole.json["run_id"] != cut.json["run_id"]
    parameters = [tmp_path / "ws" / "runs" / found.json["run_id"] / "parameters.safetensors" for found in (whole, cut)]
    assert parameters[0].read_bytes() != parameters[1].read_bytes()  # not only of another name
