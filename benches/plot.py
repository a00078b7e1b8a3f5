"""Curves as SVG: both axes logarithmic, each point a median with a bar from the least to the most."""
import math
from html import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 420, 76, 24, 78, 58
COLOURS = ["#1f6fb4", "#d1590b", "#2f8f4e", "#8a4fa3"]


def number(value):
    """A label of an axis: 10 k, 1 M."""
    for unit, name in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= unit:
            return f"{value / unit:g}{name}"
    return f"{value:g}"


def size(value):
    """The same for bytes: 1 KiB, 1 MiB."""
    for unit, name in ((1 << 20, " MiB"), (1 << 10, " KiB")):
        if value >= unit:
            return f"{value / unit:g}{name}"
    return f"{value:g} B"


def round_numbers(least, most):
    """1, 2 and 5 times powers of ten within what an axis shows; fewer if there are many."""
    decades = range(math.floor(math.log10(least)) - 1, math.ceil(math.log10(most)) + 2)
    steps = (1, 2, 5) if most / least < 2000 else (1,)
    return [m * 10.0**d for d in decades for m in steps if least * 0.999 <= m * 10.0**d <= most * 1.001]


def curves(title, note, across, up, series, at=None, form=number):
    """A picture of series, each (name, [(x, Spread)]). `across` and `up` are what the axes tell, with their units; `at` are the labels below, if not every x."""
    xs = sorted({x for _, points in series for x, _ in points})
    low, high = min(s.least for _, p in series for _, s in p), max(s.most for _, p in series for _, s in p)
    # A curve that is flat is to look flat: at least one decade.
    if high / low < 10:
        low, high = low / math.sqrt(10 * low / high), high * math.sqrt(10 * low / high)
    low, high = low / 1.15, high * 1.15
    left, right = xs[0] / (xs[-1] / xs[0]) ** 0.03, xs[-1] * (xs[-1] / xs[0]) ** 0.03
    def x_of(x):
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log(x / left) / math.log(right / left)
    def y_of(y):
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * math.log(y / low) / math.log(high / low)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="12" fill="#333">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
           f'<text x="{LEFT}" y="22" font-size="15" font-weight="bold">{escape(title)}</text>',
           f'<text x="{LEFT}" y="40" fill="#666">{escape(note)}</text>']
    bottom, end = HEIGHT - BOTTOM, WIDTH - RIGHT
    for y in round_numbers(low, high):
        out.append(f'<path d="M{LEFT} {y_of(y):.1f}H{end}" stroke="#e4e4e4"/><text x="{LEFT - 8}" y="{y_of(y) + 4:.1f}" text-anchor="end">{number(y)}</text>')
    for x in at or xs:
        out.append(f'<path d="M{x_of(x):.1f} {TOP}V{bottom}" stroke="#e4e4e4"/><text x="{x_of(x):.1f}" y="{bottom + 18}" text-anchor="middle">{form(x)}</text>')
    out.append(f'<path d="M{LEFT} {TOP}V{bottom}H{end}" fill="none" stroke="#888"/>')
    out.append(f'<text x="{(LEFT + end) / 2}" y="{HEIGHT - 16}" text-anchor="middle">{escape(across)}</text>')
    middle = (TOP + bottom) / 2
    out.append(f'<text x="18" y="{middle}" text-anchor="middle" transform="rotate(-90 18 {middle})">{escape(up)}</text>')
    legend = LEFT
    for colour, (name, points) in zip(COLOURS, series):
        line = " ".join(f"{x_of(x):.1f},{y_of(s.median):.1f}" for x, s in points)
        out.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for x, s in points:
            a, b, c = x_of(x), y_of(s.least), y_of(s.most)
            out.append(f'<path d="M{a:.1f} {b:.1f}V{c:.1f}M{a - 4:.1f} {b:.1f}h8M{a - 4:.1f} {c:.1f}h8" stroke="{colour}"/>'
                       f'<circle cx="{a:.1f}" cy="{y_of(s.median):.1f}" r="3.5" fill="{colour}"><title>{form(x)}: {s.text(".4g")}</title></circle>')
        out.append(f'<path d="M{legend} 60h22" stroke="{colour}" stroke-width="2"/><text x="{legend + 28}" y="64">{escape(name)}</text>')
        legend += 52 + 7 * len(name)
    return "\n".join([*out, "</svg>", ""])
