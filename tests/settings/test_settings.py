"""Settings: every row of the table is read, defaulted and refused as it says."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mms.settings import (
    SETTINGS,
    SettingError,
    Settings,
    disk_budget_bytes,
    load_settings,
    settings_table,
)
from mms.settings.host import Host
from mms.settings.quantity import Share
from mms.settings.table import Setting

HOST = Host(cores=6, memory_bytes=10 << 30, terminal=False)
ROOT = Path(__file__).parent.parent


def load(environ: dict[str, str] | None = None, /, **flags: str) -> Settings:
    return load_settings(flags, environ or {}, HOST)


def refusal(environ: dict[str, str] | None = None, /, **flags: str) -> str:
    with pytest.raises(SettingError) as caught:
        load(environ, **flags)
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_defaults_are_the_documented_ones() -> None:
    """Nothing set is a SageMaker single-model container with the defaults of the README."""
    assert load() == Settings(
        mode="single",
        models=None,
        s3_endpoint_url=None,
        host="0.0.0.0",
        port=8080,
        workers=6,
        memory_budget_bytes=7 << 30,
        disk_budget=Share(0.8),
        cache_dir=Path("/tmp/mms"),
        max_body=6291456,
        request_timeout_s=55,
        load_wait_s=45,
        load_timeout_s=360,
        max_loads=12,
        max_inflight=4096,
        max_inflight_bytes=256 << 20,
        max_queue=1024,
        max_batch=64,
        batch_delay_s=0,
        drain_delay_s=3,
        drain_timeout_s=25,
        trust="restricted",
        allow_globals=frozenset(),
        env_match="compatible",
        envs=None,
        log_format="json",
        log_level="info",
        access_log="all",
        top_models=100,
        echo_attributes=False,
        default_accept="application/json",
        model_dir=Path("/opt/ml/model"),
        program="inference.py",
        shared_code=None,
    )


def test_a_row_for_every_field() -> None:
    """Table and dataclass name the same settings, once each."""
    derived = {"mode", "default_accept", "model_dir", "program", "shared_code"}
    assert sorted(s.name for s in SETTINGS) == sorted(
        {f.name for f in dataclasses.fields(Settings)} - derived
    )
    assert len({s.flag for s in SETTINGS}) == len({s.variable for s in SETTINGS}) == len(SETTINGS)


def test_a_small_machine_has_two_workers_and_four_fetches() -> None:
    """One core still gives two workers, so that a hung one isn't all there is."""
    settings = load_settings({}, {}, Host(cores=1, memory_bytes=1 << 30, terminal=True))
    assert (settings.workers, settings.max_loads) == (2, 4)
    assert settings.log_format == "text"


