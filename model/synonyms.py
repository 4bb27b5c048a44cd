"""Names that other libraries and books have for settings and options, for messages about unknown ones."""

from collections.abc import Iterable
from difflib import get_close_matches

_RATES = ("learning_rate", "weights_rate", "biases_rate")
_DECAY = ("weight_decay",)
_LENGTH = ("epochs", "num_epochs")
_STEPS = ("num_steps",)
_SCHEDULE = ("rate_schedule", "schedule")
_REPLICAS = ("replicas", "num_replicas")

# The names here: those of `TrainingConfig` and those of options, of which a file or a command may have only some.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "lr": _RATES,
    "alpha": _RATES,
    "eta": _RATES,
    "rate": _RATES,
    "learning_rate": _RATES,
    "step_size": _RATES,
    "batch": ("batch_size",),
    "minibatch": ("batch_size",),
    "mini_batch_size": ("batch_size",),
    "bs": ("batch_size",),
    "epoch": _LENGTH,
    "epochs": _LENGTH,
    "max_epochs": _LENGTH,
    "passes": _LENGTH,
    "steps": _STEPS,
    "iterations": _STEPS,
    "updates": _STEPS,
    "max_steps": _STEPS,
    "l2": _DECAY,
    "lambda": _DECAY,
    "lmbda": _DECAY,
    "decay": _DECAY,
    "regularization": _DECAY,
    "nesterov": ("momentum",),
    "optimizer": ("momentum",),
    "velocity": ("momentum",),
    "drop_rate": ("dropout",),
    "cost": ("loss",),
    "cost_function": ("loss",),
    "loss_function": ("loss",),
    "criterion": ("loss",),
    "objective": ("loss",),
    "nonlinearity": ("activation",),
    "transfer": ("activation",),
    "init": ("start",),
    "initializer": ("start",),
    "initialization": ("start",),
    "scheduler": _SCHEDULE,
    "lr_schedule": _SCHEDULE,
    "lr_scheduler": _SCHEDULE,
    "rate_schedule": _SCHEDULE,
    "hidden": ("layers",),
    "units": ("layers",),
    "sizes": ("layers",),
    "architecture": ("layers",),
    "random_state": ("seed",),
    "dtype": ("precision",),
    "replicas": _REPLICAS,
    "data": ("dataset",),
    "gpu": ("device",),
    "gpus": ("device",),
    "outdir": ("workspace",),
    "output_dir": ("workspace",),
}


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint that names the known names of the same meaning, else the closest, or an empty text.

    Names of options are compared without their leading dashes, and with underscores for the others.
    """
    names = {_normalize(each): each for each in known}
    same = [word for word in SYNONYMS.get(_normalize(name), ()) if word in names]
    found = same or get_close_matches(_normalize(name), names, n=1)
    return f" (did you mean {' or '.join(repr(names[word]) for word in found)}?)" if found else ""


def _normalize(name: str) -> str:
    return name.lstrip("-").replace("-", "_").lower()
