"""What a command says on its standard output, and what is made of it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptlearn.programs.protocol import KEYS, read_report
from promptlearn.records import Failure, ToolCall, Turn, Usage


def test_plain_text_is_the_output() -> None:
    report = read_report('I did it.\n\n{not json}\n{"other": 1}\n')
    assert report.output == 'I did it.\n\n{not json}\n{"other": 1}'
    assert (report.turns, report.usage, report.stop_reason, report.error) == ((), None, "", None)


def test_the_last_output_counts_and_other_lines_do_not() -> None:
    report = read_report('starting\n{"output": "one"}\n{"output": {"two": [2]}}\nbye\n')
    assert report.output == '{"two": [2]}'


def test_an_output_may_be_one_object_over_several_lines() -> None:
    assert read_report(json.dumps({"output": "x", "stop_reason": "max_turns"}, indent=2)).output == "x"
    assert read_report('{"output": null}').output == "null"


def test_turns_usage_and_the_reason_to_stop() -> None:
    report = read_report(
        '{"turn": "I look around."}\n'
        '{"turn": {"role": "user", "content": "go on"}, "usage": {"input_tokens": 5, "cost_usd": 0.5}}\n'
        '{"turn": {"tool_calls": [{"name": "ls", "arguments": {"path": "."}, "result": "a b"}]}}\n'
        '{"usage": {"output_tokens": 2, "cost_usd": 0.25}, "stop_reason": "max_turns"}\n'
        "that is all\n"
    )
    assert report.turns == (
        Turn("assistant", "I look around."),
        Turn("user", "go on"),
        Turn("assistant", "", (ToolCall("ls", {"path": "."}, "a b"),)),
    )
    assert report.usage == Usage(calls=1, input_tokens=5, output_tokens=2, cost_usd=0.75)
    assert (report.stop_reason, report.output) == ("max_turns", "that is all")


def test_a_cost_that_one_line_leaves_out_is_unknown() -> None:
    usage = read_report('{"usage": {"input_tokens": 5}}\n{"usage": {"cost_usd": 1}}').usage
    assert usage == Usage(calls=1, input_tokens=5, cost_usd=None)


@pytest.mark.parametrize(
    ("line", "failure"),
    [
        ('{"error": "no model"}', Failure("program", "no model")),
        ('{"error": {"kind": "rate_limit", "message": "429"}}', Failure("rate_limit", "429")),
        ('{"error": {"kind": "gremlins", "message": "?"}}', Failure("program", "?")),
    ],
)
def test_an_error_is_a_failure_of_a_known_kind(line: str, failure: Failure) -> None:
    assert read_report(line).error == failure


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('ok\n{"turn": {"text": "x"}}', "line 2 of its output: turn.text: Extra inputs"),
        ('{"usage": {"input_tokens": -1}}', "line 1 of its output: usage.input_tokens"),
        ('{"output": "x", "outputs": "y"}', "line 1 of its output: outputs: Extra inputs"),
        ('{"turn": 3}', "line 1 of its output: turn"),
    ],
)
def test_a_mistake_is_named_with_its_line(text: str, where: str) -> None:
    with pytest.raises(ValueError, match=where):
        read_report(text)


@given(st.text())
def test_any_text_without_a_key_is_an_output(text: str) -> None:
    if any(f'"{key}"' in text for key in KEYS):
        return
    assert read_report(text).output == "\n".join(text.splitlines()).strip()


def test_a_deep_object_is_text() -> None:
    deep = '{"output": ' + "[" * 100_000
    assert read_report(deep).output == deep
