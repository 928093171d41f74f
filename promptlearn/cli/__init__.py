"""The `promptlearn` command. Modules are imported by the command that needs them, so that `--help` is instant."""

from promptlearn.cli.main import main

__all__ = ["main"]
