"""The tests of the repository, and of the task: does the new function do what was asked, and refuse what it should?

Runs in the copy that the agent has worked in, after it. It alone is told what the function should return.
"""

import importlib
import json
import os
import sys
import unittest
from pathlib import Path
from typing import Any, ClassVar


class Acceptance(unittest.TestCase):
    wanted: ClassVar[dict[str, Any]] = {}

    def setUp(self) -> None:
        self.function = getattr(importlib.import_module(self.wanted["module"]), self.wanted["function"])

    def test_it_returns_what_was_asked(self) -> None:
        self.assertEqual(self.function(self.argument("given")), self.wanted["returns"])

    def test_it_refuses_bad_input_by_name(self) -> None:
        with self.assertRaises(ValueError) as raised:
            self.function(self.argument("refuses"))
        self.assertTrue(str(raised.exception))

    def argument(self, key: str) -> Any:
        """The argument of the call; where the function reads a file, one with these lines."""
        if not self.wanted.get("reads_file"):
            return self.wanted[key]
        path = Path(os.environ["TMPDIR"], "read_this.txt")
        path.write_text(self.wanted[key], encoding="utf-8")
        return str(path)


def main() -> None:
    sys.path.insert(0, str(Path.cwd()))
    Acceptance.wanted = json.loads(Path(os.environ["PROMPTLEARN_EXAMPLE"]).read_text(encoding="utf-8"))["expected"]
    loader = unittest.defaultTestLoader
    suite = unittest.TestSuite([loader.discover("tests", top_level_dir="."), loader.loadTestsFromTestCase(Acceptance)])
    sys.exit(not unittest.TextTestRunner(buffer=True).run(suite).wasSuccessful())


if __name__ == "__main__":
    main()
