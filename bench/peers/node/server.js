// ws on Node. `server.js [json|raw|topic|pings] [deflate]`: the text is parsed and the value sent back (the default), or the text is
// sent back, or what comes on the path /publish goes to all others, in the loop of ws's own documentation.
// `pings`: all get a ping every BENCH_PING_MS, as ws's own documentation has it.
// `deflate`: permessage-deflate for every message, whatever its size. `tls CERT KEY`: over TLS.
// Prints `READY PORT`; ends when its standard input does.
'use strict';

const fs = require('fs');
const https = require('https');
const WebSocket = require('ws');

const [mode = 'json', feature, cert, key] = process.argv.slice(2);
const options = { perMessageDeflate: feature === 'deflate' && { threshold: 0 } };
const place = { host: '127.0.0.1', port: 0, backlog: 1024 };
const ready = (server) => () => console.log(`READY ${server.address().port}`);

let server;
if (feature === 'tls') {
  const web = https.createServer({ cert: fs.readFileSync(cert), key: fs.readFileSync(key) });
  server = new WebSocket.Server({ ...options, server: web });
  web.listen(place, ready(web));
} else {
  server = new WebSocket.Server({ ...options, ...place }, () => ready(server)());
}

const answers = {
  json: (socket, data) => socket.send(JSON.stringify(JSON.parse(data))),
  pings: () => {},
  raw: (socket, data) => socket.send(data, { binary: false }),
  topic: (socket, data) => {
    for (const client of server.clients) {
      if (client !== socket && client.readyState === WebSocket.OPEN) client.send(data, { binary: false });
    }
  },
};

server.on('connection', (socket) => {
  socket._socket.setNoDelay(true);
  socket.on('message', (data) => answers[mode](socket, data));
  socket.on('error', () => {});
});

if (mode === 'pings') {
  const each = () => server.clients.forEach((client) => client.ping());
  setInterval(each, Number(process.env.BENCH_PING_MS || 10000));
}

process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
