"""What comes out: the tables, what is worked out for them, and reading them back."""
