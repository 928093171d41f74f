"""A coding agent that is a script: it does what AGENTS.md says, and where that says nothing, what comes to mind.

    python agent.py < example.json        in a copy of the repository

It asks no model and needs no network, so that the example runs anywhere and gives the same every time. Like the real
ones it is not perfect: of ten times that a rule applies it forgets it about once, and of two rules that contradict each
other it follows the later one.
"""

import json
import os
import re
import sys
import zlib
from collections import namedtuple
from pathlib import Path

RULES = {
    "logging": r"\blogging\b",
    "hints": r"\btype hints?\b",
    "cents": r"\bwhole cents\b",
    "test": r"\bcomes with a test\b",
    "encoding": r"\butf-8\b",
}

Task = namedtuple("Task", "text function argument path")


def read_task(text: str) -> Task:
    function, argument = re.search(r"`(\w+)\((\w+)\)`", text).groups()
    return Task(text, function, argument, re.search(r"parcels/\w+\.py", text)[0])


def read_rules(text: str, task: Task) -> set[str]:
    """The rules that it sees and does not forget."""
    found = {name for name, pattern in RULES.items() if re.search(pattern, text, re.IGNORECASE)}
    raises = max((at.start() for at in re.finditer(r"\bValueError\b", text)), default=-1)
    returns = max((at.start() for at in re.finditer(r"\breturn `?None\b", text, re.IGNORECASE)), default=-1)
    if raises > returns:
        found.add("raise")
    return {name for name in found if zlib.crc32(f"{name} {task.text}".encode()) % 10}  # else it forgets it


def write_module(task: Task, rules: set[str]) -> tuple[str, str]:
    """The file with the function, and the argument of a call that works."""
    takes, returns, body, sample = write_body(task, rules)
    hints = "hints" in rules
    signature = f"{task.argument}: {takes}" if hints else task.argument
    say = '_log.debug("%s", result)' if "logging" in rules else "print(result)"
    head = ["import logging", "", "_log = logging.getLogger(__name__)", "", ""] if "logging" in rules else []
    lines = [
        *head,
        f"def {task.function}({signature}){f' -> {returns}' if hints else ''}:",
        *(f"    {line}" for line in body),
        f"    {say}",
        "    return result",
    ]
    return "\n".join(lines) + "\n", sample


def write_body(task: Task, rules: set[str]) -> tuple[str, str, list[str], str]:
    """Types of argument and result, the lines that make `result`, and an argument that works."""
    name, text = task.argument, task.text
    no = f'raise ValueError(f"{task.function}: {{{name}!r}}")' if "raise" in rules else "return None"
    if pairs := re.findall(r"\b([A-Z]{2}) (?:goes to|to|is|means) (\w+)", text):
        table = ", ".join(f'"{key}": "{value}"' for key, value in pairs)
        body = [f"table = {{{table}}}", f"if {name} not in table:", f"    {no}", f"result = table[{name}]"]
        return "str", "str", body, f'"{pairs[0][0]}"'
    if len(amounts := re.findall(r"\b\d+\.\d\d\b", text)) == 2:
        first, further = (round(float(amount) * 100) for amount in amounts)
        sums = (
            f"{first} + {further} * ({name} - 1)" if "cents" in rules else f"{amounts[0]} + {amounts[1]} * ({name} - 1)"
        )
        kind = "int" if "cents" in rules else "float"
        return "int", kind, [f"if {name} < 1:", f"    {no}", f"result = {sums}"], "1"
    if sample := re.search(r"`([\d.]+) (\w+)`", text):
        unit = sample[2]
        body = [
            f'number, _, unit = {name}.strip().partition(" ")',
            f'if unit != "{unit}" or not number.replace(".", "", 1).isdigit():',
            f"    {no}",
            "result = float(number)",
        ]
        return "str", "float", body, f'"{sample[0].strip("`")}"'
    encoding = ', encoding="utf-8"' if "encoding" in rules else ""
    body = [
        f"with open({name}{encoding}) as stream:",
        "    result = [line.strip() for line in stream if line.strip()]",
        "if not result:",
        f"    {no}",
    ]
    return "str", "list[str]", body, "__file__"


def write_test(task: Task, sample: str) -> str:
    module = task.path.removesuffix(".py").replace("/", ".")
    return (
        f"import unittest\n\nfrom {module} import {task.function}\n\n\n"
        f"class {task.function.title().replace('_', '')}(unittest.TestCase):\n"
        f"    def test_{task.function}(self) -> None:\n"
        f"        self.assertIsNotNone({task.function}({sample}))\n"
    )


def main() -> None:
    task = read_task(json.load(sys.stdin)["inputs"]["task"])
    rules = read_rules(Path(os.environ["PROMPTLEARN_PROMPT"]).read_text(encoding="utf-8"), task)
    text, sample = write_module(task, rules)
    files = {task.path: text}
    if "test" in rules:
        files[f"tests/test_{task.function}.py"] = write_test(task, sample)
    for path, content in files.items():
        Path(path).write_text(content, encoding="utf-8")
        call = {"name": "write_file", "arguments": {"path": path}, "result": f"{len(content)} characters written"}
        print(json.dumps({"turn": {"content": f"I write {path}.", "tool_calls": [call]}}))
    print(json.dumps({"usage": {"cost_usd": 0}, "output": f"{task.function} is in {task.path}."}))


if __name__ == "__main__":
    main()