GOOD = {
    "MMS_MODELS": ("s3://bucket/prefix", "s3://bucket/prefix/"),
    "MMS_S3_ENDPOINT_URL": ("http://127.0.0.1:9000/", "http://127.0.0.1:9000"),
    "MMS_HOST": ("::1", "::1"),
    "MMS_PORT": ("9090", 9090),
    "MMS_WORKERS": ("3", 3),
    "MMS_MEMORY_BUDGET": ("512MiB", 512 << 20),
    "MMS_DISK_BUDGET": ("10GiB", 10 << 30),
    "MMS_CACHE_DIR": ("/var/cache/mms", Path("/var/cache/mms")),
    "MMS_MAX_BODY": ("1MB", 1_000_000),
    "MMS_REQUEST_TIMEOUT": ("2m", 120.0),
    "MMS_LOAD_WAIT": ("500ms", 0.5),
    "MMS_LOAD_TIMEOUT": ("5m", 300.0),
    "MMS_MAX_LOADS": ("1", 1),
    "MMS_MAX_INFLIGHT": ("10", 10),
    "MMS_MAX_INFLIGHT_BYTES": ("64MiB", 64 << 20),
    "MMS_MAX_QUEUE": ("5", 5),
    "MMS_MAX_BATCH": ("1", 1),
    "MMS_BATCH_DELAY": ("2ms", 0.002),
    "MMS_DRAIN_DELAY": ("0", 0.0),
    "MMS_DRAIN_TIMEOUT": ("10", 10.0),
    "MMS_TRUST": ("all", "all"),
    "MMS_ALLOW_GLOBALS": ("a.b:C, d:E,", frozenset({"a.b:C", "d:E"})),
    "MMS_ENV_MATCH": ("warn", "warn"),
    "MMS_ENVS": ("/opt/envs", Path("/opt/envs")),
    "MMS_LOG_FORMAT": ("TEXT", "text"),
    "MMS_LOG_LEVEL": ("debug", "debug"),
    "MMS_ACCESS_LOG": ("notable", "notable"),
    "MMS_TOP_MODELS": ("0", 0),
    "MMS_ECHO_ATTRIBUTES": ("true", True),
}
BAD = {
    "MMS_MODELS": ("gs://bucket/", "http://x/", "s3://", "s3:///x", "a\nb", "~no-such-user/x"),
    "MMS_S3_ENDPOINT_URL": ("127.0.0.1:9000", "ftp://x", "http://u:p@x", "http://x/y"),
    "MMS_HOST": ("a b", "x/y"),
    "MMS_PORT": ("abc", "-1", "65536", "80.5"),
    "MMS_WORKERS": ("0", "1000", "two"),
    "MMS_MEMORY_BUDGET": ("0%", "101%", "1KiB", "inf", "-1GiB"),
    "MMS_DISK_BUDGET": ("0", "nan"),
    "MMS_CACHE_DIR": ("a\0b",),
    "MMS_MAX_BODY": ("0", "6 megabytes"),
    "MMS_REQUEST_TIMEOUT": ("0", "inf", "25h"),
    "MMS_LOAD_WAIT": ("-1", "nan"),
    "MMS_LOAD_TIMEOUT": ("0s", "1d"),
    "MMS_MAX_LOADS": ("0",),
    "MMS_MAX_INFLIGHT": ("0", "1e3"),
    "MMS_MAX_INFLIGHT_BYTES": ("0", "50%"),
    "MMS_MAX_QUEUE": ("0",),
    "MMS_MAX_BATCH": ("0", "1025"),
    "MMS_BATCH_DELAY": ("11s",),
    "MMS_DRAIN_DELAY": ("soon",),
    "MMS_DRAIN_TIMEOUT": ("0",),
    "MMS_TRUST": ("none",),
    "MMS_ALLOW_GLOBALS": ("pkg.mod.Name", "a:b.c", "os:system;x", ":x"),
    "MMS_ENV_MATCH": ("minor",),
    "MMS_ENVS": ("a\nb",),
    "MMS_LOG_FORMAT": ("xml",),
    "MMS_LOG_LEVEL": ("trace",),
    "MMS_ACCESS_LOG": ("some",),
    "MMS_TOP_MODELS": ("-1", "10001"),
    "MMS_ECHO_ATTRIBUTES": ("yes", "1"),
}  # fmt: skip


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: s.variable)
def test_variable_and_flag_give_the_same_ready_value(setting: Setting) -> None:
    """Each setting is read from its variable and from its flag."""
    text, value = GOOD[setting.variable]
    assert getattr(load({setting.variable: text}), setting.name) == value
    assert getattr(load({}, **{setting.key: text}), setting.name) == value


@pytest.mark.parametrize(("variable", "text"), [(v, t) for v, ts in BAD.items() for t in ts])
def test_wrong_values_are_named_with_what_is_allowed(variable: str, text: str) -> None:
    """The line starts with the setting as it was written and says what would do."""
    setting = next(s for s in SETTINGS if s.variable == variable)
    assert refusal({variable: text}).startswith(f"{variable}=")
    line = refusal({}, **{setting.key: text})
    assert line.startswith(f"{setting.flag}=")
    assert line.endswith(f"must be {setting.kind.allowed}")


def test_bad_covers_the_table() -> None:
    """A new setting needs a refused value here, and a good one above."""
    assert set(BAD) == set(GOOD) == {s.variable for s in SETTINGS}


@given(st.sampled_from(SETTINGS), st.text(max_size=40))
def test_any_text_is_taken_or_refused_in_one_line(setting: Setting, text: str) -> None:
    """Whatever stands in a variable: a value, or one printable line. Never another exception."""
    line = ""
    try:
        load({setting.variable: text})
    except SettingError as error:
        line = str(error)
    assert line.isprintable()


def test_the_flag_wins_and_empty_is_unset() -> None:
    """Flag over variable over default; an empty text is none."""
    assert load({"MMS_PORT": "1000"}, port="2000").port == 2000
    assert load({"MMS_PORT": "1000"}, port="").port == 1000
    assert load({"MMS_PORT": ""}).port == 8080


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("MMS_PRT", "did you mean MMS_PORT?"),
        ("MMS_MODEL", "did you mean MMS_MODELS?"),
        ("MMS_MAX_INFLIGHT_BYTE", "did you mean MMS_MAX_INFLIGHT_BYTES?"),
        ("MMS_QQQQ", "see mms serve --help"),
        ("MMS_REFRESH", "no such setting"),
        ("MMS_EVICTION", "no such setting"),
        ("MMS_PIN", "no such setting"),
        ("MMS_SERVER", "no such setting"),
    ],
)
def test_unknown_variables_stop_the_start(name: str, expected: str) -> None:
    """A misspelt or not yet existing MMS_ variable is an error that names it."""
    line = refusal({name: "x"})
    assert line.startswith(f"{name}=x: ")
    assert expected in line


