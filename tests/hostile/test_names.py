"""Names in forged records with right digests: paths out of the workspace are rejected."""

import shutil

import pytest

from pipeline.maintenance.verify import find_scope, verify
from tests.damage import find
from tests.helpers import contents, run_in_process
from tests.hostile.forging import forge

NAMES = ["../x", "a/../../x", "/etc/passwd", "..", "", "a/b", "a\\b", "a\0b", "a\nb", "a\n", "\ud800", "x" * 300]
FIELDS = {
    "a shard": ("manifest", lambda content, name: content["splits"]["train"]["shards"][0].update(name=name)),
    "the table of rejected examples": ("manifest", lambda content, name: content["rejected"].update(name=name)),
    "a source": ("manifest", lambda content, name: content["sources"][0].update(name=name)),
    "a data set": ("manifest", lambda content, name: content.update(name=name)),
    "parameters": ("run", lambda content, name: content["parameters"].update(name=name)),
    "a run": ("run", lambda content, name: content.update(run_id=name)),
    "a run's data set": ("run", lambda content, name: content.update(dataset_id=name)),
    "a table of training": ("run", lambda content, name: content["tables"][0].update(table=name)),
    "a file of training": ("run", lambda content, name: content["tables"][0].update(name=name)),
    "an evaluated run": ("evaluation", lambda content, name: content.update(run_id=name)),
    "a table of an evaluation": ("evaluation", lambda content, name: content["tables"][0].update(table=name)),
    "a file of an evaluation": ("evaluation", lambda content, name: content["tables"][0].update(name=name)),
    "a validated data set": ("validation", lambda content, name: content.update(dataset_id=name)),
    "a check": ("validation", lambda content, name: content["results"][0].update(check=name)),
    "the table of a validation": ("validation", lambda content, name: content["table"].update(name=name)),
    "an origin": ("origin", lambda content, name: content.update(dataset_id=name)),
    "a group": ("group", lambda content, name: content.update(group_id=name)),
    "a run of a group": ("group", lambda content, name: content["run_ids"].__setitem__(0, name)),
    "the table of a group": ("group", lambda content, name: content["table"].update(table=name)),
}
COMMANDS = [
    ("verify",),
    ("verify", "--repair"),
    ("run", "--dataset", "digits", "--num-classes", 3, "--max-rejected", 1, "--num-shards", 3, "--num-steps", 20),
    ("report", "article-manual-seed1"),
    ("predict", "digits/train-images-idx3-ubyte", "--run", "article-manual-seed1"),
    ("export", "article-manual-seed1", "--to", "out"),
    ("evaluate", "article-manual-seed1"),
]


@pytest.mark.parametrize("field", FIELDS)
def test_verify_checks_every_name_in_every_record(field, folder):
    kind, change = FIELDS[field]
    path = find(folder / "ws", kind)
    original = path.read_bytes()
    for name in NAMES:
        forge(path, lambda content, name=name: change(content, name))
        faults = verify(find_scope(folder / "ws")).faults
        assert str(path) in {str(fault.path) for fault in faults}, name
        path.write_bytes(original)


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(map(str, command[:2])))
@pytest.mark.parametrize("field", ["a shard", "a table of training", "a run's data set"])
def test_no_command_follows_a_name_out_of_the_workspace(field, command, folder):
    """The path that the name leads to exists, so it would be read, replaced or deleted."""
    kind, change = FIELDS[field]
    path = find(folder / "ws", kind)
    forge(path, lambda content: change(content, "../../../outside"))
    (folder / "outside").mkdir()
    (folder / "outside" / "manifest.json").write_bytes(b"kept")
    before = contents(folder / "outside")
    done = run_in_process(*command, "--workspace", "ws")
    expected = {"verify --repair": (0, 4)}.get(" ".join(map(str, command[:2])), (4,))
    assert done.code in expected, done.err
    assert contents(folder / "outside") == before
    assert not (folder / "out").exists()


def test_a_checkpoint_name_with_a_line_feed_is_a_fault(folder):
    run = find(folder / "ws", "run").parent
    shutil.rmtree(run / "checkpoints", ignore_errors=True)
    (run / "run.json").unlink()
    (run / "checkpoints").mkdir()
    (run / "checkpoints" / ("step-0000000010-" + "0" * 64 + "\n.safetensors")).write_bytes(b"x")
    done = run_in_process("verify", "--workspace", "ws")
    assert done.code == 4
