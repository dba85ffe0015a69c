// JSON echo on ws. Prints `READY PORT`; ends when its standard input does.
// With the argument `deflate`, permessage-deflate for every message, whatever its size.
'use strict';

const { WebSocketServer } = require('ws');

const deflate = process.argv[2] === 'deflate';
const server = new WebSocketServer(
  { host: '127.0.0.1', port: 0, perMessageDeflate: deflate && { threshold: 0 }, backlog: 1024 },
  () => console.log(`READY ${server.address().port}`),
);

server.on('connection', (socket) => {
  socket._socket.setNoDelay(true);
  socket.on('message', (data) => socket.send(JSON.stringify(JSON.parse(data))));
  socket.on('error', () => {});
});

process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
