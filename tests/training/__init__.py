"""Tests; they mirror `fasa_cli/`."""
