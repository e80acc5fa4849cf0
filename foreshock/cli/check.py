"""`foreshock check`: examine a feed file before a replay."""

from __future__ import annotations

import shlex
import time
from dataclasses import replace
from pathlib import Path

import typer

from foreshock.cli import options, output


def check(
    file: options.FeedFile,
    map_: options.Map = None,
    as_: options.As = None,
    encoding: options.Encoding = None,
    date_format: options.DateFormat = None,
    date_only: options.DateOnly = False,
    json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Examine a feed file: columns, date formats, order, repeats, dead letters; and print the replay to run."""
    from foreshock.analysis.feed_check import check as examine
    from foreshock.ingest.parsing import AHEAD
    from foreshock.monitor.watermark import TimeRules

    settings = options.load(config, date_only=date_only, encoding=encoding, date_format=date_format, as_=as_).settings
    rules = settings.parsing(options.mapping(map_, as_)).rules()
    broken = False
    commands: list[str] = []
    for number, path in enumerate(options.feed_files([file])):
        report = examine(
            path,
            rules,
            latest=time.time_ns() // 1_000 + AHEAD,
            time=TimeRules(lateness=settings.time.lateness, max_staleness=settings.time.max_staleness),
            config=config,
            preset=options.preset_name(as_),
        )
        if str(file) == "-":
            report = replace(report, path="-", command=report.command and report.command.replace(str(path), "-"))
        if file.is_dir():  # one after another, the files would come late: their stories have to be merged by time
            whole = report.command and report.command.replace(shlex.quote(str(path)), shlex.quote(str(file)), 1)
            commands += [whole] if whole else []
            report = replace(report, command=whole if json else None)
        if json:
            output.print_json(report.to_json())
        else:
            output.print_text(("\n" if number else "") + report.text())
        broken = broken or report.broken is not None or not report.stories
    if commands:
        _advise_for_all(file, sorted(set(commands)))
    if broken:
        raise typer.Exit(1)


def _advise_for_all(folder: Path, commands: list[str]) -> None:
    if len(commands) == 1:
        output.note(f"To replay all files of {folder}, merged by time: {commands[0]}")
        return
    output.note(
        f"The files of {folder} need different options, so one replay cannot read them all. Put those that need the "
        "same into a folder of their own, and replay the folder with the oldest stories first: " + "; ".join(commands)
    )
