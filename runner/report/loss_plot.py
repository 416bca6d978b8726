"""The loss curve as inline SVG: two lines that stay readable in light, dark and greyscale."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from runner.report.story import LossPoint

WIDTH, HEIGHT = 640, 240
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 36
SMOOTHING = 0.1
"""Weight of the newest value in the exponential average that is drawn over the raw losses."""


@dataclass(frozen=True, slots=True)
class _Axes:
    """The mapping from (step, loss) to pixels."""

    first_step: int
    last_step: int
    top_loss: float

    def x(self, step: int) -> float:
        span = max(self.last_step - self.first_step, 1)
        return LEFT + (step - self.first_step) / span * (WIDTH - LEFT - RIGHT)

    def y(self, loss: float) -> float:
        return HEIGHT - BOTTOM - min(loss / self.top_loss, 1.0) * (HEIGHT - TOP - BOTTOM)


def loss_svg(points: Sequence[LossPoint]) -> str:
    """An SVG element of the losses over steps; empty when there are no points.

    Single losses are noisy because each step draws its own timesteps, so an exponential average is drawn over
    the raw values.
    """
    if not points:
        return ""
    series = {"instance": [(p.step, p.instance) for p in points]}
    prior = [(p.step, p.prior) for p in points if p.prior is not None]
    if prior:
        series["prior"] = prior
    axes = _Axes(
        points[0].step, points[-1].step, max(_top([loss for _, loss in line]) for line in series.values())
    )
    body = _grid(axes) + "".join(_series(name, line, axes) for name, line in series.items())
    words = escape(_words(series))
    return (
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{words}">'
        f"<title>{words}</title>{body}</svg>"
    )


def smooth(values: Sequence[float], weight: float = SMOOTHING) -> list[float]:
    """Exponential average of `values`, starting at the first."""
    out: list[float] = []
    for value in values:
        out.append(value if not out else out[-1] + weight * (value - out[-1]))
    return out


def _top(losses: Sequence[float]) -> float:
    """The upper end of the axis: all of the average, but not every outlier, which would flatten the curve."""
    ordered = sorted(losses)
    return max(ordered[int(0.98 * (len(ordered) - 1))], *smooth(losses), 1e-9) * 1.1


def _series(name: str, line: Sequence[tuple[int, float]], axes: _Axes) -> str:
    averaged = list(zip([step for step, _ in line], smooth([loss for _, loss in line]), strict=True))
    return (
        f'<path class="raw {name}" d="{_path(line, axes)}"/>'
        f'<path class="line {name}" d="{_path(averaged, axes)}"/>'
    )


def _path(line: Sequence[tuple[int, float]], axes: _Axes) -> str:
    return "M" + "L".join(f"{axes.x(step):.1f},{axes.y(loss):.1f}" for step, loss in line)


def _grid(axes: _Axes) -> str:
    rows = [axes.top_loss * k / 4 for k in range(5)]
    steps = sorted({round(axes.first_step + (axes.last_step - axes.first_step) * k / 4) for k in range(5)})
    horizontal = "".join(
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{axes.y(v):.1f}" y2="{axes.y(v):.1f}"/>'
        f'<text x="{LEFT - 6}" y="{axes.y(v) + 4:.1f}" text-anchor="end">{v:.3g}</text>'
        for v in rows
    )
    vertical = "".join(
        f'<text x="{axes.x(s):.1f}" y="{HEIGHT - 16}" text-anchor="middle">{s}</text>' for s in steps
    )
    return horizontal + vertical + f'<text x="{WIDTH / 2}" y="{HEIGHT - 2}" text-anchor="middle">step</text>'


def _words(series: dict[str, list[tuple[int, float]]]) -> str:
    parts = []
    for name, line in series.items():
        averaged = smooth([loss for _, loss in line])
        parts.append(f"{name} loss from {averaged[0]:.3g} to {averaged[-1]:.3g}")
    steps = [step for line in series.values() for step, _ in line]
    return ", ".join(parts) + f" over steps {min(steps)} to {max(steps)}"
