"""`python -m promptlearn` is the `promptlearn` command."""

from promptlearn.cli import main

main()
