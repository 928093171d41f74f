"""Numbers out of what test commands print."""

import pytest

from promptlearn.programs.tally import MOST_NAMES, Tally, read_tally

PYTEST = """
...F.s                                                                   [100%]
=========================== short test summary info ============================
FAILED tests/test_a.py::test_one - assert 1 == 2
ERROR tests/test_b.py::test_two
{summary}
"""
UNITTEST = """
F.E
======================================================================
FAIL: test_sums (tests.test_sums.Sums.test_sums)
----------------------------------------------------------------------
ERROR: test_more (tests.test_sums.Sums)
----------------------------------------------------------------------
Ran 4 tests in 0.003s

FAILED (failures=1, errors=1, skipped=1)
"""


@pytest.mark.parametrize(
    "summary",
    [
        "1 failed, 3 passed, 1 skipped, 2 warnings, 1 error in 0.31s",
        "==== 1 failed, 3 passed, 1 skipped, 2 warnings, 1 error in 72.31s (0:01:12) ====",
    ],
)
def test_pytest_s_summary_quiet_or_not(summary: str) -> None:
    names = ("tests/test_a.py::test_one", "tests/test_b.py::test_two")
    assert read_tally(PYTEST.format(summary=summary)) == Tally(3, 2, 1, names)


def test_the_last_summary_counts() -> None:
    assert read_tally("5 passed in 0.10s\n7 passed, 1 xfailed in 0.20s") == Tally(8, 0)


def test_unittest_s_summary() -> None:
    names = ("tests.test_sums.Sums.test_sums", "tests.test_sums.Sums")
    assert read_tally(UNITTEST) == Tally(1, 2, 1, names)
    assert read_tally("Ran 3 tests in 0.1s\n\nOK") == Tally(3, 0)


@pytest.mark.parametrize("text", ["", "all good", "3 passed the exam in a hurry", "Ran 3 tests in 0.1s"])
def test_other_words_tell_no_number(text: str) -> None:
    assert read_tally(text) is None


def test_a_junit_file_comes_first() -> None:
    report = """<?xml version="1.0"?><testsuites><testsuite>
      <testcase classname="t.A" name="a"/><testcase name="b"><skipped/></testcase>
      <testcase classname="t.A" name="c"><error>x</error></testcase></testsuite></testsuites>"""
    assert read_tally("9 passed in 1s", report) == Tally(1, 1, 1, ("t.A.c",))


@pytest.mark.parametrize("report", ["<nothing", "<a/>", '<!DOCTYPE a [<!ENTITY b "c">]><testcase name="&b;"/>'])
def test_what_is_no_such_file_is_passed_over(report: str) -> None:
    assert read_tally("9 passed in 1.00s", report) == Tally(9, 0)


def test_names_are_bounded() -> None:
    lines = [f"FAILED tests/t.py::test_{number}" for number in range(200)]
    tally = read_tally("\n".join([*lines, "200 failed in 1.00s"]))
    assert tally is not None
    assert (tally.failed, len(tally.names)) == (200, MOST_NAMES)
