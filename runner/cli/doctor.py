"""`runner doctor`: what will fail, said before it does."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runner.cli.options import prices_option
from runner.cli.output import emit, format_option, note
from runner.cli.spec_options import SpecCommand, load, spec_arguments

if TYPE_CHECKING:
    from runner.services.doctor import Result

COLOURS = {"ok": "green", "warning": "yellow", "failed": "red"}
WHERE = ("context", "namespace", "provider")
"""Settings that mean something without a spec."""


@click.command(cls=SpecCommand)
@spec_arguments
@prices_option
@format_option
def doctor(spec: str | None, overrides: tuple[str, ...], form: str, prices: Path | None, **flags: Any) -> int:
    """Check everything that a submit of SPEC needs, or without one this machine and the cluster.

    Nothing is stored or created, but an object of the check's own in the store, which it deletes. Exit code: 0 when
    nothing failed, 5 when only permissions are missing, 6 when only something does not answer, else 7.
    """
    from runner.services.doctor import exit_code

    results: list[Result] = []
    for result in _results(spec, overrides, flags, prices):
        results.append(result)
        if form == "text":
            _print(result)
    failed = [result.name for result in results if result.verdict == "failed"]
    emit([result.as_dict() for result in results], form, lambda: None, "\n".join(failed))
    warned = sum(result.verdict == "warning" for result in results)
    note(f"{len(results)} checks: {len(failed)} failed, {warned} with warnings")
    return exit_code(results)


def _results(
    spec: str | None, overrides: tuple[str, ...], flags: dict[str, Any], prices: Path | None
) -> "Iterator[Result]":
    from runner.services.cost import load_prices
    from runner.services.doctor import examine_machine, examine_spec

    if spec is not None:
        return examine_spec(load(spec, overrides, flags), load_prices(prices))
    given = {name.removesuffix("_setting"): value for name, value in flags.items() if value not in (None, ())}
    if overrides or set(given) - set(WHERE):
        raise click.UsageError("Without a SPEC only --context, --namespace and --provider are looked at.")
    return examine_machine(_settings(given))


def _settings(given: dict[str, Any]) -> Any:
    from runner.spec.model import Kubernetes

    return Kubernetes.model_validate(given)


def _print(result: "Result") -> None:
    click.secho(f"{result.verdict:<8}", fg=COLOURS[result.verdict], nl=False)
    click.echo(f"{result.name:<23}{result.sentence}")
    if result.remedy:
        click.echo(f"{'':<31}fix: {result.remedy}")
