// Node's ws as a server for the client, as echo_server.py.
"use strict";
const fs = require("fs");
const http = require("http");
const https = require("https");
const { WebSocketServer } = require("ws");

function start(server, listening) {
    const sockets = new WebSocketServer({
        noServer: true,
        perMessageDeflate: true,
        maxPayload: 64 << 20,
        handleProtocols: (offered) => (offered.has("echo") ? "echo" : false),
    });
    server.on("upgrade", (request, socket, head) => {
        if (request.url === "/refused") {
            socket.end("HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\nConnection: close\r\n\r\nnot here\n");
            return;
        }
        sockets.handleUpgrade(request, socket, head, (ws) => {
            ws.on("message", (data, binary) => {
                const text = binary ? null : data.toString();
                if (text === "close") ws.close(4001, "as you wish");
                else if (text === "headers") ws.send(request.headers["x-peer"] || "none");
                else ws.send(data, { binary });
            });
        });
    });
    server.listen(0, "127.0.0.1", listening);
    return server;
}

const tls = { cert: fs.readFileSync(process.env.PEER_CERT), key: fs.readFileSync(process.env.PEER_KEY) };
const plain = start(http.createServer(), () => {
    const secure = start(https.createServer(tls), () => {
        console.log(plain.address().port, secure.address().port);
    });
});
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
