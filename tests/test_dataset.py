"""Datasets: any usual table gives the same examples in the same splits (invariant 5), or one clear line."""

import csv
import datetime
import io
import json
import random
import subprocess
import sys
import time
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptlearn.dataset import Dataset, find_leaks, load_columns, load_dataset
from promptlearn.errors import DataError
from promptlearn.records import SPLITS

LABELS = ("billing", "other", "shipping")
ROWS: list[dict[str, Any]] = [
    {"message": f'message {n}, with "quotes",\nlines, ünïcode & {{braces}}', "label": LABELS[n % 3], "tier": n % 5}
    for n in range(120)
]


def load(source: Any, **options: Any) -> Dataset:
    return load_dataset(source, **{"inputs": ["message"], "expected": "label", **options})


def write_csv(path: Path, rows: list[dict[str, Any]], encoding: str = "utf-8", delimiter: str = ",") -> Path:
    with path.open("w", encoding=encoding, newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def ids(data: Dataset) -> dict[str, list[str]]:
    return {name: [example.id for example in data.split(name)] for name in SPLITS}


def problem(source: Any, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        load(source, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_format_gives_the_same_splits(tmp_path: Path) -> None:
    """Invariant 5: independent of file format and of row order."""
    shuffled = random.Random(1).sample(ROWS, len(ROWS))
    frame = pd.DataFrame(shuffled)
    lines = "".join(json.dumps(row) + "\n\n" for row in shuffled)
    (tmp_path / "rows.jsonl").write_text(lines)
    (tmp_path / "rows.json").write_text(json.dumps(shuffled), encoding="utf-8-sig")
    pq.write_table(pa.Table.from_pandas(frame), tmp_path / "rows.parquet")
    sources = [
        write_csv(tmp_path / "rows.csv", ROWS),
        str(write_csv(tmp_path / "marked.csv", shuffled, "utf-8-sig")),
        write_csv(tmp_path / "german.csv", shuffled, delimiter=";"),
        write_csv(tmp_path / "rows.tsv", shuffled, delimiter="\t"),
        *(tmp_path / name for name in ("rows.jsonl", "rows.json", "rows.parquet")),
        frame,
        iter(shuffled),
    ]
    expected = load(ROWS, inputs=["message", "tier"])
    for source in sources:
        data = load(source, inputs=["message", "tier"])
        assert ids(data) == ids(expected)
        assert [e.inputs["message"] for e in data.examples] == [e.inputs["message"] for e in expected.examples]
        assert data.labels == LABELS
        assert data.variables == ("message", "tier")
    assert set(expected.columns) == {"message", "label", "tier"}


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 400), min_size=60, max_size=120, unique=True), st.randoms())
def test_a_row_keeps_its_split_whatever_stands_beside_it(numbers: list[int], chance: random.Random) -> None:
    """Invariant 5: a split is a function of the row's key."""
    rows = [{"message": f"m{n}", "label": "x"} for n in numbers]
    whole = {e.id: name for name in SPLITS for e in load(rows).split(name)}
    chance.shuffle(rows)
    part = load(rows[10:])
    assert all(whole[example.id] == name for name in SPLITS for example in part.split(name))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 10_000)), min_size=90, max_size=150, unique=True))
def test_a_group_is_in_one_split(pairs: list[tuple[int, int]]) -> None:
    """Invariant 5."""
    rows = [{"message": f"m{n}", "label": "x", "who": f"c{g}"} for g, n in pairs]
    data = load(rows, group="who", limit={"train": 7, "test": 3})
    groups = [{example.group for example in data.split(name)} for name in SPLITS]
    assert sum(map(len, groups)) == len(set.union(*groups))
    assert len(data.train) <= 7
    assert find_leaks(data) == [] or all(leak.kind == "inputs" for leak in find_leaks(data))


