"""Champion and challenger: which run is in use, and when another replaces it."""
