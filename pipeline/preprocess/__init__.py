"""Preprocess a source into a data set (TFRecord shards and a manifest), and validate it."""
