"""When to retrain, and doing so: due times, what to do next, the child that does the work, and what is kept of it."""