def test_shares_are_kept_about() -> None:
    rows = [{"message": f"m{n}", "label": "x"} for n in range(4000)]
    data = load(rows)
    assert len(data.train) == pytest.approx(1600, abs=100)
    assert len(data.validation) == pytest.approx(1200, abs=100)
    halves = load(rows, split={"train": 0.5, "test": 0.5})
    assert len(halves.validation) == 0
    assert len(halves.test) == pytest.approx(2000, abs=100)


def test_a_limit_takes_the_first_of_the_fixed_order() -> None:
    whole, part = load(ROWS), load(ROWS, limit={"validation": 5})
    assert part.validation == whole.validation[:5]
    assert part.train == whole.train
    assert whole.digest == load(ROWS[::-1]).digest != part.digest


def test_columns_become_fields() -> None:
    rows = [
        {"No": n, "Customer message": f"m{n}", "Answer": "x", "who": 7.0, "lang": "de", "note": None, "junk": object}
        for n in range(30)
    ]
    data = load_dataset(
        rows,
        inputs={"message": "Customer message"},
        expected="Answer",
        group=None,
        id="No",
        metadata=["note", "who"],
        domain="lang",
    )
    example = next(e for e in data.examples if e.id == "3")
    assert example.inputs == {"message": "m3"}
    assert (example.expected, example.domain, example.metadata) == ("x", "de", {"note": None, "who": 7.0})


def test_without_inputs_every_other_column_is_one() -> None:
    data = load(ROWS, inputs=None, metadata=["tier"])
    assert data.variables == ("message",)
    frame = load(pd.DataFrame(ROWS), inputs=None)
    assert frame.variables == ("message", "tier")
    assert "key 'late' is new" in problem(
        [{"message": "a", "label": "b"}, {"message": "c", "label": "d", "late": 1}], inputs=None
    )


