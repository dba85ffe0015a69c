"""What the servers are called where people read."""

import re

NAMES = {
    "sockeye-one": "Sockeye, one process",
    "sockeye-one-port": "Sockeye as a port, one process",
    "sockeye-each-port": "Sockeye as a port, a process each",
    "sockeye-raw-port": "Sockeye as a port, one process",
    "sockeye-raw-each-port": "Sockeye as a port, a process each",
    "sockeye-topic-port": "Sockeye as a port, publish",
    "sockeye-tls-port": "Sockeye as a port, TLS",
    "sockeye-pool": "Sockeye, a pool of four",
    "sockeye-each": "Sockeye, a process each",
    "sockeye-owner": "Sockeye, messages",
    "sockeye-deflate": "Sockeye, compressed",
    "sockeye-window-deflate": "Sockeye, own windows",
    "sockeye-tls": "Sockeye, TLS",
    "sockeye-raw": "Sockeye, one process",
    "sockeye-raw-each": "Sockeye, a process each",
    "sockeye-topic": "Sockeye, publish",
    "sockeye-scale": "Sockeye, one process",
    "sockeye-scale-each": "Sockeye, a process each",
    "sockeye-scale-port": "Sockeye as a port, one process",
    "sockeye-scale-tls": "Sockeye, one process, TLS",
    "sockeye-scale-each-tls": "Sockeye, a process each, TLS",
    "sockeye-scale-tls-port": "Sockeye as a port, TLS",
    "sockeye-scale-h2": "Sockeye, one process, HTTP/2",
    "sockeye-scale-each-h2": "Sockeye, a process each, HTTP/2",
    "sockeye-scale-h2-port": "Sockeye as a port, HTTP/2",
    "cowboy-scale": "cowboy",
    "cowboy-scale-tls": "cowboy, TLS",
    "cowboy-scale-h2": "cowboy, HTTP/2",
    "cowboy-one": "cowboy, one gen_server",
    "cowboy-each": "cowboy, a process each",
    "cowboy-deflate": "cowboy, compressed",
    "cowboy-raw": "cowboy, a process each",
    "cowboy-tls": "cowboy, TLS",
    "cowboy-topic": "cowboy, pg",
    "yaws-each": "yaws, a process each",
    "tungstenite": "tokio-tungstenite",
    "tungstenite-4k": "tokio-tungstenite, 4 KiB",
    "tungstenite-512": "tokio-tungstenite, 512 B",
    "tungstenite-raw": "tokio-tungstenite",
    "tungstenite-topic": "tokio-tungstenite",
    "fastwebsockets": "fastwebsockets",
    "node-ws": "Node ws",
    "node-ws-deflate": "Node ws, compressed",
    "node-ws-raw": "Node ws",
    "node-ws-tls": "Node ws, TLS",
    "node-ws-topic": "Node ws, loop",
    "python-websockets": "Python websockets",
    "python-websockets-deflate": "Python, compressed",
    "python-picows": "Python picows",
    "uws-raw": "uWebSockets, no JSON",
    "own": "your server",
    "raw-echo": "bare epoll loop",
    "raw-loop": "bare loop of writes",
    "sockeye_json": "sockeye_json",
}


def plain(server):
    """Without the version of another cowboy."""
    return re.sub(r"^cowboy-\d[^-]*-", "cowboy-", server)


def cowboys(name, among):
    """`cowboy-one`, and those of other versions in the same mode."""
    return [one for one in dict.fromkeys(among) if plain(one) == name]


def with_versions(rows, among):
    """Rows of a title and servers: each that has a cowboy, once more for each other version of it that was measured."""
    found = [of[1] for name in among if (of := re.fullmatch(r"cowboy-(\d[^-]*)-.*", name))]

    def other(cell, version):
        if isinstance(cell, list):
            return [other(one, version) for one in cell]
        if cell is None or cell.startswith("cowboy-"):
            return cell and cell.replace("cowboy-", f"cowboy-{version}-", 1)
        return cell.replace("cowboy", f"cowboy {version}", 1)

    made = []
    for row in rows:
        made.append(row)
        if any("cowboy" in str(cell) for cell in row):
            made += [tuple(other(cell, version) for cell in row) for version in dict.fromkeys(found)]
    return made


def name(server):
    newer = re.fullmatch(r"cowboy-(\d[^-]*)-(.*)", server)
    if newer:
        return NAMES.get(f"cowboy-{newer[2]}", server).replace("cowboy", f"cowboy {newer[1]}", 1)
    return NAMES.get(server, server)