def test_other_programs_variables_are_none_of_ours() -> None:
    """Only names that start with MMS_ are looked at."""
    assert load({"mms_port": "x", "XMMS_PORT": "x", "MMSX": "x"}).port == 8080


def test_errors_show_no_secret_and_stay_short() -> None:
    """A token in a variable we don't know, or a password in an address, isn't repeated."""
    assert "hunter2" not in refusal({"MMS_ADMIN_TOKEN": "hunter2"})
    assert "hunter2" not in refusal({"MMS_S3_ENDPOINT_URL": "http://me:hunter2@host"})
    assert len(refusal({"MMS_PORT": "9" * 5000})) < 200


@pytest.mark.parametrize(
    ("environ", "mode"),
    [
        ({"MMS_MODELS": "s3://bucket/"}, "self"),
        ({"MMS_MODELS": "s3://bucket/", "SAGEMAKER_MULTI_MODEL": "true"}, "self"),
        ({"SAGEMAKER_MULTI_MODEL": "true"}, "multi"),
        ({"SAGEMAKER_MULTI_MODEL": "True"}, "multi"),
        ({"SAGEMAKER_MULTI_MODEL": "1"}, "single"),
        ({"SAGEMAKER_MULTI_MODEL": "false"}, "single"),
        ({}, "single"),
    ],
)
def test_the_way_to_run(environ: dict[str, str], mode: str) -> None:
    """Models of our own make it self-hosted; else SageMaker's switch decides."""
    assert load(environ).mode == mode


@pytest.mark.parametrize(
    ("text", "models"),
    [
        ("s3://bucket", "s3://bucket/"),
        ("s3://bucket/", "s3://bucket/"),
        ("s3://bucket/a//b/", "s3://bucket/a//b/"),
        ("/srv/models/", "/srv/models"),
        ("~/models", str(Path("~/models").expanduser())),
        ("models", str(Path("models").absolute())),
    ],
)
def test_where_models_are(text: str, models: str) -> None:
    """An S3 prefix ends in a slash; a folder is absolute."""
    assert load({"MMS_MODELS": text}).models == models


def test_sagemakers_port_wins_over_the_variable_not_over_the_flag() -> None:
    """The platform says where it will knock; a flag is nearer still."""
    environ = {"SAGEMAKER_BIND_TO_PORT": "9001", "MMS_PORT": "9002"}
    assert load(environ).port == 9001
    assert load(environ, port="9003").port == 9003
    assert refusal({"SAGEMAKER_BIND_TO_PORT": "x"}).startswith("SAGEMAKER_BIND_TO_PORT=x: ")


def test_sagemakers_payload_limit_is_in_binary_megabytes() -> None:
    """Its 6 MB are 6,291,456 bytes; our own setting wins."""
    environ = {"SAGEMAKER_MAX_PAYLOAD_IN_MB": "6"}
    assert load(environ).max_body == 6291456
    assert load({**environ, "MMS_MAX_BODY": "5"}).max_body == 5
    for text in ("0", "six", "1.5", "-1"):
        line = refusal({"SAGEMAKER_MAX_PAYLOAD_IN_MB": text})
        assert line.startswith(f"SAGEMAKER_MAX_PAYLOAD_IN_MB={text}: ")


def test_sagemakers_default_accept() -> None:
    """It is taken where it looks like a media type, refused where it doesn't."""
    name = "SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT"
    assert load({name: "text/csv"}).default_accept == "text/csv"
    assert refusal({name: "csv\r\nx: y"}).startswith(f"{name}=")


@pytest.mark.parametrize(
    ("environ", "first", "second"),
    [
        ({"MMS_LOAD_WAIT": "60"}, "MMS_LOAD_WAIT=60", "MMS_REQUEST_TIMEOUT=55s (default)"),
        ({"MMS_REQUEST_TIMEOUT": "9"}, "MMS_LOAD_WAIT=45s (default)", "MMS_REQUEST_TIMEOUT=9"),
        ({"MMS_LOAD_TIMEOUT": "40"}, "MMS_LOAD_WAIT=45s (default)", "MMS_LOAD_TIMEOUT=40"),
        ({"MMS_DRAIN_DELAY": "25s"}, "MMS_DRAIN_DELAY=25s", "MMS_DRAIN_TIMEOUT=25s (default)"),
        ({"MMS_MAX_BODY": "1GiB"}, "MMS_MAX_BODY=1GiB", "MMS_MAX_INFLIGHT_BYTES=256MiB (default)"),
        (
            {"MMS_BATCH_DELAY": "3s", "MMS_REQUEST_TIMEOUT": "2s", "MMS_LOAD_WAIT": "1s"},
            "MMS_BATCH_DELAY=3s",
            "MMS_REQUEST_TIMEOUT=2s",
        ),
    ],
)
def test_settings_that_contradict_each_other(
    environ: dict[str, str], first: str, second: str
) -> None:
    """Each is fine alone; the line names both."""
    line = refusal(environ)
    assert line.startswith(f"{first}: ")
    assert second in line


