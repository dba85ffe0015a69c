"""What bench/scale found: a page of tables, and how memory and a publish grow with the connections."""

import math
from html import escape

from . import plots, servers
from .names import name as called, plain
from .scale import KINDS, kind_of, of_kind

STEPS = ["opened at a rate", "idle with pings", "echo of 64", "one publish", "fifty publishes", "a message each", "all gone at once",
         "reopened at once", "drained", "reopened after the drain", "stopped"]
PARTS = [("opened at a rate", "resident", "in the server, opened"), ("opened at a rate", "engine", "of these by the engine's own count"),
         ("opened at a rate", "vm", "of these by `erlang:memory(total)`"), ("opened at a rate", "kernel", "in the kernel, both ends, opened"),
         ("a message each", "resident", "in the server, when all has been done"), ("all gone at once", "resident", "left when all are gone"),
         ("reopened at once", "resident", "in the server, opened again"), ("stopped", "resident", "left when it is stopped")]
DASHES = {"TCP": "", "TLS": "7 4", "HTTP/2": "2 3"}
COLOURS = {"one": "#0f7b6c", "each": "#3b6fb6", "port": "#c2571a", "cowboy": "#7d8896"}
OTHER_COWBOY = "#b0578d"


def write(results, is_page):
    """Beside the JSON lines, or as the page of the bench; the paths."""
    folder = servers.BENCH if is_page else results.path.with_suffix("")
    page, plot = folder / "SCALE.md", folder / "plots/scale.svg"
    plot.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(markdown(results))
    svg = growth(results)
    if svg:
        plot.write_text(svg)
    return [results.path, page, *([plot] if svg else [])]


def rows_of(results):
    """server -> step -> row."""
    found = {}
    for row in results.rows:
        if row.get("question") == "scale":
            found.setdefault(row["server"], {})[row["cell"]] = row
    return found


def markdown(results):
    found, machine = rows_of(results), results.machine
    out = ["# As many connections as one host allows", "",
           f"Written by `make bench-scale` on {machine.get('date')}, commit {machine.get('commit')}: {machine.get('cores')} cores "
           f"({machine.get('cpu')}), the server on one and the load on the other, Linux {'.'.join(machine.get('kernel', '').split('.')[:2])}, "
           f"OTP {machine.get('otp')}, cowboy {machine.get('peers', {}).get('cowboy', '-')}. [What the steps are](README.md#as-many-connections-as-one-host-allows).", ""]
    for kind in KINDS:
        names = of_kind(kind, [name for name, rows in found.items() if "opened at a rate" in rows])
        if not names:
            continue
        count = max(found[name]["opened at a rate"]["connections"] for name in names)
        out += [f"## {count:,} connections over {kind}", "",
                "Each cell: seconds to the last, CPU seconds of the server, and the time that 99 of 100 questions of a probe took at most.", "",
                head(["", *[called(name) for name in names]]), rule(len(names))]
        out += [head([title(step, found, names), *[shown(step, found[name].get(step)) for name in names]]) for step in STEPS
                if any(step in found[name] for name in names)]
        out.append(head(["other work on the machine meanwhile", *[beside(found[name].get("other work")) for name in names]]))
        out += ["", "Memory, bytes for each connection:", "", head(["", *[called(name) for name in names]]), rule(len(names))]
        out += [head([what, *[part(found[name], step, key) for name in names]]) for step, key, what in PARTS]
        out.append("")
    failed = [f"- {called(server)}: {rows['failed']['error']}" for server, rows in found.items() if "failed" in rows]
    if failed:
        out += ["## What did not end", "", *failed, ""]
    out += ["## Growth", "", "![Memory and one publish, from 1,000 connections up](plots/scale.svg)", ""]
    return "\n".join(out)


def head(cells):
    return "| " + " | ".join(cells) + " |"


def rule(columns):
    return "|---" * (columns + 1) + "|"


def title(step, found, names):
    row = next(found[name][step] for name in names if step in found[name])
    if step == "opened at a rate":
        return f"opened, {row['rate']:,} a second"
    if step == "idle with pings":
        return f"idle for {row['seconds']:g} s, a ping each"
    return step


