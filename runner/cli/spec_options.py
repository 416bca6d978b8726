"""The spec on a command line: its file, `--set`, and a flag per setting, derived from the model."""

from collections.abc import Callable
from typing import Any

import click

from runner.cli.output import sentences, warn
from runner.spec.loading import LoadedSpec, load_spec
from runner.spec.options import Option, spec_options

KINDS: dict[str, Any] = {"text": str, "int": int, "float": float, "bool": bool}


class SpecOption(click.Option):
    """A flag that sets one value of the spec; remembers which, and its section for the help."""

    def __init__(self, *args: Any, path: str, section: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.path = path
        self.section = section


class SpecCommand(click.Command):
    """A command whose help groups the spec's flags by section."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The command's own options first, then a group per section."""
        groups: dict[str, list[tuple[str, str]]] = {"Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                name = parameter.section if isinstance(parameter, SpecOption) else "Options"
                groups.setdefault(name, []).append(record)
        for name, rows in groups.items():
            with formatter.section(name if name == "Options" else f"Spec: {name}"):
                formatter.write_dl(rows)


def spec_arguments(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the spec's file, `--set` and the flags; the command gets `loaded: LoadedSpec` through `load`."""
    for option in reversed(spec_options()):
        command = _flag(option)(command)
    command = click.option(
        "--set", "overrides", multiple=True, metavar="KEY=VALUE",
        help="Set any value of the spec, as train.max_steps=300; wins over the file. Repeatable.",
    )(command)  # fmt: skip
    return click.argument("spec", required=False, type=click.Path(dir_okay=False, allow_dash=True))(command)


def load(spec: str | None, overrides: tuple[str, ...], flags: dict[str, Any]) -> LoadedSpec:
    """Load the spec of a command, and print its warnings.

    Args:
        spec: the file's name, `-`, or None when flags describe the whole run.
        overrides: of `--set`.
        flags: the command's keyword arguments, by parameter name.
    """
    paths = {_parameter(option): option.path for option in spec_options()}
    given = {paths[name]: _value(value) for name, value in flags.items() if value not in (None, ())}
    if spec is None and not given and not overrides:
        raise click.UsageError("Name a spec, as in `runner submit run.yaml`; `runner init` writes one.")
    loaded = load_spec(spec, overrides=overrides, flags=given)
    for warning in loaded.warnings:
        warn(f"{warning.path}: {sentences(warning.message, warning.remedy)}")
    return loaded


def _value(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _parameter(option: Option) -> str:
    return option.flag.removeprefix("--").replace("-", "_") + "_setting"


def _flag(option: Option) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    names = [
        f"{option.flag}/--no-{option.flag[2:]}" if option.kind == "bool" else option.flag,
        _parameter(option),
    ]
    kind = click.Choice(option.choices) if option.kind == "choice" else KINDS.get(option.kind, str)
    extra: dict[str, Any] = {} if option.kind == "bool" else {"type": kind, "multiple": option.multiple}
    return click.option(
        *names,
        cls=SpecOption,
        default=None,
        help=option.help,
        path=option.path,
        section=option.section,
        **extra,
    )
