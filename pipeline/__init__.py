"""Stages from source files to evaluated runs, reports and promotion decisions, and their command line."""
