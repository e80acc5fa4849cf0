"""`foreshock dashboard`: serve the pages of a store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from foreshock.cli import options, output

if TYPE_CHECKING:
    from foreshock.dashboard.sign_in import SignInSettings


def dashboard(
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Address to listen on; 0.0.0.0 admits other machines.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port to listen on.")] = 8501,
    store: options.Store = None,
    config: options.Config = None,
) -> None:
    """Serve the pages of a store until Ctrl-C: firing alerts, topics, stories, and the health of the feeds.

    It listens on this machine only, unless --host is given, and answers only to localhost and the names in
    [dashboard]. If other machines can reach it, it is read-only unless [sign_in] or [dashboard]
    allow_anonymous_actions is set.
    """
    settings = options.load(config, store=store).settings

    from foreshock.dashboard import market, serve
    from foreshock.dashboard.settings import ServeSettings
    from foreshock.settings.load import SettingsError

    try:
        wanted = ServeSettings(
            store=settings.store.url,
            host=host,
            port=port,
            model=settings.model,
            watchlist_file=settings.watchlist.file,
            sign_in=settings.sign_in,
            **settings.dashboard.model_dump(),
        )
        names = wanted.hosts
    except ValueError:
        raise typer.BadParameter(f"{host!r} is not a name or an address", param_hint="--host") from None
    if wanted.exchange is not None and (refusal := market.refusal(wanted.exchange)):
        raise SettingsError(f"dashboard.exchange: {refusal}")
    if settings.sign_in.on:
        wanted = wanted.model_copy(update={"sign_in_secret": sign_in_secret(settings.sign_in)})
    with serve.started(wanted) as process:
        output.print_text(f"Foreshock's dashboard: {serve.address(wanted)}")
        if wanted.sign_in.on:
            output.note(f"People sign in at {wanted.external_url}, below which it answers.")
        elif wanted.exposed:
            acts = "acknowledge alerts and silence topics" if wanted.may_act else "but not act: the pages are read-only"
            output.note(f"Anyone who can reach these pages can read all stories, {'and ' * wanted.may_act}{acts}.")
            output.note(
                f"It answers to these names only: {', '.join(names)}. Others: [dashboard] allowed_hosts, external_url."
            )
        output.note("Press Ctrl-C to stop it.")
        code = process.wait()
    raise typer.Exit(1 if code else 0)


def sign_in_secret(settings: SignInSettings) -> str:
    """Return the secret of the sign-in. Raises SettingsError."""
    from foreshock.settings.load import SettingsError

    try:
        return settings.secret()
    except ValueError as error:
        raise SettingsError(f"{error}.") from None