def test_columns_are_known_without_reading_the_rows(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("message,label\na,b\nragged\n")
    assert load_columns(tmp_path / "a.csv") == ("message", "label")
    assert load_columns(ROWS) == ("message", "label", "tier")
    with pytest.raises(DataError, match="no rows"):
        load_columns([])


def test_values_become_json() -> None:
    stamp = pd.Timestamp("2024-05-06T07:08:09")
    cells: list[tuple[object, object]] = [
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (float("nan"), None),
        (pd.NaT, None),
        (pd.NA, None),
        (np.bool_(True), True),
        (np.array([1, 2]), [1, 2]),
        (stamp, "2024-05-06T07:08:09"),
        (datetime.date(2024, 5, 6), "2024-05-06"),
        (np.datetime64("2024-05-06"), "2024-05-06"),
        (Decimal("1.10"), "1.10"),
        (b"caf\xc3\xa9", "café"),
        ({"a": (1, None)}, {"a": [1, None]}),
        (np.str_("x"), "x"),
    ]
    rows = [{"message": f"m{n}", "label": "x", "cell": cells[n % len(cells)][0]} for n in range(5 * len(cells))]
    data = load(rows, metadata=["cell"])
    found = {e.inputs["message"]: e.metadata["cell"] for e in data.examples}
    assert [found[f"m{n}"] for n in range(len(cells))] == [value for _, value in cells]
    json.dumps([dict(e.metadata) for e in data.examples], allow_nan=False)
    assert {type(found[f"m{n}"]) for n in range(len(cells))} <= {int, float, bool, str, list, dict, type(None)}


def test_equal_rows_are_one_example() -> None:
    rows = ROWS + ROWS[:7]
    data = load(rows)
    assert len(data.examples) == len(ROWS)
    assert data.duplicates == 7
    assert ids(data) == ids(load(ROWS))
    [warning] = data.warnings
    assert warning.startswith("7 rows are left out, because another row has the same inputs and the same expected")


def test_conflicting_answers_are_kept_and_reported() -> None:
    rows = [*ROWS, {**ROWS[0], "label": "other"}]
    data, again = load(rows), load(rows[::-1])
    (conflict,) = data.conflicts
    assert set(conflict.expected) == {"billing", "other"}
    assert len(set(conflict.ids)) == 2
    assert ids(data) == ids(again)
    assert len(data.examples) == len(ROWS) + 1
    assert any("more than one expected value" in warning for warning in data.warnings)
    assert find_leaks(data) == []


def test_labels_are_few_distinct_texts() -> None:
    assert load(ROWS).labels == LABELS
    assert load([{**row, "label": f"free text {n}"} for n, row in enumerate(ROWS)]).labels == ()
    assert load([{**row, "label": n % 3} for n, row in enumerate(ROWS)]).labels == ()
    assert load(ROWS, expected=None).labels == ()


def test_a_column_can_name_the_splits() -> None:
    names = ("train", "val", "test", "Validation")
    rows = [{**row, "part": names[n % 4]} for n, row in enumerate(ROWS)]
    data = load(rows, split={"column": "part"})
    assert [len(data.split(name)) for name in SPLITS] == [30, 60, 30]
    assert "row 121: column 'part' says 'hold-out'" in problem(
        [*rows, {**rows[0], "part": "hold-out"}], split={"column": "part"}
    )
    straddling = load([*rows, {**rows[0], "part": "test"}], split={"column": "part"})
    assert len(straddling.test) == 31
    assert len(straddling.train) == 29
    assert any("stood in two splits" in warning for warning in straddling.warnings)


def test_small_splits_are_a_warning() -> None:
    assert load(ROWS).warnings == ()
    assert any(w.startswith("validation has") for w in load(ROWS[:40]).warnings)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": {"train": 0.5, "validation": 0.6, "test": 0.1}}, "add up to 1.2"),
        ({"split": {"train": 0.5, "validation": 0.5}}, "test is 0"),
        ({"split": {"train": 0.5, "dev": 0.5}}, "unknown key 'dev'"),
        ({"split": {"train": 2, "test": -1}}, "not a share"),
        ({"split": {"column": "part"}}, "no key 'part'|no column 'part'"),
        ({"limit": {"dev": 1}}, "unknown split 'dev'"),
        ({"limit": {"test": 0}}, "not a number of rows"),
        ({"inputs": "message"}, "write .message."),
        ({"inputs": ["massage"]}, "row 1: no column 'massage'; columns: message, label, tier; did you mean 'message'"),
        ({"inputs": []}, "no column is left"),
        ({"id": "tier"}, "row 6: column 'tier': '0' has other inputs in row 1"),
    ],
)
def test_wrong_options_are_one_line(options: Mapping[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(ROWS, **options)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "", "a.csv: the file is empty"),
        ("a.csv", "message,label\n", "a.csv: a header but no rows"),
        ("a.csv", "message,label,label\nx,y,z\n", "line 1: column 'label' stands twice"),
        ("a.csv", "message,lable\nx,y\n", "a.csv: no column 'label'; columns: message, lable; did you mean 'lable'?"),
        ("a.csv", 'message,label\n"a\nb",x\n\nc,d,e\n', "a.csv: row 2 (line 5): 3 cells where the header has 2"),
        ("a.csv", 'message,label\na,b\n"open,c\nd,e\n', "a.csv: row 2 (line 3): unexpected end of data"),
        ("a.csv", "message,label\na,b\nc,\n", "a.csv: row 2 (line 3): column 'label' is empty"),
        ("a.jsonl", "\n\n", "a.jsonl: no rows"),
        ("a.jsonl", '{"message": "a", "label": "b"}\n\n[1]\n', "row 2 (line 3): an object was expected, got a list"),
        ("a.jsonl", '{"message": "a", "label": "b"}\n{oops}\n', "row 2 (line 2, column 2): not JSON"),
        ("a.jsonl", '{"message": "a", "label": "b"}\n{"label": "b"}\n', "row 2 (line 2): no column 'message'"),
        (
            "a.jsonl",
            '{"message": "\\ud83d", "label": "b"}\n',
            "row 1 (line 1): column 'message' holds half a surrogate",
        ),
        ("a.jsonl", '{"message": 1e999, "label": "b"}\n', "column 'message' holds an infinite number"),
        ("a.json", '{"rows": []}', "a list of objects was expected, got an object"),
        ("a.json", '[{"message": "a"},\n oops]', "line 2, column 2: not JSON"),
        ("a.json", "[]", "a.json: no rows"),
        ("a.parquet", "PAR1 not", "not Parquet"),
        ("a.xlsx", "x", "can not read '.xlsx' files; possible: .csv"),
    ],
)
def test_wrong_files_are_one_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    assert message in problem(tmp_path / name)


