"""From a data set to a run: parameters, learning curve, checkpoints."""
