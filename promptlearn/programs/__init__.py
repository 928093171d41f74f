"""What runs a prompt on an example."""

from promptlearn.programs.base import Program, ProgramSource
from promptlearn.programs.chat import ChatProgram

__all__ = ["ChatProgram", "Program", "ProgramSource"]
