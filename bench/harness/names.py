"""What the servers are called where people read."""

NAMES = {
    "sockeye-one": "Sockeye, one process",
    "sockeye-pool": "Sockeye, a pool of four",
    "sockeye-each": "Sockeye, a process each",
    "sockeye-owner": "Sockeye, messages",
    "sockeye-deflate": "Sockeye, compressed",
    "sockeye-window-deflate": "Sockeye, own windows",
    "sockeye-tls": "Sockeye, TLS",
    "sockeye-raw": "Sockeye, one process",
    "sockeye-raw-each": "Sockeye, a process each",
    "sockeye-topic": "Sockeye, publish",
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
    "raw-echo": "bare epoll loop",
    "raw-loop": "bare loop of writes",
    "sockeye_json": "sockeye_json",
}


def name(server):
    return NAMES.get(server, server)