def shown(step, row):
    if row is None:
        return "-"
    probe = row["probe"]
    # A probe whose connection has ended has seen less than the step; one that waits for its only answer says how long.
    seen = ("-" if step in ("drained", "stopped") else time(probe["p99_us"]) if probe["answers"]
            else f"> {time(probe['waits_us'])}" if probe["waits_us"] else "-")
    first = f"{row['seconds']:.3g} s"
    if step == "idle with pings":
        first = f"{100 * row['server_busy']:.2g} % busy"
    elif step.startswith("echo"):
        first = f"{row['per_second']:,} a second, {row['cpu_s'] / row['messages'] * 1e6:.1f} us each"
    elif step in ("drained", "stopped"):
        cut = row["closed"] - sum(n for code, n in row["codes"].items() if code != "1006")
        first += f", {cut:,} without a Close frame" if cut else ""
    lost = sum(row.get("lost", {}).values())
    return f"{first}, {row['cpu_s']:.3g} s, {seen}" + (f", {lost:,} lost" if lost else "")


def beside(row):
    return "unknown" if row is None else row["note"] if "note" in row else f"{100 * row['busy']:.0f} % of a core"


def time(us):
    return f"{us / 1e6:.2f} s" if us >= 1e6 else f"{us / 1000:.0f} ms" if us >= 10_000 else f"{us / 1000:.1f} ms"


def part(rows, step, key):
    row = rows.get(step)
    if row is None or (key == "engine" and not row["memory"][key]):
        return "-"
    return f"{round(row['memory'][key] / row['connections']):,}"


def growth(results):
    """Two panels of lines, both axes logarithmic."""
    found = rows_of(results)
    points = {server: [row for cell, row in rows.items() if cell.startswith("growth ")] for server, rows in found.items()}
    points = {server: rows for server, rows in points.items() if len(rows) > 1}
    if not points:
        return None
    names = [name for kind in KINDS for name in of_kind(kind, points)]
    legend = 24 + 18 * math.ceil(len(names) / 4)
    top, high, wide = plots.HEAD + legend + 24, 330, 400
    body = []
    for n, name in enumerate(names):
        x, y = plots.MARGIN + (n % 4) * 228, plots.HEAD + 8 + 18 * (n // 4)
        body.append(line([(x, y - 4), (x + 26, y - 4)], name))
        body.append(plots.text(x + 32, y, called(name), 11.5, plots.PALE))
    panels = [("Resident memory of the server, MB", lambda row: (found[row["server"]]["base"]["memory"]["resident"] + row["memory"]["resident"]) / 1e6, 0.1),
              ("One publish, ms to the last client", lambda row: row["publish"]["seconds"] * 1000, 0.1)]
    for n, (about, value, least) in enumerate(panels):
        body += panel(plots.MARGIN + 46 + n * (wide + 60), top, wide, high, about, {name: [(row["connections"], max(value(row), least)) for row in points[name]] for name in names})
    return plots.page(results, "From 1,000 connections up", "both axes logarithmic; less is better", body, top + high + 70)


def panel(x, y, wide, high, about, series):
    every = [point for points in series.values() for point in points]
    (left, right), (low, most) = [decades([point[axis] for point in every]) for axis in (0, 1)]

    def at(point):
        return (x + wide * (math.log10(point[0]) - left) / (right - left), y + high - high * (math.log10(point[1]) - low) / (most - low))

    out = [plots.text(x - 40, y - 12, about, 13, weight=600)]
    for power in range(left, right + 1):
        there, _ = at((10 ** power, 10 ** low))
        out.append(f'<line x1="{there:.1f}" y1="{y}" x2="{there:.1f}" y2="{y + high}" stroke="{plots.LINE}"/>')
        out.append(plots.text(there, y + high + 18, f"{10 ** power:,}", 11, plots.PALE, "middle"))
    for power in range(low, most + 1):
        _, there = at((10 ** left, 10 ** power))
        out.append(f'<line x1="{x}" y1="{there:.1f}" x2="{x + wide}" y2="{there:.1f}" stroke="{plots.LINE}"/>')
        out.append(plots.text(x - 6, there + 4, f"{10 ** power:g}" if power < 0 else f"{10 ** power:,}", 11, plots.PALE, "end"))
    for name, points in series.items():
        spots = [at(point) for point in points]
        out.append(line(spots, name))
        out += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="2.6" fill="{colour(name)}"><title>{escape(called(name))}: {value:,.3g} at {count:,}</title></circle>'
                for (a, b), (count, value) in zip(spots, points)]
    return out


def decades(values):
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)


def line(points, name):
    path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
    return f'<polyline points="{path}" fill="none" stroke="{colour(name)}" stroke-width="2" stroke-dasharray="{DASHES[kind_of(name)]}"/>'


def colour(name):
    return OTHER_COWBOY if plain(name) != name else COLOURS[next((word for word in ("cowboy", "each", "port") if word in name), "one")]
