"""Which run is the champion, how it came to be, and when a challenger takes its place."""
