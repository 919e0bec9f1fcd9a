"""Command line: options to settings to the rooms that do the work. Torch and all it brings is imported in commands."""

from .app import app, main

__all__ = ["app", "main"]
