import os
import pickle
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest

from model.errors import BadInput
from pipeline.sources import image_files, image_folder
from pipeline.sources.image_files import ImageFile, cut_tasks
from pipeline.sources.image_folder import FilesRange
from tests.helpers import Digits
from tests.pictures import png, read_blocks, read_reasons, scan_folder, write_tree


@pytest.mark.parametrize("split", ["train", "test"])
def test_examples_are_in_the_order_of_class_then_name(split, tmp_path):
    scans = scan_folder(write_tree(tmp_path / "tree"))
    images, labels = Digits().split(*{"train": (0, 60), "test": (1, 20)}[split])
    order = np.argsort(labels, kind="stable")
    blocks = [block.examples for block in read_blocks(scans, split)]
    assert scans.class_names == ("0", "1", "2")
    assert np.array_equal(np.concatenate([block.images for block in blocks]), images[order].reshape(len(images), -1))
    assert np.concatenate([block.labels for block in blocks]).tolist() == labels[order].tolist()
    assert np.concatenate([block.indices for block in blocks]).tolist() == list(range(len(images)))


def test_files_are_cut_into_ranges_of_bounded_size(tmp_path, monkeypatch):
    whole = scan_folder(write_tree(tmp_path / "tree"))
    monkeypatch.setattr("pipeline.sources.image_folder.MAX_RANGE_FILES", 7)
    cut = scan_folder(tmp_path / "tree")
    assert [block.num_examples for block in cut.splits["train"].ranges] == [7] * 8 + [4]
    assert cut.infos == whole.infos


def test_rejected_files_are_listed_with_their_reasons(tmp_path):
    folder = write_tree(tmp_path / "tree") / "train"
    (folder / "1" / "00001.png").write_bytes(b"")
    (folder / "2" / "00002.png").write_bytes(png(np.zeros((4, 5), np.uint8)))
    (folder / "2" / ".hidden").write_bytes(b"no part of it")
    (folder / "2" / "notes.txt").write_bytes(b"\xd0\xcf\x11\xe0")
    reasons = read_reasons(scan_folder(tmp_path / "tree"), "train")
    assert reasons["train/1/00001.png[20]"] == "image: an empty file, expected a picture"
    assert set(reasons) == {"train/1/00001.png[20]", "train/2/00002.png[40]", "train/2/notes.txt[60]"}
    assert reasons["train/2/00002.png[40]"] == "image: 4 x 5 pixels, expected 5 x 4"


def test_entries_that_cannot_be_read_are_rejected_with_their_reasons(tmp_path, monkeypatch):
    folder = write_tree(tmp_path / "tree") / "train" / "2"
    (folder / "x1").symlink_to("/nowhere/a.png")
    (folder / "x2").symlink_to("x2")
    os.mkfifo(folder / "x3")
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(folder)  # names of sockets are short
        server.bind("x4")
    (folder / "x5").write_bytes(png(np.zeros((5, 4), np.uint8)))
    real = image_files.read_start

    def refuse(path, num_bytes):
        if path.endswith("x5"):
            raise PermissionError(13, "Permission denied", path)
        return real(path, num_bytes)

    monkeypatch.setattr(image_files, "read_start", refuse)
    reasons = read_reasons(scan_folder(tmp_path / "tree"), "train")
    expected = {
        "train/2/x1[60]": "image: a link to '/nowhere/a.png', which cannot be reached: No such file or directory",
        "train/2/x2[61]": "image: a link to 'x2', which cannot be reached: Too many levels of symbolic links",
        "train/2/x3[62]": "image: no regular file, but a pipe, a socket or a device",
        "train/2/x4[63]": "image: no regular file, but a pipe, a socket or a device",
        "train/2/x5[64]": "image: it cannot be read: Permission denied",
    }
    assert reasons == expected


