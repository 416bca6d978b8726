"""The loss curve as inline SVG: two lines that stay readable in light, dark and greyscale."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

from runner.report.story import LossPoint

WIDTH, HEIGHT = 640, 280
LEFT, RIGHT, TOP, BOTTOM = 84, 24, 16, 64
"""Room for labels of 22 units, which is what a phone needs: it shows the drawing at half its size."""
WINDOW = 20
"""The average drawn over the raw losses takes this share of them, one in so many, on each side."""
TICKS = 4
"""Steps between labels of an axis, about so many."""


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

    Single losses are noisy because each step draws its own timesteps, so an average is drawn over the raw values.
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


def smooth(values: Sequence[float], half: int | None = None) -> list[float]:
    """Centred moving average: it stands where the values stand, and lags behind none.

    Args:
        values: raw losses.
        half: neighbours on each side, fewer at the ends; a `WINDOW`th of all when None.
    """
    reach = max(1, len(values) // WINDOW) if half is None else half
    windows = (values[max(0, i - reach) : i + reach + 1] for i in range(len(values)))
    return [sum(window) / len(window) for window in windows]


def round_ticks(first: float, last: float) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten from `first` to `last`."""
    span = (last - first) / TICKS
    if span <= 0:
        return [first]
    power = 10.0 ** floor(log10(span))
    width = power * min((1, 2, 5, 10), key=lambda times: abs(times * power - span))
    return [k * width for k in range(ceil(first / width - 1e-9), floor(last / width + 1e-9) + 1)]


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
    horizontal = "".join(
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{axes.y(v):.1f}" y2="{axes.y(v):.1f}"/>'
        f'<text x="{LEFT - 8}" y="{axes.y(v) + 6:.1f}" text-anchor="end">{v:.3g}</text>'
        for v in round_ticks(0.0, axes.top_loss)
    )
    vertical = "".join(
        f'<text x="{axes.x(round(s)):.1f}" y="{HEIGHT - 38}" text-anchor="middle">{round(s)}</text>'
        for s in round_ticks(axes.first_step, axes.last_step)
        if s == round(s)
    )
    return horizontal + vertical + f'<text x="{WIDTH / 2}" y="{HEIGHT - 10}" text-anchor="middle">step</text>'


def _words(series: dict[str, list[tuple[int, float]]]) -> str:
    parts = []
    for name, line in series.items():
        averaged = smooth([loss for _, loss in line])
        parts.append(f"{name} loss from {averaged[0]:.3g} to {averaged[-1]:.3g}")
    steps = [step for line in series.values() for step, _ in line]
    return ", ".join(parts) + f" over steps {min(steps)} to {max(steps)}"
