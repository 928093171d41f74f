"""What a test command found: numbers and names out of what pytest, unittest or a JUnit file say.

Knows text; runs nothing. The exit code says whether the tests passed; numbers are for people and for partial scores,
and are missing where nobody printed any.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from xml.etree import ElementTree

LARGEST_REPORT = 10_000_000
"""Characters of a JUnit file."""
MOST_NAMES = 50

_PYTEST_LINE = re.compile(r"^(?:=+ )?((?:\d+ [a-z]+(?:, )?)+) in [\d.]+s\b.*$", re.MULTILINE)
_PYTEST_COUNT = re.compile(r"(\d+) (passed|failed|errors?|skipped|xfailed|xpassed)\b")
_PYTEST_NAME = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)
_UNITTEST_RAN = re.compile(r"^Ran (\d+) tests? in ", re.MULTILINE)
_UNITTEST_COUNT = re.compile(r"(failures|errors|skipped|unexpected successes)=(\d+)")
_UNITTEST_END = re.compile(r"^(?:OK|FAILED|NO TESTS RAN)\b(.*)$", re.MULTILINE)
_UNITTEST_NAME = re.compile(r"^(?:FAIL|ERROR): (\S+)(?: \(([^)\s]+)\))?", re.MULTILINE)
_DOCTYPE = re.compile(r"<!(?:DOCTYPE|ENTITY)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Tally:
    """How many tests ended how, and the names of those that failed."""

    passed: int
    failed: int
    """Errors included."""
    skipped: int = 0
    names: tuple[str, ...] = ()


def read_tally(output: str, junit: str | None = None) -> Tally | None:
    """From a JUnit file where there is one, else from the last summary in the output; None where neither tells."""
    found = _from_junit(junit) if junit is not None else None
    return found or _from_pytest(output) or _from_unittest(output)


def _from_pytest(output: str) -> Tally | None:
    lines = _PYTEST_LINE.findall(output)
    counts = {kind: int(number) for number, kind in _PYTEST_COUNT.findall(lines[-1])} if lines else {}
    if not counts:
        return None
    return Tally(
        passed=counts.get("passed", 0) + counts.get("xfailed", 0),
        failed=sum(counts.get(kind, 0) for kind in ("failed", "error", "errors", "xpassed")),
        skipped=counts.get("skipped", 0),
        names=_names(_PYTEST_NAME.findall(output)),
    )


def _from_unittest(output: str) -> Tally | None:
    ran, ends = _UNITTEST_RAN.findall(output), _UNITTEST_END.findall(output)
    if not ran or not ends:
        return None
    counts = {kind: int(number) for kind, number in _UNITTEST_COUNT.findall(ends[-1])}
    failed = counts.get("failures", 0) + counts.get("errors", 0) + counts.get("unexpected successes", 0)
    skipped = counts.get("skipped", 0)
    names = [f"{place}" if place else name for name, place in _UNITTEST_NAME.findall(output)]
    return Tally(max(0, int(ran[-1]) - failed - skipped), failed, skipped, _names(names))


def _from_junit(text: str) -> Tally | None:
    """None for what is no such file; a document type is refused, as its entities can grow without end."""
    if len(text) > LARGEST_REPORT or _DOCTYPE.search(text):
        return None
    try:
        cases = list(ElementTree.fromstring(text).iter("testcase"))  # noqa: S314 - no document type, so no entities
    except ElementTree.ParseError:
        return None
    bad = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    skipped = sum(1 for case in cases if case.find("skipped") is not None)
    names = [".".join(filter(None, (case.get("classname"), case.get("name")))) for case in bad]
    return Tally(len(cases) - len(bad) - skipped, len(bad), skipped, _names(names)) if cases else None


def _names(found: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(found))[:MOST_NAMES]
