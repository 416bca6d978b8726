"""`runner init`, `validate`, `schema`, `version`: around the spec, before any run."""

from pathlib import Path
from typing import Any

import click

from runner import __version__
from runner.cli.output import emit, format_option, note, sentences
from runner.cli.spec_options import SpecCommand, load, spec_arguments
from runner.errors import Conflict


@click.command()
@click.argument("path", default="run.yaml", type=click.Path(dir_okay=False, allow_dash=True))
@click.option(
    "--from-concepts",
    type=click.Path(exists=True, dir_okay=False),
    help="A concepts_list.json of the older scripts.",
)
@click.option("--name", default=None, help="Name of the run.")
@click.option("--model", default=None, help="The base model.")
@click.option("--force", is_flag=True, help="Replace a file that exists.")
@format_option
def init(
    path: str, from_concepts: str | None, name: str | None, model: str | None, form: str, *, force: bool
) -> None:
    """Write a commented spec to PATH (`-`: stdout)."""
    from runner.spec.concepts import from_concepts_list
    from runner.spec.template import STARTER, template
    from runner.storage.files import explained

    values = dict(from_concepts_list(Path(from_concepts)) if from_concepts else STARTER)
    values |= {"name": name} if name else {}
    values |= {"model": {"id": model}} if model else {}
    text = template(values, Path(path).absolute().parent)
    if path == "-":
        emit(values, "text" if form == "yaml" else form, lambda: click.echo(text, nl=False), values["name"])
        return
    target = Path(path)
    if target.exists() and not force:
        raise Conflict(f"{path} exists", "Name another file, or replace it with --force.")
    with explained(path):
        target.write_text(text, encoding="utf-8")
    emit({"path": path}, form, lambda: None, path)
    if from_concepts and not (name and model):
        note(
            f"it names no run and no model: taken are {values['name']} and {values['model']['id']} (--name, --model)"
        )
    note(f"wrote {path}; next: put your photos where instance_images says, then `runner submit {path}`")


@click.command(cls=SpecCommand)
@spec_arguments
@format_option
def validate(spec: str | None, overrides: tuple[str, ...], form: str, **flags: Any) -> None:
    """Check SPEC, its photos and its model; nothing is written or started."""
    from runner.services.prepare import prepare

    prepared = prepare(load(spec, overrides, flags))
    warnings = [
        {
            "folder": dataset.photos.url,
            "file": finding.file,
            "message": finding.message,
            "remedy": finding.remedy,
        }
        for dataset in prepared.datasets
        for finding in dataset.findings
    ]
    photos = sum(len(dataset.plan.photos) for dataset in prepared.datasets)
    value = {
        "run_id": prepared.run_id,
        "store": prepared.place.settings.url,
        "photos": photos,
        "warnings": warnings,
    }

    def text() -> None:
        for dataset in prepared.datasets:
            for finding in dataset.findings:
                where = f"{dataset.photos.url}/{finding.file}" if finding.file else dataset.photos.url
                click.echo(f"warning: {where} {sentences(finding.message, finding.remedy)}")
        click.echo(f"ok: run {prepared.run_id}, {photos} photos, store {prepared.place.settings.url}")

    emit(value, form, text, prepared.run_id)


@click.command()
@format_option
def schema(form: str) -> None:
    """Print the spec's JSON schema, for editors and CI."""
    from runner.spec.schema import json_schema

    value = json_schema()
    emit(value, "yaml" if form == "yaml" else "json", lambda: None)


@click.command()
@format_option
def version(form: str) -> None:
    """Print the version."""
    emit({"version": __version__}, form, lambda: click.echo(f"runner {__version__}"), __version__)