def test_a_file_that_is_deleted_after_it_was_listed_is_rejected(tmp_path, monkeypatch):
    tree = write_tree(tmp_path / "tree")
    place = sorted((tree / "train" / "2").iterdir())[0]
    monkeypatch.setattr(
        image_folder, "cut_tasks", lambda *arguments: place.unlink(missing_ok=True) or cut_tasks(*arguments)
    )
    [reason] = read_reasons(scan_folder(tree), "train").values()
    assert reason == "image: it cannot be reached: No such file or directory"


def test_what_systems_leave_behind_is_no_part_of_the_tree(tmp_path, capsys):
    tree = write_tree(tmp_path / "tree")
    before = scan_folder(tree)
    for place in (tree, tree / "train", tree / "test", tree / "train" / "1"):
        for name in ("__MACOSX", "@eaDir", "lost+found", ".ipynb_checkpoints"):
            (place / name).mkdir()
        for name in ("Thumbs.db", ".DS_Store", "desktop.ini"):
            (place / name).write_bytes(b"x")
    assert scan_folder(tree).infos == before.infos
    assert capsys.readouterr().err == ""
    (tree / "train" / "9").mkdir()
    scan_folder(tree)
    assert f"warning: {tree / 'train' / '9'} is empty: no train example is of the class 9" in capsys.readouterr().err


def test_ranges_are_pickled_small_and_whole(tmp_path):
    tree = write_tree(tmp_path / "tree", Digits(num_train=400))
    (tree / "train" / "0" / "a\n link").symlink_to("nowhere")
    [found] = scan_folder(tree).splits["train"].ranges
    data = pickle.dumps(found)
    unpickled = pickle.loads(data)  # noqa: S301
    assert len(data) < 40 * len(found.files)
    assert unpickled.files[134].problem.startswith("a link to 'nowhere'")
    for mine, other in zip(found.files, unpickled.files, strict=True):
        assert mine._replace(sha256=mine.sha256[:16]) == other


def test_folder_that_may_not_be_listed_is_bad_input(tmp_path, monkeypatch):
    tree = write_tree(tmp_path / "tree")

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(BadInput, match=r"tree cannot be read: Permission denied; allow this user"):
        scan_folder(tree)


def test_image_size_rejects_other_sizes_and_is_part_of_the_identity(tmp_path):
    folder = write_tree(tmp_path / "tree")
    sized = scan_folder(folder, image_size=(5, 4))
    assert sized.infos == scan_folder(folder).infos
    other = scan_folder(folder, image_size=(4, 5))
    assert other.infos != sized.infos
    assert len(read_reasons(other, "train")) == 60


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda tree: (tree / "test" / "7").mkdir(), "test/7: no class of that name in"),
        (lambda tree: (tree / "train" / "README").write_text("x"), "README: expected folders, one a class in"),
        (lambda tree: (tree / "train" / "1" / "more").mkdir(), "more: expected image files in"),
        (
            lambda tree: shutil.rmtree(tree / "test"),
            "source: found 1 folder \\(train\\): there is train/ but no test/ .or give --test-share 0.2.. What",
        ),
        (lambda tree: os.mkdir(os.fsencode(tree / "train") + b"/\xff"), "train: a name there is no UTF-8"),  # noqa: PTH102
    ],
    ids=range(5),
)
def test_bad_layout_is_rejected(damage, message, tmp_path):
    damage(write_tree(tmp_path / "source"))
    with pytest.raises(BadInput, match=message):
        scan_folder(tmp_path / "source")


def test_a_rejected_path_with_a_zero_byte_is_pickled_whole():
    files = (ImageFile("a\0b.png", 0, 0, "ab" * 32, "no picture"), ImageFile("c.png", 1, 3, "cd" * 32))
    found = pickle.loads(pickle.dumps(FilesRange("train", 0, 2, Path("/tree"), files)))  # noqa: S301
    assert [file.path for file in found.files] == ["a\0b.png", "c.png"]
    assert [file.problem for file in found.files] == ["no picture", ""]
