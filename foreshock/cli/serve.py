"""`foreshock serve`: score texts and read the store over HTTP."""

from __future__ import annotations

from typing import Annotated

import typer

from foreshock.cli import options, output


def serve(
    host: Annotated[
        str | None,
        typer.Option("--host", metavar="ADDRESS", help="Address to listen on; other machines need API keys."),
    ] = None,
    port: Annotated[int | None, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0: any.")] = None,
    no_score: Annotated[bool, typer.Option("--no-score", help="Only read: do not load the encoder.")] = False,
    new_key: Annotated[
        str | None, typer.Option("--new-key", metavar="NAME", help="Make an API key, show it, and exit.")
    ] = None,
    weights: options.Weights = None,
    device: options.Device = None,
    store: options.Store = None,
    config: options.Config = None,
) -> None:
    """Score texts and read the store over HTTP until stopped: JSON, and server-sent events of incidents.

    It listens on this machine only, unless --host is given and the settings have API keys. A stop answers what has
    begun, and ends.
    """
    if new_key is not None:
        _make_key(new_key)
        return
    settings = options.load(config, store=store, weights=weights, device=device).settings
    given = {"host": host, "port": port, "score": False if no_score else None}
    given = {name: value for name, value in given.items() if value is not None}
    settings = settings.model_copy(update={"serve": settings.serve.model_copy(update=given)})

    from foreshock.cli.stopping import stopping
    from foreshock.processes.serve import serve as answer

    loads = "; it scores once the encoder is loaded" if settings.serve.score else ""
    with stopping() as stop:
        answer(settings, stop=stop, on_listening=lambda url: output.print_text(f"Foreshock answers at {url}{loads}"))


def _make_key(name: str) -> None:
    import json

    from foreshock.serving.keys import hashed, new_key

    key = new_key()
    output.print_text(key)
    output.note("Give this key to whoever asks; it cannot be shown again. Add its hash to the settings file:")
    table = f'[[api_keys]]\nname = {json.dumps(name)}\nsha256 = "{hashed(key)}"\nscopes = ["read", "score"]'
    for line in ("", *table.splitlines()):
        output.note(line)
