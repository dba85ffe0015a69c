"""One SVG for each question, written by hand: no plotting package is needed."""

import math
from html import escape

from .names import name as called
from .questions import CAPACITY, QUESTIONS
from .results import median, values

WIDTH, MARGIN, GAP = 960, 28, 40
BAR, STEP, LABEL = 13, 20, 162
PANEL_HEAD, HEAD, FOOT = 30, 74, 40
INK, PALE, LINE, PAPER = "#1c2430", "#6b7685", "#e3e7ec", "#ffffff"
OURS, OTHERS, FLOOR = "#0f7b6c", "#b4bdc9", "#e0a33a"
FONT = "font-family=\"system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif\""


def draw(results):
    """Writes what the results have an answer to; the paths."""
    folder = results.path.with_suffix("")
    drawn = []
    for name in dict.fromkeys(row["question"] for row in results.rows):
        svg = plot(name, results)
        if svg:
            folder.mkdir(exist_ok=True)
            path = folder / f"{name}.svg"
            path.write_text(svg)
            drawn.append(path)
    return drawn


def plot(name, results, cells=None, is_shown=lambda server: True):
    """The SVG that answers a question, or None; of some cells and servers only, if they are given."""
    found, names = results.of(name), list(filter(is_shown, results.names(name)))
    cells = [cell for cell in results.cells(name) if cells is None or cell in cells]

    def panels(key, only=lambda cell: True, title="{}"):
        made = []
        for cell in filter(only, cells):
            bars = [(server, *low_mid_high(rows, key)) for server in names
                    if values(rows := found.get((cell, server)), key)]
            if bars:
                made.append((title.format(cell), bars))
        return made

    about = QUESTIONS[name].about
    if name in ("echo", "raw", "deflate"):
        return bars(results, f"CPU time of the server for one message: {about}",
                    "microseconds, user and kernel, all threads; less is better", panels("cpu_us"))
    if name == "fanout":
        made = [panel for cell in cells for key, how in (("one", "one publish at a time"), ("burst", "fifty at once"))
                for panel in panels(f"{key}.cpu_us", lambda c, cell=cell: c == cell, "{}, " + how)]
        return bars(results, "CPU time of the server for one delivery of 200 bytes",
                    "microseconds, user and kernel, all threads; less is better", made)
    if name == "handshakes":
        return bars(results, "CPU time of the server for one opening handshake",
                    "microseconds, user and kernel, all threads; less is better", panels("cpu_us"))
    if name == "idle":
        made = [panel for key, how in (("bytes_fresh", "fresh"), ("bytes_echoed", "after one echo"))
                for panel in panels(key, title="{}, " + how)]
        return bars(results, "Resident memory of an idle connection", "bytes; less is better", made, log=True)
    if name == "rate":
        return dots(results, f"Round trip at a fixed rate: {', '.join(cells)}",
                    "microseconds since the message was due, logarithmic", found, cells, names,
                    [("p50_us", "median"), ("p99_us", "99 %"), ("p999_us", "99.9 %")])
    if name == "latency":
        shares = [cell for cell in cells if not cell.endswith(CAPACITY)]
        return dots(results, "Round trip at shares of what each server can answer",
                    "microseconds since the message was due, logarithmic; beside the name: messages a second",
                    found, shares, names, [("p50_us", "median"), ("p99_us", "99 %"), ("p999_us", "99.9 %")],
                    lambda cell, server: f"{median(found[cell, server], 'rate'):,.0f}")
    if name == "health":
        return dots(results, "How late an innocent Erlang process runs under load",
                    "microseconds after its timer was due, logarithmic", found, cells, names,
                    [("wake_p50_us", "median"), ("wake_p99_us", "99 %"), ("wake_max_us", "latest")])
    if name == "json":
        return bars(results, "JSON alone: CPU time of a call", "nanoseconds; less is better", panels("cpu_ns"))
    return None


def low_mid_high(rows, key):
    found = values(rows, key)
    return min(found), median(rows, key), max(found)


def colour(server):
    return OURS if server.startswith("sockeye") else FLOOR if server.startswith("raw") else OTHERS


def text(x, y, words, size=12, fill=INK, anchor="start", weight=400):
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{fill}" text-anchor="{anchor}" '
            f'font-weight="{weight}" {FONT}>{escape(words)}</text>')


def page(results, title, about, body, height):
    machine = results.machine
    made = (f"{machine.get('cpu', '')}, {machine.get('cores', '?')} cores, Linux {'.'.join(machine.get('kernel', '').split('.')[:2])}, "
            f"OTP {machine.get('otp', '')}, commit {machine.get('commit', '')}, {machine.get('date', '')}")
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" height="{height:.0f}" '
        f'role="img" aria-label="{escape(title)}">',
        f'<rect width="{WIDTH}" height="{height:.0f}" rx="10" fill="{PAPER}"/>',
        text(MARGIN, 36, title, 19, weight=600), text(MARGIN, 58, about, 13, PALE),
        *body, text(MARGIN, height - 16, made, 10.5, PALE), "</svg>", ""])


