"""Data sets that exist, forgeries made on the fly, and training transforms."""
