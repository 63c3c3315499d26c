"""Every setting, in one table: the source of parsing, of ``mms serve --help`` and of the README.

Data only. A row says the variable, the field of :class:`mms.settings.Settings` it fills, its kind,
its default as text (``None``: nothing, or worked out from the machine; then ``shown`` says how) and
its meaning in one line. The flag follows from the variable.
"""

from __future__ import annotations

from dataclasses import dataclass

from mms.settings import kinds
from mms.settings.kinds import Kind

DAY_S = 86400.0
PREFIX = "MMS_"


@dataclass(frozen=True, slots=True)
class Setting:
    variable: str
    name: str
    kind: Kind
    default: str | None
    meaning: str
    shown: str = ""  # the default in words, where ``default`` alone doesn't say it

    @property
    def key(self) -> str:
        """What the command line calls it: ``memory_budget``."""
        return self.variable.removeprefix(PREFIX).lower()

    @property
    def flag(self) -> str:
        return "--" + self.key.replace("_", "-")

    @property
    def default_text(self) -> str:
        return self.shown or self.default or "none"


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "MMS_MODELS",
        "models",
        kinds.MODELS,
        None,
        "where the models are: s3://bucket/prefix/ or a local folder; unset: run as a"
        " SageMaker container",
    ),
    Setting(
        "MMS_S3_ENDPOINT_URL",
        "s3_endpoint_url",
        kinds.ENDPOINT,
        None,
        "another S3 server; unset: what boto3 finds by itself",
    ),
    Setting("MMS_HOST", "host", kinds.HOST, "0.0.0.0", "address to listen on"),  # noqa: S104 - a container is reached from outside
    Setting(
        "MMS_PORT",
        "port",
        kinds.count(0, 65535, "a port from 1 to 65535, or 0 for any free one"),
        "8080",
        "port to listen on; SAGEMAKER_BIND_TO_PORT wins over the variable",
    ),
    Setting(
        "MMS_WORKERS",
        "workers",
        kinds.count(1, 256),
        None,
        "inference processes",
        shown="usable cores (cgroup quota, affinity), at least 2",
    ),
    Setting(
        "MMS_MEMORY_BUDGET",
        "memory_budget_bytes",
        kinds.size_or_share(64 << 20),
        "70%",
        "memory (PSS) of all processes below the front, models included",
        shown="70% of the cgroup limit or the machine",
    ),
    Setting(
        "MMS_DISK_BUDGET",
        "disk_budget",
        kinds.size_or_share(1 << 20),
        "80%",
        "size of the disk tier, downloads in progress included",
        shown="80% of free disk and what the cache holds",
    ),
    Setting(
        "MMS_CACHE_DIR",
        "cache_dir",
        kinds.FOLDER,
        None,
        "folder of the disk tier; survives restarts",
        shown="$XDG_CACHE_HOME/mms, else /tmp/mms",
    ),
    Setting(
        "MMS_MAX_BODY",
        "max_body",
        kinds.size(1),
        "6291456",
        "largest request body; SAGEMAKER_MAX_PAYLOAD_IN_MB is honoured",
    ),
    Setting(
        "MMS_REQUEST_TIMEOUT",
        "request_timeout_s",
        kinds.duration(0.1, DAY_S, "from 100ms to 24h"),
        "55s",
        "a whole request from its arrival, cold start included",
    ),
    Setting(
        "MMS_LOAD_WAIT",
        "load_wait_s",
        kinds.duration(0, DAY_S, "from 0 to 24h"),
        "45s",
        "how long a request waits for a cold model before 429; the load goes on",
    ),
    Setting(
        "MMS_LOAD_TIMEOUT",
        "load_timeout_s",
        kinds.duration(0.1, DAY_S, "from 100ms to 24h"),
        "360s",
        "one fetch and load, after which it is given up",
    ),
    Setting(
        "MMS_MAX_LOADS",
        "max_loads",
        kinds.count(1, 1024),
        None,
        "fetches side by side (loads: one per worker)",
        shown="2 x workers, at least 4",
    ),
    Setting(
        "MMS_MAX_INFLIGHT",
        "max_inflight",
        kinds.count(1, 1_000_000),
        "4096",
        "admitted requests; beyond it 503 at once",
    ),
    Setting(
        "MMS_MAX_INFLIGHT_BYTES",
        "max_inflight_bytes",
        kinds.size(1),
        "256MiB",
        "bodies of admitted requests together; beyond it 503 at once",
    ),
    Setting(
        "MMS_MAX_QUEUE",
        "max_queue",
        kinds.count(1, 1_000_000),
        "1024",
        "requests waiting per resident model; beyond it 503",
    ),
    Setting(
        "MMS_MAX_BATCH",
        "max_batch",
        kinds.count(1, 1024),
        "64",
        "requests predicted together; 1: never together",
    ),
    Setting(
        "MMS_BATCH_DELAY",
        "batch_delay_s",
        kinds.duration(0, 10, "from 0 to 10s"),
        "0",
        "how long a request may wait for others to join its batch",
    ),
    Setting(
        "MMS_DRAIN_DELAY",
        "drain_delay_s",
        kinds.duration(0, DAY_S, "from 0 to 24h"),
        "3s",
        "after SIGTERM: how long to go on serving while not ready",
    ),
    Setting(
        "MMS_DRAIN_TIMEOUT",
        "drain_timeout_s",
        kinds.duration(0.1, DAY_S, "from 100ms to 24h"),
        "25s",
        "from SIGTERM to the end in all; what isn't done by then gets 503",
    ),
    Setting(
        "MMS_TRUST",
        "trust",
        kinds.choice("restricted", "all"),
        "restricted",
        "restricted: allow-listed pickles, no user code; all: the models may run any code",
    ),
    Setting(
        "MMS_ALLOW_GLOBALS",
        "allow_globals",
        kinds.GLOBALS,
        None,
        "more exact names that a pickle may use: pkg.mod:Name,pkg.mod:Other",
    ),
    Setting(
        "MMS_ENV_MATCH",
        "env_match",
        kinds.choice("exact", "compatible", "warn", "off"),
        "compatible",
        "which versions a pickle may be loaded by: exact: those that saved it; compatible: the same"
        " minor version of scikit-learn; warn: any, with a line in the log; off: don't look",
    ),
    Setting(
        "MMS_ENVS",
        "envs",
        kinds.FOLDER,
        None,
        "folder of virtual environments: a model that doesn't fit the server's own libraries is"
        " loaded in one that it fits",
    ),
    Setting(
        "MMS_LOG_FORMAT",
        "log_format",
        kinds.choice("auto", "json", "text"),
        "auto",
        "one JSON object a line, or text for people",
        shown="json (text on a terminal)",
    ),
    Setting(
        "MMS_LOG_LEVEL",
        "log_level",
        kinds.choice("debug", "info", "warning", "error"),
        "info",
        "least level that is logged",
    ),
    Setting(
        "MMS_ACCESS_LOG",
        "access_log",
        kinds.choice("all", "notable", "off"),
        "all",
        "requests that get a line; notable: errors, cold, slow, and one in a thousand",
    ),
    Setting(
        "MMS_TOP_MODELS",
        "top_models",
        kinds.count(0, 10_000),
        "100",
        "models with metric series of their own; the rest together are __other__",
    ),
    Setting(
        "MMS_ECHO_ATTRIBUTES",
        "echo_attributes",
        kinds.switch(),
        "false",
        "also put version and tier into X-Amzn-SageMaker-Custom-Attributes of responses",
    ),
)


def settings_table() -> str:
    """The README's table of all settings, as Markdown without a final newline."""
    rows = ["| variable | flag | default | meaning |", "|---|---|---|---|"]
    rows += [
        f"| `{s.variable}` | `{s.flag}` | {_cell(s.default_text)} | {_cell(s.meaning)} |"
        for s in SETTINGS
    ]
    return "\n".join(rows)


def _cell(text: str) -> str:
    return text.replace("|", r"\|").replace("__other__", "`__other__`")
