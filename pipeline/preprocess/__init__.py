"""From blocks to a data set: TFRecord shards and a manifest, validated."""
