"""`runner explain`: why a run stands where it stands."""

import click

from runner.cli.inspect import store_option
from runner.cli.output import emit, facts, format_option


@click.command()
@click.argument("run")
@store_option
@format_option
def explain(run: str, store: str | None, form: str) -> None:
    """Say why RUN stands where it stands, and what to change."""
    from runner.services.explain import explanation
    from runner.services.known import look, observer_of
    from runner.services.open_run import open_run

    opened = open_run(run, store)
    found = explanation(look(opened.jobs, lambda: observer_of(opened.jobs)))

    def text() -> None:
        facts({
            "run": found.run_id,
            "state": found.state,
            "job": found.job or None,
            "cause": found.cause,
            "why": found.sentence,
            "fix": found.remedy or None,
            "wait": "it may get well by itself" if found.passing and not found.well else None,
        })  # fmt: skip
        for line in found.evidence:
            click.echo(f"seen   {line}")

    emit(found.as_dict(), form, text, found.cause)