def test_missing_files_are_one_line(tmp_path: Path) -> None:
    assert "no such file" in problem(tmp_path / "none.csv")
    (tmp_path / "folder.csv").mkdir()
    assert "is a folder" in problem(tmp_path / "folder.csv")
    assert "is no table" in problem(5)
    assert "stands twice" in problem(pd.DataFrame([[1, 2]], columns=["message", "message"]))
    assert "row 1: column 'message' holds a object" in problem([{"message": object(), "label": "x"}])
    assert "no row falls into" in problem(ROWS[:1])


def test_other_encodings_are_named_with_row_and_column(tmp_path: Path) -> None:
    rows = [{"message": f"caf\xe9 {n}" if n else "plain", "label": "x"} for n in range(60)]
    latin = write_csv(tmp_path / "latin.csv", rows, "latin-1")
    assert f"{latin}: row 2 (line 3): column 'message': not UTF-8; " in problem(latin)
    assert problem(latin).endswith("save it as UTF-8 or set data.encoding: latin-1")
    assert ids(load(latin, encoding="latin-1")) == ids(load(rows))
    wide = write_csv(tmp_path / "wide.csv", rows, "utf-16")
    assert problem(wide).endswith("data.encoding: utf-16")
    assert ids(load(wide, encoding="utf-16")) == ids(load(rows))
    (tmp_path / "latin.jsonl").write_bytes(b'{"message": "a", "label": "x"}\n{"message": "caf\xe9"}\n')
    assert "line 2, byte 17: not UTF-8" in problem(tmp_path / "latin.jsonl")
    (tmp_path / "latin.json").write_bytes(b'[{"message": "caf\xe9"}]')
    assert "line 1, byte 18: not UTF-8" in problem(tmp_path / "latin.json")
    assert "unknown encoding 'latin-9000'" in problem(latin, encoding="latin-9000")
    (tmp_path / "head.csv").write_bytes(b"message,label,\xe9\na,b,c\n")
    assert "header (line 1): not UTF-8" in problem(tmp_path / "head.csv")


def test_large_cells_load_and_larger_ones_are_refused(tmp_path: Path) -> None:
    rows = [{"message": f"m{n}", "label": "x"} for n in range(60)]
    big = write_csv(tmp_path / "big.csv", [*rows, {"message": "é{x}" * 1_250_000, "label": "x"}])
    assert max(len(e.inputs["message"]) for e in load(big).examples) == 5_000_000
    huge = write_csv(tmp_path / "huge.csv", [*rows, {"message": "x" * 17_000_000, "label": "x"}])
    assert "row 61 (line 62): a cell has more than 16,777,216 characters" in problem(huge)
    assert "row 1: column 'message' holds 17,000,000 characters" in problem(
        [{"message": "x" * 17_000_000, "label": "x"}]
    )


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=5))
def test_cells_are_not_altered(cells: list[str]) -> None:
    """Invariant 12: braces, line ends and Unicode come through; equal cells are one example."""
    rows = [{"message": cell, "label": "x"} for cell in cells] + [{"message": f"m{n}", "label": "x"} for n in range(60)]
    assert {e.inputs["message"] for e in load(rows).examples} >= set(cells)