def test_a_budget_beyond_the_machine_is_refused() -> None:
    """A budget that the machine can't honour would end in the kernel killing us."""
    assert refusal({"MMS_MEMORY_BUDGET": "11GiB"}).startswith("MMS_MEMORY_BUDGET=11GiB: only ")


def test_the_cache_folder_follows_xdg() -> None:
    """An absolute XDG_CACHE_HOME is used, a relative one ignored as its specification says."""
    assert load({"XDG_CACHE_HOME": "/x"}).cache_dir == Path("/x/mms")
    assert load({"XDG_CACHE_HOME": "x"}).cache_dir == Path("/tmp/mms")


def test_the_disk_budget_is_a_share_of_what_is_free_and_held() -> None:
    """A full cache doesn't shrink its own budget at the next start."""
    assert disk_budget_bytes(Share(0.5), free=60, held=40) == 50
    assert disk_budget_bytes(7, free=60, held=40) == 7


def test_settings_are_frozen() -> None:
    """Nobody changes a setting while the server runs."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        load().port = 1  # type: ignore[misc]


def test_the_readme_table_is_printed_by_the_module() -> None:
    """One row a setting, with variable, flag and default; and no cell breaks the table."""
    command = [sys.executable, "-m", "mms.settings"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert printed == settings_table() + "\n"
    rows = printed.splitlines()[2:]
    assert len(rows) == len(SETTINGS)
    for setting, row in zip(SETTINGS, rows, strict=True):
        assert row.startswith(f"| `{setting.variable}` | `{setting.flag}` | {setting.default_text}")
        assert row.replace(r"\|", "").count("|") == 5


# --- Scripts ---


@pytest.mark.parametrize(
    ("given", "program"),
    [
        ("", "inference.py"),
        ("serve.py", "serve.py"),
        ("serve", "serve.py"),
        ("./src/serve.py", "src/serve.py"),
    ],
)
def test_the_program_is_a_file_in_code(given: str, program: str) -> None:
    """With or without its suffix, as the toolkits take it; empty is unset."""
    assert load({"SAGEMAKER_PROGRAM": given}).program == program


@pytest.mark.parametrize("given", ["/etc/x.py", "../x.py", "a/../x.py", "serve-it.py", "a b.py"])
def test_a_program_elsewhere_is_refused(given: str) -> None:
    assert "must be a Python file in code/" in refusal({"SAGEMAKER_PROGRAM": given})


def test_a_script_for_all_models(tmp_path: Path) -> None:
    """A folder of this machine, by name; in the multi-model container also where AWS's look."""
    folder = tmp_path / "models" / "code"
    folder.mkdir(parents=True)
    (folder / "inference.py").touch()
    multi = {"SAGEMAKER_MULTI_MODEL": "true", "SAGEMAKER_BASE_DIR": str(tmp_path)}
    trusted = {"MMS_TRUST": "all"}
    assert load({"SAGEMAKER_SUBMIT_DIRECTORY": str(folder)} | trusted).shared_code == folder
    assert load(multi | trusted).shared_code == folder
    sdk = {"SAGEMAKER_SUBMIT_DIRECTORY": str(tmp_path / "model" / "code")}
    assert load(multi | trusted | sdk).shared_code == folder
    assert load(multi | trusted | {"SAGEMAKER_PROGRAM": "other.py"}).shared_code is None
    assert load({"SAGEMAKER_BASE_DIR": str(tmp_path)} | trusted | sdk).shared_code is None
    assert load({"MMS_MODELS": str(tmp_path)} | trusted).shared_code is None


def test_scripts_for_all_that_can_never_run_stop_the_start(tmp_path: Path) -> None:
    """Each line says what to do about it."""
    name = "SAGEMAKER_SUBMIT_DIRECTORY"
    assert "nothing is fetched" in refusal({name: "s3://bucket/sourcedir.tar.gz"})
    assert "must be an absolute path" in refusal({name: "code"})
    assert "there is no such folder" in refusal({name: str(tmp_path / "none")})
    assert "has no inference.py: set SAGEMAKER_PROGRAM" in refusal({name: str(tmp_path)})
    (tmp_path / "inference.py").touch()
    assert "set MMS_TRUST=all" in refusal({name: str(tmp_path)})
