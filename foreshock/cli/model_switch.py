"""`foreshock model switch`: let another model score a store's stories from a bucket on."""

from __future__ import annotations

from typing import Annotated

import typer

from foreshock.cli import options, output
from foreshock.cli.stopping import stopping


def switch(
    weights: Annotated[
        str | None,
        typer.Argument(
            metavar="WEIGHTS",
            help="default, permissive, chinese, a folder of weights, an adapted file, or hf:FOLDER.",
            show_default=False,
        ),
    ] = None,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Take back the switch under way, instead of beginning one.")
    ] = False,
    device: options.Device = None,
    json: options.Json = False,
    store: options.Store = None,
    config: options.Config = None,
) -> None:
    """Change the model of a store: score its last 28 days again, and go over at one recorded bucket.

    The change itself raises no alert. `run` and `monitor` keep going meanwhile, and go over by themselves. If you run
    it again after an interruption, it continues where it stopped. --cancel takes the switch back until the first story
    of its bucket is stored. After that, wait until the switch is in force; then switch back.
    """
    from foreshock.processes.switch import switch as switch_model
    from foreshock.processes.switch import take_back

    if cancel == (weights is not None):
        raise typer.BadParameter("give either WEIGHTS or --cancel", param_hint="WEIGHTS")
    settings = options.load(config, store=store, device=device).settings
    if weights is None:
        taken = take_back(settings)
        if json:
            output.print_json(taken.to_json())
        else:
            output.print_text(f"The switch to {taken.model} is taken back: {taken.before} scores on.")
            output.print_text("If the settings name the new weights already, name those before again.")
        return
    with stopping() as stop, output.progress("score again") as advance:
        found = switch_model(
            settings, weights, stop=stop, on_progress=lambda share: advance(share, 1.0, f"{share:.0%}")
        )
    if json:
        output.print_json(found.to_json())
        return
    since = f" since {found.in_force_from}" if found.before else ""
    said = {
        "unchanged": f"{found.model} is the model in force{since}.",
        "in force": f"{found.model} scores from {found.in_force_from} on. Before it was {found.before}.",
        "armed": f"{found.model} scores from {found.in_force_from} on. It comes into force when run or monitor has "
        "decided the buckets before.",
        "scoring": "Not in force yet. Run this command again to go on.",
    }
    output.print_text(said.get(found.state, "Another switch has taken the place of this one."))
    if found.rescored:
        output.print_text(f"{found.rescored:,} stories were scored again.")
    if found.state in ("in force", "armed"):
        output.print_text(f'Name it in the settings, too: [model] weights = "{found.weights}"')
