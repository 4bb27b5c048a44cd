"""The registry: which run is the champion, and whether a challenger replaces it."""
