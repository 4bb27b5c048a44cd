"""Looking after what is there: verify, repair, make again, compare."""
