"""Data in, decisions out: sources, shards, evaluation, tables and the command line."""
