"""The engine as a process of the system beside the library in the VM, and beside cowboy: one line a figure."""

from .results import median, values

SERVERS = {
    "echo": ["sockeye-one", "sockeye-one-port", "cowboy-one", "sockeye-each", "sockeye-each-port", "cowboy-each"],
    "fanout": ["sockeye-topic", "sockeye-topic-port", "cowboy-topic"],
    "handshakes": ["sockeye-one", "sockeye-one-port", "cowboy-one", "sockeye-tls", "sockeye-tls-port", "cowboy-tls"],
    "idle": ["sockeye-one", "sockeye-one-port", "sockeye-each", "sockeye-each-port", "cowboy-each"],
}

# Library, process and cowboy; what is measured, the smaller the better; how many times the library's it may be.
TRIOS = {
    "echo": [("sockeye-one", "sockeye-one-port", "cowboy-one", {"cpu_us": 1.25}),
             ("sockeye-each", "sockeye-each-port", "cowboy-each", {"cpu_us": 1.35})],
    "fanout": [("sockeye-topic", "sockeye-topic-port", "cowboy-topic", {"one.cpu_us": 1.1, "burst.cpu_us": 1.1})],
    "handshakes": [("sockeye-one", "sockeye-one-port", "cowboy-one", {"cpu_us": 1.5}),
                   ("sockeye-tls", "sockeye-tls-port", "cowboy-tls", {"cpu_us": 1.5})],
    # One process for all has no peer among cowboy's.
    "idle": [("sockeye-one", "sockeye-one-port", None, {"bytes_fresh": 1.2, "bytes_echoed": 1.2}),
             ("sockeye-each", "sockeye-each-port", "cowboy-each", {"bytes_fresh": 1.2, "bytes_echoed": 1.2})],
}
OF_COWBOY = 0.5


def show(results):
    print("\nthe engine as a process of the system: medians; CPU us of both processes together, or resident bytes of both")
    print(f"  {'':<62}{'library':>9}{'process':>9}{'min-max':>17}{'cowboy':>9}{'/library':>10}{'at most':>9}{'/cowboy':>9}")
    missed = 0
    for question, trios in TRIOS.items():
        found = results.of(question)
        for cell in results.cells(question):
            for library, process, cowboy, goals in trios:
                for key, most in goals.items():
                    missed += line(question, cell, key, most, [found.get((cell, name)) for name in (library, process, cowboy)], process)
    print(f"  {missed} of these are over what they may be" if missed else "  all are within what they may be")


def line(question, cell, key, most, rows, process):
    own, other, peer = [median(one, key) for one in rows]
    if own is None or other is None:
        return 0
    shares = other / own, other / peer if peer else None
    is_over = shares[0] > most or (shares[1] is not None and shares[1] > OF_COWBOY)
    what = f"{question}, {cell}: {process}" + (f", {key}" if key != "cpu_us" else "")
    places = 0 if own > 100 else 2
    spread = values(rows[1], key)
    print(f"  {what:<62}{own:>9,.{places}f}{other:>9,.{places}f}{f'{min(spread):,.{places}f}-{max(spread):,.{places}f}':>17}"
          + (f"{peer:>9,.{places}f}" if peer else f"{'-':>9}") + f"{shares[0]:>10.3f}{most:>9}"
          + (f"{shares[1]:>9.3f}" if peer else f"{'-':>9}") + ("  OVER" if is_over else ""))
    return int(is_over)
