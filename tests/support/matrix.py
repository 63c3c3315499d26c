"""The support matrix: which framework takes what input in which format, as tests prove it.

A test says what it proves with ``@pytest.mark.supports(framework=…, input=…, format=…)``, several
times if need be, or by ``marks=`` of a parameter. ``pytest --support-matrix PATH`` writes the facts
of the tests that passed (with ``--collect-only``: of all that were found), and
``python -m tests.support.matrix PATH [README]`` makes the table of them. Never runs a test itself.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

BEGIN, END = "<!-- support -->\n", "<!-- /support -->"
MARK = "supports"


class Fact(NamedTuple):
    framework: str
    input: str
    format: str


def facts_of(item: pytest.Item) -> list[Fact]:
    """What a test proves if it passes; a wrong marker is an error."""
    found = []
    for mark in item.iter_markers(MARK):
        if mark.args or set(mark.kwargs) != set(Fact._fields):
            raise pytest.UsageError(f"{item.nodeid}: supports() takes {', '.join(Fact._fields)}")
        found.append(Fact(**mark.kwargs))
    return found


class Recorder:
    """A plugin that collects facts; under xdist the workers' reports bring them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._facts: set[Fact] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Any:
        report: Any = yield
        report.supports = [list(fact) for fact in facts_of(item)]
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            self._facts.update(Fact(*fact) for fact in vars(report).get("supports", ()))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        if session.config.option.collectonly:
            self._facts.update(fact for item in session.items for fact in facts_of(item))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if not hasattr(session.config, "workerinput"):  # the one that sees all reports
            self._path.write_text(json.dumps(sorted(self._facts), indent=1) + "\n")


def read(path: Path) -> list[Fact]:
    return [Fact(*fact) for fact in json.loads(path.read_text())]


def rendered(facts: Iterable[Fact]) -> str:
    """A Markdown table: a row a framework, a column a format, the inputs in the cells."""
    cells: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for fact in facts:
        cells[fact.framework][fact.format].add(fact.input)
    formats = sorted({name for row in cells.values() for name in row})
    lines = [["framework", *(f"`{name}`" for name in formats)], ["---"] * (len(formats) + 1)]
    for framework in sorted(cells, key=str.lower):
        row = cells[framework]
        lines.append([framework, *(", ".join(sorted(row.get(name, ()))) for name in formats)])
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def rewritten(readme: str, table: str) -> str:
    """The README with this table between its marks."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the README has no {BEGIN.strip()} … {END}")
    return before + begin + table + end + after


def main(arguments: list[str]) -> None:
    table = rendered(read(Path(arguments[0])))
    if arguments[1:]:
        readme = Path(arguments[1])
        readme.write_text(rewritten(readme.read_text(), table))
    else:
        sys.stdout.write(table)


if __name__ == "__main__":
    main(sys.argv[1:])
