// Sockeye against Node's ws.
"use strict";

const assert = require("node:assert");
const fs = require("node:fs");
const WebSocket = require("ws");

const LIMIT = 20000; // ms a case may take
const way = process.env.PEER_WAY || "plain"; // or deflate, or secure: TLS and deflate
const ports = JSON.parse(process.env.PEER_PORTS)[way];
const secure = way === "secure";
const tls = secure ? {ca: fs.readFileSync(process.env.PEER_CERT)} : {};

// A client whose events can be awaited in the order in which they came.
function open(server, protocols, options) {
  const url = `${secure ? "wss" : "ws"}://127.0.0.1:${ports[server]}/`;
  // By default ws leaves anything below 1 KiB as it is.
  const ws = new WebSocket(url, protocols, {perMessageDeflate: {threshold: 0}, ...tls, ...options});
  const events = [];
  const waiting = [];
  const put = (kind, ...rest) => {
    const next = waiting.shift();
    if (next) next([kind, ...rest]); else events.push([kind, ...rest]);
  };
  ws.on("open", () => put("open"));
  ws.on("message", (data, binary) => put("message", binary ? data : data.toString()));
  ws.on("ping", data => put("ping", data.toString()));
  ws.on("pong", data => put("pong", data.toString()));
  ws.on("close", (code, reason) => put("close", code, reason.toString()));
  ws.on("error", why => put("error", why.message));
  ws.next = () => events.length ? Promise.resolve(events.shift())
                                : new Promise(resolve => waiting.push(resolve));
  return ws;
}

async function opened(...args) {
  const ws = open(...args);
  assert.deepStrictEqual(await ws.next(), ["open"]);
  return ws;
}

async function echoes(ws, message) {
  ws.send(message);
  const [kind, got] = await ws.next();
  assert.strictEqual(kind, "message");
  // A comparison of large buffers in an assertion message takes minutes.
  assert.ok(Buffer.isBuffer(message) ? Buffer.compare(got, message) === 0 : got === message,
            `an echo of ${message.length} came back different`);
}

