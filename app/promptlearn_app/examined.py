"""How far a judge can be trusted: its noise, its agreement with people, what fooled it, and what aligning it brought.

Shows what the commands `promptlearn judge …` have left in the store, and names the command where there is nothing yet.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import streamlit as st

from promptlearn import charts as draw
from promptlearn.dashboard import desk
from promptlearn.records import Json, as_text
from promptlearn.report import SCORE
from promptlearn_app import charts, downloads, reads, safe, words
from promptlearn_app.labelling import settle_form

if TYPE_CHECKING:
    from promptlearn.report import Examined
    from promptlearn.store.judge_rows import JudgeCheck

CASES = 3
"""Disagreements on a page."""
QUOTES = 3
KINDS = {"noise": "noise", "agreement": "agreement with people", "canary": "canaries", "alignment": "alignment"}


def examinations(names: Sequence[str]) -> None:
    """One judge at a time: those of the run, and others that were examined in this store."""
    st.subheader("How far to trust them")
    found = {one.judge: one for one in reads.examinations()}
    every = [*names, *sorted((name for name in found if name not in names), key=lambda name: name == SCORE)]
    first = next((name for name in every if name in found), every[0])
    name = st.selectbox(
        "Judge", every, index=every.index(first), format_func=lambda name: _called(name), key="examined_judge"
    )
    one = found.get(name)
    if one is None:
        safe.empty(
            f"{name} was not examined yet",
            "These commands say how far it can be trusted, and what they find is shown here. Noise and alignment are "
            "for judges that are language models: a judge by code says the same every time.",
            "\n".join(_command(kind, name, 0) for kind in KINDS),
        )
        return
    if name != SCORE:
        _cards(one)
    for kind, show in _SECTIONS.items():
        check: JudgeCheck | None = getattr(one, kind)
        if check is not None:
            safe.heading(KINDS[kind].capitalize())
            show(one, check)
        elif name != SCORE:
            safe.empty(f"No {KINDS[kind]} yet", _WANTED[kind], _command(kind, name, one.labels))
    _earlier(name)
    if one.agreement is not None:
        safe.heading(f"Where {name} and people differ")
        _cases(one, one.agreement.body)


def _called(name: str) -> str:
    return "The score of all judges together" if name == SCORE else name


def _command(kind: str, name: str, labels: int) -> str:
    """What examines a judge; without labels in the store, people's have to come from a table."""
    judge = f"--judge {shlex.quote(name)}"
    table = "" if labels else " --labels labels.csv"
    return {
        "noise": "promptlearn judge noise",
        "agreement": f"promptlearn judge calibrate {judge}{table}",
        "canary": f"promptlearn judge canary {judge}",
        "alignment": f"promptlearn judge align {judge}{table}",
    }[kind]


_WANTED = {
    "noise": "How often it changes its mind about the same answer. A judge by code never does.",
    "agreement": "How far it says what people say who answer its question.",
    "canary": "Whether a bad output can talk it into passing.",
    "alignment": "Whether its own prompt can be made to agree better, where it is a language model.",
}


def _cards(one: Examined) -> None:
    labels = (("noise", "Flips"), ("agreement", "Kappa"), ("canary", "Fooled by"), ("alignment", "Aligned"))
    for column, (kind, label) in zip(st.columns(4), labels, strict=True):
        check: JudgeCheck | None = getattr(one, kind)
        column.metric(label, _figure(check) if check else words.NONE, border=True, help=_WANTED[kind])


def _figure(check: JudgeCheck) -> str:
    """An examination as one figure."""
    body = check.body
    if check.kind == "noise":
        return words.share(body["flip_rate"])
    if check.kind == "agreement":
        return _two(body["kappa"])
    if check.kind == "canary":
        return f"{body['fooled']} of {_trials(body)}"
    before, after = (body["held_out"][when]["kappa"] for when in ("before", "after"))
    return words.NONE if before is None or after is None else f"{after - before:+.2f}"


def _two(value: float | None) -> str:
    return words.NONE if value is None else f"{value:.2f}"


def _noise(one: Examined, check: JudgeCheck) -> None:
    body = check.body
    floors = [
        (f"Noise floor on {words.plural(floor['rows'], f'{split} row')}", words.score(floor["difference"]))
        for split, floor in body["floor"].items()
    ]
    failed = body.get("not_judged", 0)
    safe.facts(
        [
            ("Flip rate", _flips(body["flip_rate"])),
            ("Judge's share of the variance", words.share(body["judge_share"])),
            *floors,
            ("Measured on", f"{body['judgements']} judgements of {words.plural(body['rollouts'], 'answer')}"),
            *([("Not judged", f"{failed}; in no figure")] if failed else []),
            _when(check),
        ]
    )
    safe.note("A smaller difference of two mean scores than the noise floor may be the judge's mood alone.")


def _flips(rate: float | None) -> str:
    if rate is None:
        return "not known: no answer was judged twice"
    return f"{words.share(rate)} of pairs of judgements of the same answer"


def _agreement(one: Examined, check: JudgeCheck) -> None:
    body = check.body
    unjudged = [("Not judged", f"{body['not_judged']}; in no figure")] if body["not_judged"] else []
    agreed = f"{words.share(body['observed'])} of {words.plural(body['n'], 'label')}"
    safe.facts([("Cohen's kappa", _kappa(body)), ("Agree", agreed), *unjudged, _when(check)])
    spec = draw.confusion(body["confusion"])
    if spec is not None:
        charts.show(spec, f"confusion-{one.judge}", "confusion")


