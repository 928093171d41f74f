"""A batch as JUnit XML, for what shows the tests of a CI job: one test case for each experiment.

Knows the report and XML. A case fails where the command does; one that has not ended and need not is skipped.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET  # writes only; nothing from outside is parsed

from promptlearn.experiments.outcome import Outcome
from promptlearn.experiments.report import BatchReport
from promptlearn.result import Measure

_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 can not hold."""


def junit(report: BatchReport) -> bytes:
    """The document, UTF-8."""
    suites = ET.Element("testsuites")
    suite = ET.SubElement(suites, "testsuite", name=_text(f"promptlearn batch {report.name}"))
    cases = [_case(suite, report, outcome) for outcome in report.outcomes]
    suite.set("tests", str(len(cases)))
    for kind, total in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        suite.set(total, str(sum(case == kind for case in cases)))
    suite.set("time", f"{sum(outcome.seconds for outcome in report.outcomes):.3f}")
    ET.indent(suites)
    return bytes(ET.tostring(suites, encoding="utf-8", xml_declaration=True)) + b"\n"


def _case(suite: ET.Element, report: BatchReport, outcome: Outcome) -> str:
    """Adds a case; returns what it came to."""
    case = ET.SubElement(
        suite,
        "testcase",
        classname=_text(report.name),
        name=_text(outcome.name),
        time=f"{outcome.seconds:.3f}",
    )
    kind, message = _verdict(report, outcome)
    if kind != "passed":
        ET.SubElement(case, kind, message=_text(message)).text = _text(message)
    ET.SubElement(case, "system-out").text = _text(_words(report, outcome))
    return kind


def _verdict(report: BatchReport, outcome: Outcome) -> tuple[str, str]:
    if outcome.state == "finished":
        unwanted = report.unwanted(outcome)
        return ("failure", f"{unwanted}: {_scores(outcome)}") if unwanted else ("passed", "")
    message = outcome.error.message if outcome.error else outcome.state
    return ("error" if report.unwanted(outcome) else "skipped"), message


def _words(report: BatchReport, outcome: Outcome) -> str:
    place = report.place(outcome.name)
    parts = [outcome.decision or outcome.state, _scores(outcome)]
    parts += [f"rank {place}"] if place else []
    parts += [f"run {outcome.run}"] if outcome.run else []
    return "; ".join(part for part in parts if part)


def _scores(outcome: Outcome) -> str:
    if outcome.before is None or outcome.after is None:
        return ""
    return f"{_score(outcome.before)} → {_score(outcome.after)} on {outcome.before.n} rows"


def _score(measure: Measure) -> str:
    if measure.score is None:
        return "not judged"
    return f"{measure.score:.3f} ({measure.ci95.low:.3f} to {measure.ci95.high:.3f})"


def _text(text: str) -> str:
    return _NOT_XML.sub("�", text)
