"""Run `retrain` by a cron expression."""