def test_csv_cells_are_not_altered(tmp_path: Path) -> None:
    """Invariant 12."""
    text = ' a\r\nb\rc\u2028d\x85 "q" {{x}} $1 \ufeff,;\t '
    rows = [{"message": f"m{n}", "label": "x"} for n in range(60)]
    data = load(write_csv(tmp_path / "a.csv", [*rows, {"message": text, "label": "x"}]))
    assert text in {e.inputs["message"] for e in data.examples}


WORDS = [f"word{n}" for n in range(500)]


def sentence(seed: int, count: int = 40) -> list[str]:
    return random.Random(seed).choices(WORDS, k=count)


def test_leaks_between_splits_are_found() -> None:
    """Invariant 5."""
    rows = [{"message": " ".join(sentence(n)), "label": "x", "part": "train", "who": f"a{n}"} for n in range(50)]
    near, same, grouped = sentence(3), sentence(4), sentence(1000)
    near[5] = "another"
    rows += [
        {"message": " ".join(near), "label": "x", "part": "test", "who": "b"},
        {"message": " ".join(same).upper() + " !", "label": "x", "part": "validation", "who": "c"},
        {"message": " ".join(grouped), "label": "x", "part": "test", "who": "a7"},
        {"message": " ".join(sentence(2000)), "label": "x", "part": "test", "who": "d"},
    ]
    data = load(rows, split={"column": "part"}, group="who")
    message = {e.id: e.inputs["message"] for e in data.examples}
    leaks = find_leaks(data)
    assert [leak.kind for leak in leaks] == ["group", "inputs", "near"]
    assert leaks[0].group == "a7"
    assert [message[i] for i in leaks[0].ids] == [rows[7]["message"], rows[52]["message"]]
    assert [message[i] for i in leaks[1].ids] == [rows[4]["message"], rows[51]["message"]]
    assert [message[i] for i in leaks[2].ids] == [rows[3]["message"], rows[50]["message"]]
    assert leaks[2].splits == ("train", "test")
    assert leaks[2].similarity == pytest.approx(35 / 41)
    assert str(leaks[2]).startswith("85% alike: ")


def test_equal_texts_of_different_ids_are_leaks() -> None:
    rows = [{"message": f"text {n % 30} of three words", "label": "x", "no": n} for n in range(60)]
    leaks = find_leaks(load(rows, id="no"))
    assert leaks
    assert {leak.kind for leak in leaks} == {"inputs"}


def test_texts_that_share_a_frame_are_compared_in_bounded_time() -> None:
    frame = " ".join(sentence(1, 60))
    rows = [{"message": f"{frame} {n} {n + 1}", "label": "x"} for n in range(3000)]
    started = time.monotonic()
    find_leaks(load(rows))
    assert time.monotonic() - started < 20


LARGE = """
import resource, sys, time
import promptlearn.dataset
base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
started = time.process_time()
data = promptlearn.dataset.load_dataset(sys.argv[1], inputs=["message"], expected="label", group="who")
seconds = time.process_time() - started
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base) / 1024, seconds, len(data.examples))
print("pandas" in sys.modules, "pyarrow" in sys.modules)
"""


def test_a_hundred_thousand_rows_load_in_bounded_memory(tmp_path: Path) -> None:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["message", "label", "who"])
    writer.writerows((f"Where is my parcel number {n}?", LABELS[n % 3], n % 5000) for n in range(100_000))
    path = tmp_path / "large.csv"
    path.write_text(text.getvalue())
    done = subprocess.run([sys.executable, "-c", LARGE, str(path)], capture_output=True, text=True, check=True)
    megabytes, seconds, count, *imported = done.stdout.split()
    assert int(count) == 100_000
    assert float(megabytes) < 250
    assert float(seconds) < 15
    assert imported == ["False", "False"]
