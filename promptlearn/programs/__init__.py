"""What runs a prompt on an example."""

from promptlearn.programs.base import Program
from promptlearn.programs.chat import ChatProgram

__all__ = ["ChatProgram", "Program"]