def _kappa(body: Json) -> str:
    if body["kappa"] is None:
        return "undefined where only one label is used" if body["n"] else "no label"
    low, high = body["ci95"]
    return f"{_two(body['kappa'])}, 95 % interval {low:.2f} to {high:.2f}"


def _cases(one: Examined, body: Json) -> None:
    """Where people and the judge differ, a page of it; what is still to be settled comes first."""
    cases = sorted(body["disagreements"], key=lambda case: case["item"] in one.settled)
    if not cases:
        safe.note("The judge gave every output the label that people gave it.")
        return
    left = sum(case["item"] not in one.settled for case in cases)
    safe.note(f"{words.plural(len(cases), 'disagreement')}, {left} to settle.")
    key = f"cases_{one.judge}"
    number = int(st.session_state.get(key, 1))
    for case in cases[(number - 1) * CASES : number * CASES]:
        _case(one, case, body["labels"])
    if len(cases) > CASES:
        st.pagination(-(-len(cases) // CASES), key=key)


def _case(one: Examined, case: Json, labels: Sequence[str]) -> None:
    item = case["item"]
    with st.container(border=True, key=f"case-{item}"):
        expected = [] if case["expected"] is None else [("Expected", words.cut(as_text(case["expected"]), 300))]
        inputs = [(name, words.cut(as_text(value), 300)) for name, value in case["inputs"].items()]
        safe.facts([*inputs, *expected, ("Output", words.cut(case["output"], 600))])
        left, right = st.columns(2)
        with left:
            safe.quote(case["human_words"] or "no words", f"a person says {case['human']}")
        with right:
            safe.quote(case["judge_words"] or "no words", f"the judge says {case['judge']}")
        settled = one.settled.get(item)
        if settled is not None:
            who = settled.person or "somebody"
            safe.good(f"{who} settled it as {settled.label}. The next calibration counts that.")
            if settled.explanation:
                safe.quote(settled.explanation, who)
        with st.expander("Change it" if settled else "Settle it"):
            settle_form(one.judge, item, labels)


def _canaries(one: Examined, check: JudgeCheck) -> None:
    import pandas as pd

    body = check.body
    if body["blind"]:
        seen = words.plural(len(body["blind"]), "example")
        safe.warn(f"It passes every bad output that was tried on {seen}: there it tells nothing apart.")
    if body["unjudged"]:
        safe.warn(f"It judged no bad output on {words.plural(len(body['unjudged']), 'example')}: {body['trouble']}")
    fooled = [canary["name"] for canary in body["canaries"] if canary["fooled"]]
    tried = _trials(body)
    which = f"{body['fooled']} of {words.plural(tried, 'trial')}" + (f": {', '.join(fooled)}" if fooled else "")
    safe.facts([("Fooled by", which if tried else "nothing was tried"), _when(check)])
    if not tried:
        return
    frame = pd.DataFrame(
        {
            "Canary": canary["name"],
            "It": canary["what"],
            "Fooled": canary["fooled"],
            "Raised": canary["raised"],
            "Held": canary["held"],
            "Not judged": canary["not_judged"],
        }
        for canary in sorted(body["canaries"], key=lambda canary: (-canary["fooled"], -canary["raised"]))
    )
    with st.expander("Every canary", expanded=bool(fooled)):
        st.dataframe(
            frame,
            hide_index=True,
            key="canaries_table",
            height=250,
            column_config={
                "Fooled": st.column_config.NumberColumn(help="The bad output passed"),
                "Raised": st.column_config.NumberColumn(help="It did not pass, and scored more than without it"),
            },
        )
        downloads.table(frame, f"canaries-{one.judge}", "canaries")
        for case in [case for case in body["cases"] if case["outcome"] == "fooled"][:QUOTES]:
            safe.quote(case["explanation"] or "no words", f"the judge, fooled by {case['canary']}")


def _trials(body: Json) -> int:
    return sum(int(body[outcome]) for outcome in ("fooled", "raised", "held", "not_judged"))


def _alignment(one: Examined, check: JudgeCheck) -> None:
    body = check.body
    before, after = body["held_out"]["before"], body["held_out"]["after"]
    safe.facts(
        [
            ("What came of it", words.DECISIONS.get(body["decision"], body["decision"])),
            ("Kappa before", _kappa(before)),
            ("Kappa after", _kappa(after)),
            ("Held-out labels", after["n"]),
            ("Learned judge", desk.at_home(body["path"])),
            ("Run", body["run_id"]),
            _when(check),
        ]
    )


def _when(check: JudgeCheck) -> tuple[str, str]:
    """Of what an examination is, and of when."""
    return "Examined", f"{words.day(check.at)}, {check.source or 'all judges'}"


def _earlier(name: str) -> None:
    """All examinations of a judge, where there are more than are shown above."""
    import pandas as pd

    kept = reads.examination_history(name)
    if len(kept) == len({check.kind for check in kept}):
        return
    frame = pd.DataFrame(_rows(kept))
    with st.expander("All examinations"):
        st.dataframe(frame, hide_index=True, key="examinations_table")
        downloads.table(frame, f"examinations-{name}", "examinations")


def _rows(kept: Iterable[JudgeCheck]) -> list[dict[str, str]]:
    return [
        {
            "Examined": words.clock(check.at),
            "What": KINDS[check.kind],
            "Judge": check.source or "all judges",
            "Result": _figure(check),
        }
        for check in kept
    ]


_SECTIONS: dict[str, Callable[[Examined, JudgeCheck], None]] = {
    "noise": _noise,
    "agreement": _agreement,
    "canary": _canaries,
    "alignment": _alignment,
}
