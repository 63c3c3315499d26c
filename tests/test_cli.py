"""The command line as a person or a container runs it: real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from mms import __version__, cli
from mms.settings import SETTINGS, Settings, StartError

ROOT = Path(__file__).parent.parent
CLEAN = {n: v for n, v in os.environ.items() if not n.startswith(("MMS_", "SAGEMAKER_"))}


def mms(*args: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mms", *args],
        cwd=ROOT,
        env={**CLEAN, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def assert_one_line(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    assert done.returncode == code
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    for word in words:
        assert word in done.stderr


def test_the_version() -> None:
    """``mms --version`` names the program and its version."""
    done = mms("--version")
    assert (done.returncode, done.stdout) == (0, f"mms {__version__}\n")


def test_help_shows_every_setting_with_variable_and_default() -> None:
    """Flag, variable and default of each setting stand in ``mms serve --help``."""
    done = mms("serve", "--help", COLUMNS="80")
    assert done.returncode == 0
    text = " ".join(done.stdout.split())
    for setting in SETTINGS:
        assert f"{setting.flag} {setting.kind.metavar} " in text
        # A long line is broken at hyphens too, which the join above turned into blanks.
        line = f"{setting.meaning} [{setting.variable}; default: {setting.default_text}]"
        assert line.replace(" ", "") in text.replace(" ", "")


def test_a_wrong_setting_is_one_line_and_status_2() -> None:
    """The line names setting, value and what is allowed; no traceback."""
    assert_one_line(mms("serve", MMS_PORT="abc"), 2, "MMS_PORT=abc: must be a port")
    assert_one_line(mms("serve", "--max-batch", "0"), 2, "--max-batch=0: must be ")
    assert_one_line(mms("serve", MMS_PROT="1"), 2, "MMS_PROT=1", "did you mean MMS_PORT?")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("serve", "--prot", "1"), "--prot"),
        (("serve", "--port"), "--port"),
        (("serve", "extra"), "extra"),
        (("nope",), "nope"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(args: tuple[str, ...], words: str) -> None:
    """It says what was wrong and where to look."""
    assert_one_line(mms(*args), 2, words, "--help")


def test_without_a_command_the_help_is_shown() -> None:
    """A bare ``mms`` is wrong usage that helps."""
    done = mms()
    assert done.returncode == 2
    assert "serve" in done.stderr


def test_unknown_variables_stop_serve_only() -> None:
    """Other commands don't care about our settings."""
    assert mms("--version", MMS_PROT="1").returncode == 0


def test_help_loads_no_server() -> None:
    """Flags are read without importing the server, its frameworks or the AWS client."""
    code = (
        "import sys; from mms.cli import run; run(['serve', '--help']);"
        "sys.exit(bool({'boto3', 'starlette', 'numpy', 'rich', 'mms.app'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0


def install(monkeypatch: pytest.MonkeyPatch, name: str, **functions: object) -> None:
    """Stand at the seam to a part that isn't this one's: the module ``name`` with functions."""
    module = ModuleType(name)
    vars(module).update(functions)
    monkeypatch.setitem(sys.modules, name, module)


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in set(os.environ) - set(CLEAN):
        monkeypatch.delenv(name)


def test_serve_hands_over_settings_and_its_status(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server gets ready settings from flags and environment; its result is the status."""
    got: list[Settings] = []

    def serve(settings: Settings) -> int:
        got.append(settings)
        return 0

    install(monkeypatch, "mms.app", serve=serve)
    monkeypatch.setenv("MMS_WORKERS", "5")
    assert cli.run(["serve", "--port", "7000"]) == 0
    assert (got[0].port, got[0].workers) == (7000, 5)


@pytest.mark.parametrize(
    ("raised", "code", "line"),
    [
        (StartError("port 80 is taken: choose another"), 3, "port 80 is taken: choose another\n"),
        (StartError("two\nlines"), 3, "two lines\n"),
        (KeyboardInterrupt(), 0, "\n"),  # click ends the terminal's ^C line
    ],
)
def test_expected_ends_have_no_traceback(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    raised: BaseException,
    code: int,
    line: str,
) -> None:
    """Can't start is status 3 and one line; Ctrl-C ended as asked."""

    def serve(_settings: Settings) -> int:
        raise raised

    install(monkeypatch, "mms.app", serve=serve)
    assert cli.run(["serve"]) == code
    assert capsys.readouterr().err == line


def test_a_bug_is_status_1(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What nobody expected is logged with its traceback, once."""

    def serve(_settings: Settings) -> int:
        raise ZeroDivisionError("bug")

    install(monkeypatch, "mms.app", serve=serve)
    assert cli.run(["serve"]) == 1
    (record,) = caplog.records
    assert record.exc_info is not None


def test_demo_passes_once_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """``--once`` reaches the demo, and its status comes back."""
    install(monkeypatch, "mms.demo.main", run=lambda *, once: 0 if once else 1)
    assert cli.run(["demo", "--once"]) == 0
    assert cli.run(["demo"]) == 1


def test_demo_without_its_extra_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A missing package of the demo is one line with the command that installs it."""

    def run(*, once: bool) -> int:
        raise ModuleNotFoundError(f"{once}", name="skl2onnx")

    install(monkeypatch, "mms.demo.main", run=run)
    assert cli.run(["demo"]) == 3
    assert "skl2onnx" in (line := capsys.readouterr().err)
    assert line.endswith("pip install 'mms-server[demo]'\n")
