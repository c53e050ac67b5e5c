"""The commands ``serve`` and ``token``."""

from datetime import datetime, timedelta
from pathlib import Path

import click

from analytics_pipeline.api.scopes import Scope
from analytics_pipeline.api.tokens import create_token, list_tokens, revoke_token
from analytics_pipeline.cli.options import allow_unknown_option, require_company
from analytics_pipeline.cli.terminal import echo, echo_json
from analytics_pipeline.database import connect
from analytics_pipeline.settings import get_settings
from analytics_pipeline.text import printable_line

DEFAULT_PORT = 8000
_READ = (Scope.FIGURES, Scope.REPORTS)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), default=DEFAULT_PORT, show_default=True, help="Port.")
@click.option("--tls-cert", type=click.Path(dir_okay=False, path_type=Path), help="Certificate (PEM), for HTTPS.")
@click.option("--tls-key", type=click.Path(dir_okay=False, path_type=Path), help="Key of the certificate (PEM).")
def serve(host: str, port: int, tls_cert: Path | None, tls_key: Path | None) -> None:
    """Serve the API and the dashboard page over HTTP, until Ctrl-C.

    Whoever asks needs a token: 'analytics-pipeline token create LABEL --operator'. The API is described under /docs.
    """
    if (tls_cert is None) != (tls_key is None):
        raise click.UsageError("Give both --tls-cert and --tls-key, or neither.")
    from analytics_pipeline.api.serving import run_server

    run_server(get_settings(), host, port, tls_cert, tls_key)


@click.group()
def token() -> None:
    """Make, list and revoke the tokens with which applications ask the API."""


@token.command("create")
@click.argument("label")
@click.option("--company", help="The company that it is bound to.")
@click.option("--operator", is_flag=True, help="For operators, who may ask for every company.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice([str(scope) for scope in Scope]),
    help="What it may be used for, several times; without it: figures and reports.",
)
@click.option("--days", type=click.IntRange(1, 3650), default=90, show_default=True, help="How long it is valid.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@allow_unknown_option
def create(
    label: str, company: str | None, scopes: tuple[str, ...], days: int, *, operator: bool, as_json: bool
) -> None:
    """Make a token for LABEL, somebody or some program, and print it: it is shown this once."""
    if (company is None) != operator:
        raise click.UsageError("Say whom the token is for: either --company X or --operator.")
    wanted = [Scope(scope) for scope in scopes] or list(_READ)
    with connect(autocommit=True) as connection:
        require_company(connection, company)
        token_id, secret = create_token(connection, label, company, wanted, timedelta(days=days))
    if as_json:
        echo_json({"id": token_id, "token": secret})
        return
    echo(secret)
    echo(f"Token {token_id} is valid for {days} days. It is not shown again.", err=True)


@token.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
def list_(*, as_json: bool) -> None:
    """Show the tokens: whom each is for, what it may be used for, and when it was used last."""
    with connect(autocommit=True) as connection:
        tokens = list_tokens(connection)
    if as_json:
        rows = [
            {
                "id": each.token_id,
                "label": each.label,
                "companyId": each.company_id,
                "scopes": each.scopes,
                "createdAt": _instant(each.created_at),
                "expiresAt": _instant(each.expires_at),
                "lastUsedAt": _instant(each.last_used_at),
                "revokedAt": _instant(each.revoked_at),
                "valid": each.is_valid,
            }
            for each in tokens
        ]
        echo_json(rows)
        return
    for each in tokens:
        state = "revoked" if each.revoked_at else f"{'expires' if each.is_valid else 'expired'} {each.expires_at:%F}"
        used = f"used {each.last_used_at:%F %H:%M} UTC" if each.last_used_at else "never used"
        whose = "operators" if each.company_id is None else printable_line(each.company_id)
        echo(f"{each.token_id}  {printable_line(each.label)}: {whose}, {' '.join(each.scopes)}, {state}, {used}")
    if not tokens:
        echo("There are no tokens.")


@token.command("revoke")
@click.argument("token_id", metavar="ID")
def revoke(token_id: str) -> None:
    """Make the token of an ID worthless; a running server takes it for at most five seconds longer."""
    with connect(autocommit=True) as connection:
        was_valid = revoke_token(connection, token_id)
    echo(f"Token {token_id} {'is revoked' if was_valid else 'was revoked before'}.")


def _instant(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment:%Y-%m-%dT%H:%M:%SZ}"
