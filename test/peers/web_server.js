// Node's http and ws as the web server behind Sockeye: sockeye_beside_peers_tests. Ends with its standard input.
"use strict";
const http = require("http");
const { WebSocketServer } = require("ws");

let go = null;
const server = http.createServer((request, response) => {
    switch (request.url) {
        case "/echo":
            request.pipe(response);
            break;
        case "/chunks":
            response.write("one ");
            setImmediate(() => {
                response.write("two ");
                setImmediate(() => response.end("three"));
            });
            break;
        case "/events":
            response.setHeader("Content-Type", "text/event-stream");
            response.write("data: one\n\n");
            go = () => response.end("data: two\n\n");
            break;
        case "/go":
            go();
            response.end("gone\n");
            break;
        case "/port":
            response.end(String(request.socket.remotePort));
            break;
        case "/who": {
            const fields = ["host", "x-forwarded-for", "x-forwarded-proto"];
            response.end(fields.map((name) => request.headers[name]).join(" "));
            break;
        }
        default:
            response.end("hello\n");
    }
});
const sockets = new WebSocketServer({ server, path: "/socket" });
sockets.on("connection", (ws) => {
    ws.on("message", (data, binary) => {
        if (data.toString() === "close") ws.close(4001, "as you wish");
        else ws.send(data, { binary });
    });
});
server.listen(0, "127.0.0.1", () => console.log("READY " + server.address().port));
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
