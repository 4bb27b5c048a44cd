"""Names that other libraries and books have for settings and options, for messages about unknown ones."""

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
    "keep_prob": ("dropout",),
    "drop_rate": ("dropout",),
    "cost": ("loss",),
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
    "outdir": ("workspace",),
    "output_dir": ("workspace",),
}
