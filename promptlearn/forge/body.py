"""The words of a pull request: title, body in Markdown and commit message. The same winner gives the same text.

Whatever somebody else wrote (rules, rationales, ids, names of models) is sanitised, escaped, and can neither mention a
person nor close an issue (invariant 9). Knows the evidence of a run; nothing about git or a forge's interface.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath

from promptlearn.config import BudgetConfig, SearchConfig
from promptlearn.forge.sanitize import sanitize
from promptlearn.forge.winner import Winner
from promptlearn.records import Effect, Rule
from promptlearn.result import Measure

MAX_BODY = 60_000
"""Characters; GitHub takes 65,536."""
_MOST_RULES, _MOST_SOURCES, _MOST_IDS = 50, 5, 10
_MOST_WORDS = 600
"""Characters of one rule or rationale."""

_MARKUP = re.compile(r"[\\`*_{}\[\]()<>|~!#+&$^=-]")
_MENTION = re.compile(r"@(?=[\w\\-])")
_NUMBER = re.compile(r"(\\#|\bGH\\-)(?=[\d\\])", re.IGNORECASE)
_LISTED = re.compile(r"\A(\d{1,9})([.)])")
_NAME = re.compile(r"[\w@.:/-]{1,120}", re.ASCII)
_URL = re.compile(r"https?://[\w.-]+(?::\d+)?/[\w./?#&=%~-]*", re.ASCII)
_PULL = re.compile(r"/pull/(\d+)")
_GAP = "&#8203;"
"""Splits `@name` and `#1` for GitHub, as an entity that everybody sees in the source."""


def plain(text: str, most: int = _MOST_WORDS) -> str:
    """Text from outside as one line of Markdown that says just that."""
    line = " ".join(sanitize(text).text.split())
    line = line if len(line) <= most else line[: most - 1] + "…"
    line = _LISTED.sub(r"\1\\\2", _MARKUP.sub(_escaped, line))
    return _NUMBER.sub(rf"\g<1>{_GAP}", _MENTION.sub(f"@{_GAP}", line))


def _escaped(match: re.Match[str]) -> str:
    return {"&": "&amp;", "<": "&lt;", ">": "&gt;"}.get(match[0], "\\" + match[0])


def title(winner: Winner, path: str) -> str:
    """One line of at most 120 characters."""
    scores = f"test score {_score(winner.before.score)} → {_score(winner.after.score)}"
    name = path if len(path) <= 70 else "…/" + PurePosixPath(path).name[-66:]
    return f"Learned prompt for {name}: {scores}"


def message(winner: Winner, path: str, content: str) -> str:
    """Of the commit that changes `path`; `content` is the mark of the bytes that it writes."""
    return f"{title(winner, path)}\n\nPromptlearn-Run: {winner.run}\nPromptlearn-Content: {content}\n"


def body(winner: Winner, paths: Sequence[str]) -> str:
    """The body of the pull request, at most `MAX_BODY` characters of Markdown."""
    sections = [
        _summary(winner, paths),
        _scores(winner),
        _regressions(winner),
        _rules(winner),
        _demonstrations(winner),
        _steps(winner),
        _cost(winner),
        _reproduction(winner),
        "Opened by `promptlearn github propose`, which never merges. Please read the diff as you would a colleague's.",
    ]
    text = "\n\n".join(section for section in sections if section) + "\n"
    if len(text) <= MAX_BODY:
        return text
    return text[:MAX_BODY].rpartition("\n")[0] + f"\n\n… more: `promptlearn show {winner.run} --rules`\n"


def _summary(winner: Winner, paths: Sequence[str]) -> str:
    names = ", ".join(_code(path) for path in paths)
    parts = [
        _count(len(winner.rules), "new rule") if winner.rules else "",
        _count(len(winner.dropped_rules), "dropped rule") if winner.dropped_rules else "",
        _count(len(winner.demonstrations), "new demonstration") if winner.demonstrations else "",
        "a rewritten text" if winner.is_rewritten else "",
    ]
    what = ", ".join(part for part in parts if part) or "another wording"
    return f"A better prompt in {names}: {what}. It beat the prompt on the base branch on held-out examples."


def _scores(winner: Winner) -> str:
    gain = winner.difference
    lines = [
        "### Scores on the test split",
        "",
        "| prompt | score | 95 % interval | examples | not judged |",
        "|---|--:|---|--:|--:|",
        _row("before", winner.before),
        _row("after", winner.after),
        "",
        f"Difference {gain.score:+.3f} (95 % interval {gain.ci95.low:+.3f} to {gain.ci95.high:+.3f}), "
        f"p = {gain.p_value:.2g}, {_code(gain.test)}, n = {gain.n} pairs.",
    ]
    if winner.test_reads > 1:
        lines += ["", f"The run read its test split {winner.test_reads} times, so the figures are no longer untouched."]
    return "\n".join(lines)


def _row(name: str, measure: Measure) -> str:
    interval = f"{measure.ci95.low:.3f} – {measure.ci95.high:.3f}"
    return f"| {name} | {_score(measure.score)} | {interval} | {measure.n} | {measure.errors} |"


def _regressions(winner: Winner) -> str:
    worse, better = len(winner.worse), len(winner.better)
    lines = ["### Regressions", ""]
    if not worse:
        return "\n".join([*lines, f"No test example got worse; {better} got better."])
    shown = _some_ids(winner.worse)
    lines.append(f"{_count(worse, 'test example')} got worse with at least one judge: {shown}; {better} got better.")
    return "\n".join([*lines, f"With the judges' words: `promptlearn show {winner.run} --examples --split test`."])


def _rules(winner: Winner) -> str:
    lines = []
    if winner.rules:
        lines += ["### New rules, and where each came from", ""]
        lines += [line for rule in winner.rules[:_MOST_RULES] for line in _rule(rule)]
        if len(winner.rules) > _MOST_RULES:
            lines.append(f"- and {len(winner.rules) - _MOST_RULES} more")
    if winner.dropped_rules:
        lines += [
            "",
            "### Rules that go",
            "",
            *(f"- {plain(rule.text)}" for rule in winner.dropped_rules[:_MOST_RULES]),
        ]
    return "\n".join(lines).strip("\n")


def _demonstrations(winner: Winner) -> str:
    shown = winner.demonstrations
    if not shown:
        return ""
    sources = list(dict.fromkeys(demo.source for demo in shown if demo.source))
    taken = f", taken from the train examples {_some_ids(sources)}" if sources else ""
    effects = "; ".join(_worth(demo.effect) for demo in shown[:_MOST_IDS] if demo.effect)
    measured = f" Worth of each, as far as it was measured: {effects}." if effects else ""
    return f"### New demonstrations\n\n{len(shown)}{taken}.{measured}"


def _rule(rule: Rule) -> Iterable[str]:
    yield f"- {plain(rule.text)}"
    named = [_source(source) for source in rule.sources[:_MOST_SOURCES]]
    more = f" and {len(rule.sources) - _MOST_SOURCES} more" if len(rule.sources) > _MOST_SOURCES else ""
    worth = f"worth {_worth(rule.effect)}" if rule.effect else "worth not measured on its own"
    yield f"  - from {', '.join(named) + more if named else 'nobody who is on record'}; {worth}"


def _source(source: str) -> str:
    """A link to a comment; an id as code."""
    if _URL.fullmatch(source):
        pull = _PULL.search(source)
        return f"[a comment on pull request {pull[1]}]({source})" if pull else f"[a comment]({source})"
    return _code(source)


def _some_ids(ids: Sequence[str]) -> str:
    shown = ", ".join(_code(name) for name in ids[:_MOST_IDS])
    return shown + (f" and {len(ids) - _MOST_IDS} more" if len(ids) > _MOST_IDS else "")


def _worth(effect: Effect) -> str:
    return f"{effect.score:+.3f} (95 % {effect.ci95.low:+.3f} to {effect.ci95.high:+.3f}, n = {effect.n})"


def _steps(winner: Winner) -> str:
    steps = [f"1. {_code(proposer)}: {plain(why) or 'no reason given'}" for proposer, why in winner.steps]
    return "\n".join(["### How it came about", "", *steps]) if steps else ""


def _cost(winner: Winner) -> str:
    rows = [
        f"| {role} | {used.calls} | {used.cached_calls} | {used.input_tokens} | {used.output_tokens} | "
        f"{_money(used.cost_usd)} |"
        for role, used in winner.usage.items()
        if used.calls or used.cached_calls
    ]
    head = ["### What the run cost", "", "| role | calls | from the journal | tokens in | tokens out | cost |"]
    return "\n".join([*head, "|---|--:|--:|--:|--:|--:|", *rows]) if rows else ""


def _reproduction(winner: Winner) -> str:
    version = winner.versions.get("promptlearn", "")
    command = "promptlearn run " + " \\\n  ".join([*_settings(winner.config), f"--set search.seed={winner.seed}"])
    if not winner.own_files:
        command = f"# promptlearn.optimize(…, seed={winner.seed}), with the arguments of this run"
    packages = ", ".join(f"{_code(name)} {_code(number)}" for name, number in sorted(winner.versions.items()))
    models = ", ".join(f"{role} {_code(name)}" for role, name in _models(winner.config))
    lines = [
        "### How to reproduce",
        "",
        "On the base branch, in the folder of the configuration:",
        "",
        "```",
        f"pip install promptlearn-optimizer=={version if _NAME.fullmatch(version) else '…'}",
        command,
        "```",
        "",
        f"Run {_code(winner.run)}, prompts {_code(winner.old.digest)} → {_code(winner.new.digest)}, seed {winner.seed}"
        + (f"; models: {models}" if models else "")
        + (f"; versions: {packages}" if packages else "")
        + ".",
    ]
    return "\n".join(lines)


def _settings(config: Mapping[str, object]) -> list[str]:
    """What the run searched with, whatever the configuration's file said then or says now."""
    found = []
    for name, section in (("search", SearchConfig), ("budget", BudgetConfig)):
        usual, own = section().model_dump(mode="json"), config.get(name)
        for key, value in own.items() if isinstance(own, dict) else ():
            if value != usual.get(key) and key != "seed":
                found.append(f"--set {shlex.quote(f'{name}.{key}={json.dumps(value)}')}")
    return found


def _models(config: Mapping[str, object]) -> list[tuple[str, str]]:
    """Role and name of each model; of a local file its name alone, as its folder says nothing to others."""
    models = config.get("models")
    found = []
    for role, entry in models.items() if isinstance(models, dict) else ():
        if isinstance(entry, dict) and entry.get("model"):
            provider, _, name = str(entry["model"]).partition("/")
            shown = PurePosixPath(name).name if name.startswith("/") else name
            found.append((str(role), f"{provider}/{shown}" if name else provider))
    return found


def _code(text: str) -> str:
    """A name as code, where nobody is mentioned; one with odd characters as plain text."""
    return f"`{text}`" if _NAME.fullmatch(text) else plain(text, 120)


def _count(amount: int, what: str) -> str:
    return f"{amount} {what}" if amount == 1 else f"{amount} {what}s"


def _score(score: float | None) -> str:
    return "–" if score is None else f"{score:.3f}"


def _money(cost: float | None) -> str:
    return "unknown" if cost is None else f"${cost:.4f}" if cost else "$0"
