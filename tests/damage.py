"""Damage to artefacts: where each kind of them is, and what can happen to its bytes."""

import struct
from pathlib import Path

KINDS = {
    "manifest": "datasets/digits-*/manifest.json",
    "shard": "datasets/digits-*/train-00001-*.tfrecord",
    "rejected": "datasets/digits-*/rejected.parquet",
    "origin": "origins/digits-*.json",
    "validation": "datasets/digits-*/validation.json",
    "validation table": "reports/validation/dataset=digits-*/validation.parquet",
    "run": "runs/*seed1*/run.json",
    "parameters": "runs/*seed1*/parameters.safetensors",
    "training table": "reports/learning_curve/*seed1*/*.parquet",
    "evaluation": "runs/*seed1*/evaluation.json",
    "evaluation table": "reports/predictions/*seed1*/test-*.parquet",
    "group": "groups/*.json",
    "seeds table": "reports/seeds/*/seeds.parquet",
    "history": "registry/history/00000001.json",
    "champion": "registry/champion.json",
    "contest": "registry/contests/*/*/contest.json",
    "answers": "registry/contests/*/*/*.parquet",
}


def flip(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


DAMAGES = {
    "truncate": lambda data: data[: len(data) // 2],
    "cut a byte": lambda data: data[:-1],
    "extend": lambda data: data + data[-16:],
    "flip a bit": flip,
    "empty": lambda data: b"",
    "huge record": lambda data: struct.pack("<Q", 2**40) + data[8:],
    "15 bytes of a huge record": lambda data: (struct.pack("<Q", 2**40) + data[8:])[:15],
    "delete": None,
}


def damage(path: Path, how: str) -> None:
    data = path.read_bytes()
    if how == "delete":
        path.unlink()
    else:
        path.write_bytes(DAMAGES[how](data))
        assert path.read_bytes() != data


def find(workspace: Path, kind: str) -> Path:
    [path] = workspace.glob(KINDS[kind])
    return path
