"""From a run to tables of its answers and metrics; predictions for other pictures."""
