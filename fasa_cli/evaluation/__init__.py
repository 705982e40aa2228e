"""Measuring: metrics under named protocols, runs that can be compared, sweeps, and their tables."""