def short(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def bars(results, title, about, panels, log=False):
    """Panels side by side, two in a row; the bar is the median, the whisker spans all runs."""
    if not panels:
        return None
    across = 1 if len(panels) == 1 else 2
    wide = (WIDTH - 2 * MARGIN - (across - 1) * GAP) / across
    body, y = [], HEAD
    for first in range(0, len(panels), across):
        row = panels[first:first + across]
        for n, (name, found) in enumerate(row):
            body += panel(MARGIN + n * (wide + GAP), y, wide, name, found, log)
        y += PANEL_HEAD + STEP * max(len(found) for _, found in row) + 18
    return page(results, title, about, body, y + FOOT - 10)


def panel(x, y, wide, name, found, log):
    label = label_width([server for server, *_ in found])
    left, room = x + label, wide - label - 58
    most = max(high for _, _, _, high in found)
    least = min(low for _, low, _, _ in found)
    low_end = 10 ** math.floor(math.log10(max(least, 1))) if log else 0

    def at(value):
        if log:
            return room * max(0, math.log10(max(value, low_end) / low_end)) / max(math.log10(most / low_end), 0.01)
        return room * value / most

    out = [text(x, y + 14, name + (" (logarithmic)" if log else ""), 13.5, weight=600)]
    y += PANEL_HEAD
    out.append(f'<line x1="{left:.1f}" y1="{y - 4}" x2="{left:.1f}" y2="{y + STEP * len(found) - 2}" stroke="{LINE}"/>')
    for server, low, middle, high in found:
        ours = server.startswith("sockeye")
        out.append(text(left - 8, y + 10.5, called(server), 12, INK if ours else PALE, "end", 600 if ours else 400))
        out.append(f'<rect x="{left:.1f}" y="{y}" width="{max(at(middle), 1.5):.1f}" height="{BAR}" rx="2" fill="{colour(server)}"/>')
        if at(high) - at(low) > 2:
            out.append(f'<line x1="{left + at(low):.1f}" y1="{y + BAR / 2}" x2="{left + at(high):.1f}" y2="{y + BAR / 2}" '
                       f'stroke="{INK}" stroke-opacity="0.55"/>')
        out.append(text(left + max(at(middle), at(high)) + 6, y + 10.5, short(middle), 11.5, INK, weight=600 if ours else 400))
        y += STEP
    return out


def label_width(servers):
    """Enough for the longest name, of which ours are bold."""
    return max([LABEL, *(len(called(server)) * (6.9 if server.startswith("sockeye") else 6.1) + 10 for server in servers)])


def dots(results, title, about, found, cells, names, keys, beside=None):
    """A line for each server from the first percentile to the last, on one logarithmic axis; and what `beside` says of it."""
    rows = [(cell, server, [median(found.get((cell, server)), key) for key, _ in keys]) for cell in cells for server in names
            if median(found.get((cell, server)), keys[0][0]) is not None]
    if not rows:
        return None
    every = [max(point, 1) for _, _, points in rows for point in points]
    low, high = math.floor(math.log10(min(every))), math.ceil(math.log10(max(every) + 1))
    label = label_width([server for _, server, _ in rows]) + (62 if beside else 0)
    left, room = MARGIN + label + 20, WIDTH - 2 * MARGIN - label - 80

    def at(value):
        return left + room * (math.log10(max(value, 1)) - low) / max(high - low, 1)

    body, y, lines = [], HEAD + 24, []
    for n, (_, meaning) in enumerate(keys):
        x = left + n * 110
        body.append(f'<circle cx="{x}" cy="{HEAD + 4}" r="5" fill="{INK}" fill-opacity="{opacity(n)}"/>')
        body.append(text(x + 11, HEAD + 8, meaning, 12, PALE))
    top = y
    for cell in dict.fromkeys(row[0] for row in rows):
        if len({row[0] for row in rows}) > 1:
            lines.append(text(MARGIN, y + 14, cell, 13.5, weight=600))
            y += 26
        for _, server, points in (row for row in rows if row[0] == cell):
            ours, paint = server.startswith("sockeye"), colour(server)
            paint = "#7d8896" if paint == OTHERS else paint
            lines.append(text(left - 14 - (62 if beside else 0), y + 11, called(server), 12, INK if ours else PALE, "end", 600 if ours else 400))
            if beside:
                lines.append(text(left - 14, y + 11, beside(cell, server), 11.5, PALE, "end"))
            lines.append(f'<line x1="{at(points[0]):.1f}" y1="{y + 7}" x2="{at(points[-1]):.1f}" y2="{y + 7}" stroke="{paint}" stroke-width="2.5" stroke-opacity="0.45"/>')
            for n, point in enumerate(points):
                lines.append(f'<circle cx="{at(point):.1f}" cy="{y + 7}" r="5" fill="{PAPER}"/>')
                lines.append(f'<circle cx="{at(point):.1f}" cy="{y + 7}" r="5" fill="{paint}" fill-opacity="{opacity(n)}"/>')
            lines.append(text(at(points[-1]) + 11, y + 11, f"{points[-1]:,.0f}", 11.5, INK, weight=600 if ours else 400))
            y += STEP + 2
        y += 6
    for power in range(low, high + 1):
        x = at(10 ** power)
        body.append(f'<line x1="{x:.1f}" y1="{top - 4}" x2="{x:.1f}" y2="{y}" stroke="{LINE}"/>')
        body.append(text(x, y + 14, f"{10 ** power:,}", 11, PALE, "middle"))
    return page(results, title, about, body + lines, y + FOOT + 14)


def opacity(n):
    return (0.35, 0.65, 1)[n]
