"""The README says what is true: its generated parts are what the code would generate."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from mms.api.problems import STATUS
from mms.metrics import GaugeSample, Metrics
from mms.settings import settings_table
from tests.support import matrix

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_table_of_settings_is_the_generated_one() -> None:
    """``python -m mms.settings`` prints what stands between the marks."""
    found = re.search(r"<!-- settings -->\n(.*)<!-- /settings -->", README, re.DOTALL)
    assert found is not None
    assert found.group(1).strip() == settings_table().strip()


def test_the_support_matrix_is_what_the_tests_say(tmp_path: Path) -> None:
    """``make matrix`` writes what stands between the marks: no cell without a test."""
    found = tmp_path / "facts.json"
    options = ["--collect-only", "-q", "-m", "supports", "-p", "no:cacheprovider"]
    options += ["--support-matrix", str(found)]
    files = [str(p) for p in (ROOT / "tests").rglob("test_*.py") if "supports(" in p.read_text()]
    command = [sys.executable, "-m", "pytest", *options, *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    assert matrix.rewritten(README, matrix.rendered(matrix.read(found))) == README


def test_every_metric_the_readme_names_exists() -> None:
    """A dashboard built from the README finds its series."""
    metrics = Metrics()
    metrics.bind(GaugeSample)
    page = metrics.render()[0].decode()
    exported = {family.name for family in text_string_to_metric_families(page)}
    named = set(re.findall(r"`(mms_[a-z_]+)", README)) - {"mms_"}
    missing = {name for name in named if name.removesuffix("_total") not in exported}
    assert missing - {"mms_build_info"} == set()


def test_every_error_code_is_in_the_table() -> None:
    """Whatever status a client sees, the README explains it."""
    for error, status in STATUS.items():
        if error.code in {"Unauthorized", "InternalFailure"}:
            continue
        assert f"`{error.code}`" in README, error
        assert re.search(rf"\b{status}\b", README), status


def test_no_name_of_this_machine() -> None:
    """The repository can be cloned anywhere."""
    assert "/work/" not in README
