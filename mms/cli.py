"""The command line: ``mms serve``, ``mms scan``, ``mms demo``, ``mms --version``.

Turns flags into settings and outcomes into exit codes: 0 ended as asked, 2 wrong usage or setting,
3 can't start and would fail the same way again, 1 anything else. An expected failure is one line on
stderr, never a traceback. The server and the demo are imported when they are run, so that
``--help`` is quick and ``mms serve`` loads nothing twice.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence

import click

from mms import __version__
from mms.settings import SETTINGS, SettingError, StartError, load_settings
from mms.settings.table import Setting

USAGE, CANNOT_START, FAILED = 2, 3, 1


def main(argv: Sequence[str] | None = None) -> None:
    """Entry of the ``mms`` program; leaves with the exit code."""
    sys.exit(run(sys.argv[1:] if argv is None else argv))


def run(argv: Sequence[str]) -> int:
    """Do what ``argv`` says and return the exit code."""
    try:
        return _program().main(list(argv), prog_name="mms", standalone_mode=False) or 0
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return USAGE
    except click.UsageError as error:
        return _fail(f"{error.format_message()} {_where_to_look(error)}", USAGE)
    except (SettingError, StartError) as error:
        return _fail(str(error), USAGE if isinstance(error, SettingError) else CANNOT_START)
    except (KeyboardInterrupt, click.Abort):
        return 0  # ended as asked: Ctrl-C before the server listens to signals itself
    except Exception:
        import logging  # rarely needed here, and not free

        logging.getLogger("mms.cli").critical("internal error", exc_info=True)
        return FAILED  # a bug of ours: the one case with a traceback


def _program() -> click.Group:
    program = click.Group("mms", help="One endpoint for thousands of models.")
    version = click.version_option(__version__, prog_name="mms", message="%(prog)s %(version)s")
    version(program)
    program.add_command(_serve_command())
    program.add_command(_scan_command())
    program.add_command(_demo_command())
    return program


def _serve_command() -> click.Command:
    return click.Command(
        "serve",
        callback=_serve,
        short_help="Serve the models of a bucket, a folder or SageMaker.",
        params=[_option(setting) for setting in SETTINGS],
        help="Serve the models of a bucket or folder, or run as a SageMaker container.\n\n"
        "Every option is an environment variable too; the option wins. Sizes: 512MiB, 4GiB, 6MB, "
        "plain bytes, or 70% where a share makes sense. Durations: 30, 30s, 500ms, 5m.",
    )


def _option(setting: Setting) -> click.Option:
    return click.Option(
        [setting.flag, setting.key],
        metavar=setting.kind.metavar,
        help=f"{setting.meaning}  [{setting.variable}; default: {setting.default_text}]",
    )


def _serve(**flags: str | None) -> int:
    given = {name: text for name, text in flags.items() if text is not None}
    settings = load_settings(given, os.environ)
    return _function("mms.app", "serve")(settings)


_SCAN_SETTINGS = frozenset({
    "s3_endpoint_url", "workers", "trust", "allow_globals", "env_match", "envs", "load_timeout",
})  # fmt: skip


def _scan_command() -> click.Command:
    flags = [
        click.Argument(["prefix"]),
        click.Option(["--load"], is_flag=True, help="Measure memory and load time; predict once."),
        click.Option(["--json", "as_json"], is_flag=True, help="Print one JSON document."),
        click.Option(["--all", "shows_all"], is_flag=True, help="Show what serves as it is, too."),
    ]
    return click.Command(
        "scan",
        callback=_scan,
        short_help="Say which models of a prefix would serve, and what they need.",
        params=[*flags, *(_option(s) for s in SETTINGS if s.key in _SCAN_SETTINGS)],
        help="Say of each model below PREFIX (s3://bucket/prefix/ or a folder) whether it would "
        "serve, and what it would need.\n\n"
        "Nothing is served, and no code of the models runs unless --load and MMS_TRUST=all say "
        "so. Ends with 0 if all serve as they are, with 1 if some "
        "don't, with 3 if PREFIX can't be read.",
    )


def _scan(prefix: str, *, load: bool, as_json: bool, shows_all: bool, **flags: str | None) -> int:
    given = {name: text for name, text in flags.items() if text is not None}
    settings = load_settings({**given, "models": prefix}, os.environ)
    try:
        run = _function("mms.scan.run", "run")
        return run(settings, load=load, as_json=as_json, shows_all=shows_all)
    except KeyboardInterrupt:  # no success: nobody knows of the rest
        return _fail("the scan was interrupted before its end", FAILED)


def _demo_command() -> click.Command:
    once = click.Option(["--once"], is_flag=True, help="End after checking every answer.")
    return click.Command(
        "demo",
        callback=_demo,
        params=[once],
        help="Show it all: a real S3 server with models in it, served and called.",
    )


def _demo(*, once: bool) -> int:
    try:
        return _function("mms.demo.main", "run")(once=once)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in {"mms", "loaders"}:
            raise
        raise StartError(
            f"the demo needs {error.name}, which isn't installed: pip install 'mms-server[demo]'"
        ) from error


def _function(module: str, name: str) -> Callable[..., int]:
    function: Callable[..., int] = getattr(importlib.import_module(module), name)
    return function


def _where_to_look(error: click.UsageError) -> str:
    path = error.ctx.command_path if error.ctx is not None else "mms"
    return f"See {path} --help"


def _fail(message: str, code: int) -> int:
    click.echo(" ".join(message.split()), err=True)
    return code
