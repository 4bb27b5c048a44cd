"""What goes in: where data sets come from, and how they are read."""