const cases = {
  async the_way_is_the_one_asked_for() {
    const ws = await opened("raw");
    ws.send("!how");
    const how = `http/1 tls ${secure} deflate ${way !== "plain"}`;
    assert.deepStrictEqual(await ws.next(), ["message", how]);
    ws.close();
  },

  async text_and_binary() {
    const ws = await opened("raw");
    for (const message of ["hello", "", "Grüße 🐟\u0000", Buffer.alloc(0), Buffer.from([0, 255, 128])])
      await echoes(ws, message);
    ws.close();
  },

  async a_mebibyte() {
    const ws = await opened("raw");
    await echoes(ws, "é".repeat(1 << 19));
    await echoes(ws, Buffer.alloc(1 << 20, "0123456789"));
    ws.close();
  },

  async fragments() {
    const ws = await opened("raw");
    ws.send("one ", {fin: false});
    ws.send("two ", {fin: false});
    ws.ping("amid");
    ws.send("three", {fin: true});
    assert.deepStrictEqual(await ws.next(), ["pong", "amid"]);
    assert.deepStrictEqual(await ws.next(), ["message", "one two three"]);
    ws.close();
  },

  async ping_both_ways() {
    const ws = await opened("raw");
    ws.ping("from node");
    assert.deepStrictEqual(await ws.next(), ["pong", "from node"]);
    ws.send("!ping from sockeye");
    assert.deepStrictEqual(await ws.next(), ["ping", "from sockeye"]);
    await echoes(ws, "still open");
    ws.close();
  },

  async pipelined_messages_keep_their_order() {
    const ws = await opened("raw");
    for (let n = 0; n < 2000; n++) ws.send(`message ${n}`);
    for (let n = 0; n < 2000; n++) assert.deepStrictEqual(await ws.next(), ["message", `message ${n}`]);
    ws.close();
  },

  async the_client_closes() {
    for (const [code, reason] of [[1000, ""], [1001, "leaving"], [4000, "größer"]]) {
      const ws = await opened("raw");
      ws.close(code, reason);
      // The reason need not come back.
      assert.deepStrictEqual((await ws.next()).slice(0, 2), ["close", code]);
    }
  },

  async a_close_without_a_code() {
    const ws = await opened("raw");
    ws.close();
    assert.deepStrictEqual(await ws.next(), ["close", 1005, ""]);
  },

  async the_server_closes() {
    for (const [code, reason] of [[1000, "bye"], [1011, "oops"], [4001, "größer"]]) {
      const ws = await opened("raw");
      ws.send(`!close ${code} ${reason}`);
      assert.deepStrictEqual(await ws.next(), ["close", code, reason]);
    }
  },

  async too_big_is_1009() {
    const ws = await opened("small");
    await echoes(ws, "x".repeat(ports.limit));
    ws.send("x".repeat(ports.limit + 1));
    const [kind, code] = await ws.next();
    assert.deepStrictEqual([kind, code], ["close", 1009]);
  },

  async subprotocol() {
    const ws = await opened("raw", ["other", "echo.v1"]);
    assert.strictEqual(ws.protocol, "echo.v1");
    ws.close();
  },

  async json_round_trips() {
    const ws = await opened("json");
    for (const value of [{a: [1, 2.5, null, true, {"ü": "🐟"}]}, [], "x", 9007199254740991, 1e21, 0.1]) {
      ws.send(JSON.stringify(value));
      const [kind, text] = await ws.next();
      assert.strictEqual(kind, "message");
      assert.deepStrictEqual(JSON.parse(text), value);
    }
    ws.close();
  },

  async text_that_is_not_json_is_1007() {
    const ws = await opened("json");
    ws.send("{");
    const [kind, code] = await ws.next();
    assert.deepStrictEqual([kind, code], ["close", 1007]);
  },

  async compression() {
    for (const server of ["deflate", "own"]) {
      for (const perMessageDeflate of [
        {threshold: 0},
        {threshold: 0, serverNoContextTakeover: true, clientNoContextTakeover: true},
        {threshold: 0, serverMaxWindowBits: 9, clientMaxWindowBits: 10},
      ]) {
        const ws = await opened(server, [], {perMessageDeflate});
        assert.match(ws.extensions, /^permessage-deflate/);
        for (const size of [1, 63, 64, 65, 1000, 16384, 65536, 1 << 20]) {
          await echoes(ws, "to be or not to be ".repeat(size / 19 + 1).slice(0, size));
          await echoes(ws, require("node:crypto").randomBytes(size));
        }
        ws.send("one ".repeat(100), {fin: false});
        ws.send("two ".repeat(100), {fin: true});
        assert.deepStrictEqual(await ws.next(), ["message", "one ".repeat(100) + "two ".repeat(100)]);
        ws.close();
      }
    }
    const plain = await opened("deflate", [], {perMessageDeflate: false});
    assert.strictEqual(plain.extensions, "");
    await echoes(plain, "x".repeat(1000));
    plain.close();
  },

  async many_clients() {
    await Promise.all(Array.from({length: 50}, async (_, number) => {
      const ws = await opened("raw");
      for (let turn = 0; turn < 10; turn++) await echoes(ws, `${number}:${turn}`);
      ws.close();
    }));
  },
};

async function main() {
  let failed = 0;
  for (const [name, test] of Object.entries(cases)) {
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`no end after ${LIMIT} ms`)), LIMIT);
    });
    try {
      await Promise.race([test(), late]);
    } catch (why) {
      failed++;
      console.log(`FAILED ${name}\n${why.stack}`);
    }
    clearTimeout(timer);
  }
  console.log(`${Object.keys(cases).length - failed} passed, ${failed} failed`);
  process.exit(failed ? 1 : 0);
}

main();
