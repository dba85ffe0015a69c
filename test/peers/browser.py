"""Sockeye against headless Chromium, which is driven over its debugging protocol.

Over ws, pages are opened from files, as a person would: the test page of this folder, and the
page of the erlpy example, in which the buttons are pressed. For wss the test page comes from the
server itself over HTTP/2, and its connections to that port then use HTTP/2 as well.
"""

import asyncio
import contextlib
import itertools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request

from websockets.asyncio.client import connect

from cases import ALL_PORTS
from example_server import ExampleServer

HERE = pathlib.Path(__file__).resolve().parent
INDEX = HERE.parent.parent / "examples" / "erlpy" / "index.html"
LIMIT = 60  # seconds for everything that is asked of the browser at once
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--disable-dev-shm-usage", "--ignore-certificate-errors", "--remote-debugging-port=0", "about:blank"]

# Presses every button of the example's page and waits for the answer to each.
PRESS = """
(async () => {
  const log = document.getElementById("log");
  const seen = () => [...log.children].map(line => line.textContent);
  const until = test => new Promise(resolve => {
    const check = () => { if (test()) { watch.disconnect(); resolve(); } };
    const watch = new MutationObserver(check);
    watch.observe(document.body, {childList: true, subtree: true, attributes: true});
    check();
  });
  const has = text => () => seen().some(line => line.includes(text));
  const send = document.getElementById("send"), where = document.getElementById("connect");
  document.getElementById("url").value = URL_OF_SERVER;
  await until(() => where.textContent === "Connect");
  where.click();
  await until(() => !send.disabled);
  for (const [name, answer] of [["Ping", "pong"], ["Echo", "echo_response"],
                                ["Status", "status_response"], ["Greeting", "greeting_response"]]) {
    [...document.querySelectorAll("#samples button")].find(b => b.textContent === name).click();
    await until(has(answer));
  }
  document.getElementById("text").value = "not JSON";
  send.click();
  await until(has("the text is not JSON"));
  where.click();
  await until(() => send.disabled);
  return seen();
})()
"""


class Page:
    """One tab, as a client of the debugging protocol sees it."""

    def __init__(self, ws):
        self.ws = ws
        self.ids = itertools.count(1)

    async def call(self, method, **params):
        number = next(self.ids)
        await self.ws.send(json.dumps({"id": number, "method": method, "params": params}))
        while (answer := json.loads(await self.ws.recv())).get("id") != number:
            pass
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    async def open(self, url):
        await self.call("Page.enable")
        await self.call("Page.navigate", url=url)
        while json.loads(await self.ws.recv()).get("method") != "Page.loadEventFired":
            pass

    async def run(self, script):
        result = await self.call("Runtime.evaluate", expression=script, awaitPromise=True,
                                 returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(result["exceptionDetails"]["exception"]["description"])
        return result["result"].get("value")


async def test_page(page):
    count = failed = 0
    for way in ("plain", "deflate", "secure"):
        ports, secure = ALL_PORTS[way], way == "secure"
        await page.open(f"https://127.0.0.1:{ports['raw']}/" if secure else (HERE / "browser.html").as_uri())
        how = f"tls {str(secure).lower()} deflate {str(way != 'plain').lower()}"
        # The page comes from the port of `raw`, so a connection of HTTP/2 to it is there already.
        expected = {"raw": f"http/{2 if secure else 1} {how}", "small": f"http/1 {how}"}
        outcome = await page.run(f"start({json.dumps(ports)}, {json.dumps(expected)})")
        for failure in outcome["failures"]:
            print(f"FAILED {way}: {failure}")
        count += outcome["count"]
        failed += len(outcome["failures"])
    return count, failed


async def example_page(page):
    with ExampleServer() as server:
        await page.open(INDEX.as_uri())
        url = json.dumps(f"ws://127.0.0.1:{server.port}")
        try:
            await asyncio.wait_for(page.run(PRESS.replace("URL_OF_SERVER", url)), LIMIT)
        except (RuntimeError, TimeoutError) as why:
            print(f"FAILED the page of the example: {why!r}")
            return 1, 1
    return 1, 0


@contextlib.asynccontextmanager
async def first_tab(debugger):
    with urllib.request.urlopen(f"http://{debugger}/json/list") as answer:
        tab = next(t for t in json.load(answer) if t["type"] == "page")
    async with connect(tab["webSocketDebuggerUrl"], max_size=None, proxy=None) as ws:
        yield Page(ws)


@contextlib.contextmanager
def chromium():
    """A browser of its own, with a new profile: the address of its debugger."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not program:
        sys.exit("Chromium was not found")
    # A browser that is just killed may still write while its folder goes away.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = subprocess.Popen([program, f"--user-data-dir={profile}", *FLAGS],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                                   start_new_session=True)
        drain = None
        try:
            said = []
            for line in browser.stderr:  # "DevTools listening on ws://127.0.0.1:PORT/devtools/..."
                said.append(line)
                if "DevTools listening on ws://" in line:
                    break
            else:
                sys.exit("Chromium did not start:\n" + "".join(said))
            # Nobody reads on; a full pipe would stop the browser.
            drain = subprocess.Popen(["cat"], stdin=browser.stderr, stdout=subprocess.DEVNULL)
            yield line.split("ws://")[1].split("/")[0]
        finally:
            os.killpg(browser.pid, signal.SIGKILL)
            browser.wait()
            if drain:
                drain.wait()


async def drive(debugger):
    async with first_tab(debugger) as page:
        outcomes = [await asyncio.wait_for(part(page), 3 * LIMIT)
                    for part in (test_page, example_page)]
    count = sum(c for c, _ in outcomes)
    failed = sum(f for _, f in outcomes)
    print(f"{count - failed} passed, {failed} failed")
    return failed == 0


if __name__ == "__main__":
    with chromium() as debugger:
        ok = asyncio.run(drive(debugger))
    sys.exit(0 if ok else 1)
