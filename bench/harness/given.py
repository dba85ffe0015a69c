"""Servers that the reader brings: a newer cowboy in a folder, a uWebSockets program, a server of his own.

They answer in the same run, after the servers that they are compared with.
"""

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from . import servers
from .servers import BENCH, TARGET, Missing

APPS = ["ranch", "cowlib", "cowboy"]
# Where a person has them: sources side by side, a release, erlang.mk, rebar3; and cowboy's own folder.
PLACES = ["{app}", "{app}-*", "lib/{app}", "lib/{app}-*", "deps/{app}", "../{app}", "_build/*/lib/{app}"]

UWS, OWN = "uws-raw", "own"
# uWebSockets' echo reads no JSON.
ASKED = {UWS: ["raw", "handshakes", "rate", "latency", "idle"], OWN: ["echo", "raw", "handshakes", "rate", "latency", "idle"]}

# The version of the other cowboy, the servers that were brought, and what is known of their versions.
newer = None
brought = []
versions = {}


def take(cowboy_dir, uws, own):
    """Makes servers of what was named; `ValueError` says what is not there."""
    global newer
    if cowboy_dir:
        apps = {app: app_folder(Path(cowboy_dir), app) for app in APPS}
        newer = version(apps["cowboy"], "cowboy")
        versions["other cowboy"] = {app: version(folder, app) for app, folder in apps.items()}
        libraries = TARGET / f"cowboy-{newer}"
        for name in [name for name in servers.SERVERS if name.startswith("cowboy-")]:
            mode = name.removeprefix("cowboy-")
            mode = "scale" if mode == "scale-h2" else mode.replace("-", "_")
            servers.SERVERS[of_newer(name)] = lambda mode=mode: cowboy(apps, libraries, mode)
    if uws:
        if not os.access(uws, os.X_OK) or Path(uws).is_dir():
            raise ValueError(f"{uws} is no program")
        versions["uWebSockets"] = described(Path(uws))
        bring(UWS, [str(Path(uws).resolve())])
    if own:
        versions["own"] = own
        bring(OWN, shlex.split(own))


def bring(name, command):
    servers.SERVERS[name] = lambda: [sys.executable, str(BENCH / "peers/given/front.py"), os.getcwd(), *command]
    brought.append(name)


def beside(question, chosen):
    """The servers of a question, with those that were brought for it."""
    found = []
    for name in chosen:
        found.append(name)
        if newer and name.startswith("cowboy-") and of_newer(name) not in chosen:
            found.append(of_newer(name))
    return found + [name for name in brought if question in ASKED[name] and name not in found]


def is_brought(server):
    return server in brought or bool(newer) and server.startswith(f"cowboy-{newer}-")


def of_newer(name):
    return f"cowboy-{newer}-{name.removeprefix('cowboy-')}"


def app_folder(folder, app):
    """The folder of one application, compiled or in sources."""
    tried = [folder] if named(folder, app) else []
    for pattern in PLACES:
        tried += [path for path in sorted(folder.glob(pattern.format(app=app))) if named(path, app)]
    # What is compiled comes before sources.
    for test in ("ebin/*.beam", "src/*.erl"):
        for path in tried:
            if any(path.glob(test)):
                return path.resolve()
    raise ValueError(f"there is no {app} in {folder}: " + ", ".join(pattern.format(app=app) for pattern in PLACES) + " were looked at")


def named(path, app):
    return (path / "ebin" / f"{app}.app").exists()


def version(folder, app):
    said = re.search(r'\{vsn, *"([^"]+)"\}', (folder / "ebin" / f"{app}.app").read_text())
    if not said:
        raise ValueError(f"{folder}/ebin/{app}.app has no version")
    # It becomes a part of a server's name.
    return said[1].replace("-", ".")


def cowboy(apps, libraries, mode):
    compile_sources(apps, libraries)
    patterns = [libraries / app / "ebin" for app in APPS] + [TARGET / "debian/usr/lib/erlang/lib/jiffy-*/ebin"]
    return servers.beam("bench_cowboy", mode, patterns, "run bench/setup beam", out=f"ebin-{libraries.name}")


def compile_sources(apps, libraries):
    """A library folder in bench/target: links to what is compiled; what is not, erlc compiles there. Nothing is written to the reader's folder."""
    stamp = libraries / "made-of"
    made_of = "\n".join(f"{folder} {newest(folder)}" for folder in apps.values())
    if stamp.exists() and stamp.read_text() == made_of:
        return
    shutil.rmtree(libraries, ignore_errors=True)
    for app, folder in apps.items():
        place = libraries / app
        if any(folder.glob("ebin/*.beam")):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(folder)
            continue
        (place / "ebin").mkdir(parents=True)
        shutil.copy(folder / "ebin" / f"{app}.app", place / "ebin")
        for part in ("src", "include"):
            if (folder / part).is_dir():
                (place / part).symlink_to(folder / part)
        print(f"bench: {app} {version(folder, app)} is compiled", file=sys.stderr, flush=True)
        sources = sorted((folder / "src").glob("*.erl"))
        # Behaviours of the same folder are found only once they are there, and their absence is a warning alone.
        done = subprocess.run(["erlc", "-I", place / "include", "-pa", place / "ebin", "-o", place / "ebin", *sources],
                              env=dict(os.environ, ERL_LIBS=str(libraries)), capture_output=True, text=True)
        if done.returncode != 0:
            raise Missing(f"{app} of {folder} does not compile:\n{done.stdout}{done.stderr}")
    stamp.write_text(made_of)


def newest(folder):
    return max((path.stat().st_mtime_ns for part in ("src", "ebin", "include") for path in folder.glob(f"{part}/*")), default=0)


def described(program):
    """What bench/peers/uws/build wrote beside it, or the beginning of its digest."""
    beside_it = program.with_name(program.name + ".version")
    if beside_it.exists():
        return beside_it.read_text().strip()
    return "sha256 " + hashlib.sha256(program.read_bytes()).hexdigest()[:12]
