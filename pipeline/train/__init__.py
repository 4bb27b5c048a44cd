"""Train a network on a data set: parameters, learning curve, checkpoints, and the record of the run."""
