"""The types of the keyword arguments that the functions of `backbeam` share, for type checkers and editors."""

from collections.abc import Sequence
from os import PathLike
from typing import Literal, TypeAlias, TypedDict

PathOrUri: TypeAlias = str | PathLike[str]
Sources: TypeAlias = PathOrUri | Sequence[PathOrUri]


class DatasetSettings(TypedDict, total=False):
    """How sources are read and preprocessed; the command's options of the same names describe each."""

    data_dir: PathOrUri | None
    cache_dir: PathOrUri | None
    num_classes: int | None
    first_label: int
    num_shards: int | None
    shuffle_seed: int
    max_rejected: int
    image_column: str | None
    label_column: str | None
    image_size: tuple[int, int] | None  # height and width
    arrays: (
        Sequence[str] | None
    )  # of a NumPy file: images and labels of train, then of test, then of validation if there is one
    test_share: float | None
    split_by: str | None
    transpose: bool | None
    resize: tuple[int, int] | None  # height and width
    resize_mode: Literal["fit", "pad", "crop"] | None


class TrainingSettings(TypedDict, total=False):
    """Settings that change the recipe: the fields of `TrainingConfig`, and `learning_rate`; None keeps a setting."""

    learning_rate: float | None  # of the weights and of the biases
    weights_rate: float | None
    biases_rate: float | None
    step: Literal["manual", "autodiff", "compare"] | None
    layers: Sequence[int] | None
    activation: Literal["sigmoid", "tanh", "relu"] | None
    output: Literal["sigmoid", "softmax"] | None
    loss: Literal["quadratic", "cross-entropy"] | None
    start: Literal["truncated-normal", "normal", "scaled", "he"] | None
    batch_size: int | None
    num_steps: int | None
    num_epochs: float | None
    schedule: Literal["constant", "cosine"] | None
    momentum: float | None
    weight_decay: float | None
    dropout: float | None
    window_mib: int | None
    seed: int | None
    precision: Literal["float32", "tf32"] | None
    num_replicas: int | None
    own_shards: bool | None
    stack: int | None


class CallSettings(TypedDict, total=False):
    """How a call works."""

    wait: float  # seconds to wait for another process that has locked the workspace, 0 by default
    verbose: bool  # whether to show messages and progress on standard error; no by default


class BeamSettings(TypedDict, total=False):
    """How Beam works."""

    workers: int | None  # processes that share the work; None for this one alone
    beam_options: Sequence[str]  # as they follow -- on the command line


class MachineSettings(TypedDict, total=False):
    """The device of training, and its checkpoints."""

    device: str  # auto (the default), cpu, gpu or gpu:N
    checkpoint_every: int | None  # steps; None for a checkpoint each 30 seconds, 0 for none
    keep_checkpoints: int  # how many stay, the newest; 2 by default


class PreprocessSettings(DatasetSettings, BeamSettings, CallSettings, total=False):
    """The settings of `backbeam.preprocess`."""


class ValidateSettings(BeamSettings, CallSettings, total=False):
    """The settings of `backbeam.validate`."""


class TrainSettings(TrainingSettings, MachineSettings, CallSettings, total=False):
    """The settings of `backbeam.train`."""


class EvaluateSettings(BeamSettings, CallSettings, total=False):
    """The settings of `backbeam.evaluate`."""


class JobSettings(DatasetSettings, TrainingSettings, MachineSettings, BeamSettings, CallSettings, total=False):
    """The settings of `backbeam.run` and `backbeam.retrain`."""
