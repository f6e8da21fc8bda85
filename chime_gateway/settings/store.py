"""
Reads the settings of the store, of recordings and of webhooks.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import attrs

from chime_gateway.errors import ConfigError
from chime_gateway.settings.convert import check_url, secret, structure, table
from chime_gateway.settings.values import (
    WEBHOOK_EVENTS,
    RecordingSettings,
    StoreSettings,
    WebhookSettings,
)

_DEFAULT_STATE: Final = "chimegw-state"
_SQLITE_FILE: Final = "chimegw.sqlite"
_INSTANCE: Final = re.compile(r"[\w.:-]{1,100}\Z")
_DATABASES: Final = ("sqlite", "postgresql")


def default_instance(endpoints: Sequence[str]) -> str:
    """Return a name that stays the same after a restart."""
    found = re.search(r":(\d+)", endpoints[0]) if endpoints else None
    return f"{socket.gethostname()}:{found[1] if found else 'gateway'}"


def store_settings(
    value: object, env: Mapping[str, str], default_name: str
) -> StoreSettings:
    """
    Read the environment, which takes precedence over the table [store].

    @param default_name: the name of this instance if none is set.
    @raise ConfigError: a setting is invalid.
    """
    settings = structure(table(value, "store"), StoreSettings, "store")
    state = (
        env.get("CHIMEGW_STATE")
        # systemd sets it for StateDirectory=.
        or env.get("STATE_DIRECTORY", "").partition(":")[0]
        or settings.state_directory
        or _DEFAULT_STATE
    )
    url = env.get("CHIMEGW_DATABASE_URL") or secret(
        settings.database_url, env, "store.database_url"
    )
    instance = env.get("CHIMEGW_INSTANCE") or settings.instance or default_name
    if instance and not _INSTANCE.match(instance):
        raise ConfigError(
            f"CHIMEGW_INSTANCE {instance[:40]!r}: expected 1 to 100 letters, digits and"
            " . : _ - only"
        )
    key = env.get("CHIMEGW_NUMBERS_KEY") or secret(
        settings.numbers_key, env, "store.numbers_key"
    )
    if settings.numbers == "hashed" and len(key) < 16:
        raise ConfigError(
            "CHIMEGW_NUMBERS_KEY is not set, or is shorter than 16 characters: hashes"
            " of numbers could be reversed by trying all numbers; make a key with:"
            " openssl rand -hex 32"
        )
    return attrs.evolve(
        settings,
        database_url=_database_url(url, state),
        state_directory=state,
        instance=instance,
        numbers_key=key,
    )


def _database_url(url: str, state: str) -> str:
    if not url:
        return f"sqlite:///{Path(state) / _SQLITE_FILE}"
    dialect, found, rest = url.partition("://")
    kind, _, driver = dialect.partition("+")
    kind = "postgresql" if kind == "postgres" else kind
    is_known = found and kind in _DATABASES and driver in ("", "psycopg")
    if not is_known or (kind == "postgresql" and not _has_port(url)):
        raise ConfigError(
            "CHIMEGW_DATABASE_URL: expected sqlite:///FILE or"
            " postgresql://USER:PASSWORD@HOST/DATABASE"
        )
    return f"postgresql+psycopg://{rest}" if kind == "postgresql" else url


def _has_port(url: str) -> bool:
    """Whether the URL's port is valid; it may have none."""
    try:
        return urlsplit(url).port != 0
    except ValueError:
        return False


def recording_settings(value: object, env: Mapping[str, str]) -> RecordingSettings:
    """
    Read the environment, which takes precedence over the table [recordings].

    @raise ConfigError: a setting is invalid.
    """
    settings = structure(table(value, "recordings"), RecordingSettings, "recordings")
    location = env.get("CHIMEGW_RECORDINGS") or settings.location
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", location) and not re.match(
        r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/\S*)?\Z", location
    ):
        raise ConfigError(
            f"CHIMEGW_RECORDINGS {location[:80]}: expected a folder or"
            " s3://BUCKET/PREFIX"
        )
    return attrs.evolve(settings, location=location)


def webhook_settings(
    value: object, env: Mapping[str, str]
) -> tuple[WebhookSettings, ...]:
    """
    Read each C{[webhooks.NAME]}.

    @raise ConfigError: a setting is invalid.
    """
    found = []
    for name, entry in table(value, "webhooks").items():
        where = f"webhooks.{name}"
        hook = structure({"name": name, **table(entry, where)}, WebhookSettings, where)
        check_url(hook.url, f"{where}.url")
        for event in hook.events:
            if event not in WEBHOOK_EVENTS:
                known = ", ".join(WEBHOOK_EVENTS)
                raise ConfigError(
                    f"{where}.events: {event[:40]!r} is not one of {known}"
                )
        found.append(
            attrs.evolve(
                hook,
                secret=secret(hook.secret, env, f"{where}.secret"),
                bearer=secret(hook.bearer, env, f"{where}.bearer"),
            )
        )
    return tuple(found)
