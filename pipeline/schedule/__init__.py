"""Run `retrain` by a cron expression: due times, the loop, the child process, the state and health files."""
