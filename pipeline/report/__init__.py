"""HTML pages and contact sheets from tables."""
