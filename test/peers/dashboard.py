"""The dashboard in headless Chromium: numbers are those of info/1, a kick works, hostile text stays text, many rows scroll.

dashboard.py CONNECTIONS [FOLDER]: with a folder, pictures of the page go there, as the guide has them.
"""

import asyncio
import base64
import json
import os
import pathlib
import subprocess
import sys
import time
import urllib.request

from browser import LIMIT, Page, chromium, first_tab

# A condition of the page, looked at until it is true.
UNTIL = """
(async () => {
  for (;;) {
    const value = (() => { CONDITION })();
    if (value) return value;
    await new Promise(resolve => setTimeout(resolve, 50));
  }
})()
"""


class Dashboard:
    def __init__(self, page, port):
        self.page, self.port = page, port
        self.count = self.failed = 0

    async def until(self, condition):
        return await asyncio.wait_for(self.page.run(UNTIL.replace("CONDITION", condition)), LIMIT)

    def truth(self, query=""):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/truth{query}") as answer:
            return json.load(answer)

    def check(self, what, good):
        self.count += 1
        if not good:
            self.failed += 1
            print(f"FAILED {what}")


async def numbers(board, connections):
    """What the page shows of a server lies between two answers of info/1."""
    keys = {"connections": 3, "accepted": 4, "rejected": 5, "frames_in": 6, "frames_out": 7}
    before = board.truth()
    seen = await board.until("const t = history.length; if (!window.seen) { window.seen = t; return null; } return t > window.seen && "
                             "[...document.querySelectorAll('#servers tbody tr')].map(row => [...row.cells].map(cell => cell.textContent))")
    after = board.truth()
    row = next(cells for cells in seen if cells[0] == "rooms")
    for key, column in keys.items():
        shown = int(row[column].replace(",", ""))
        board.check(f"{key}: {before[key]} <= {shown} <= {after[key]}", before[key] <= shown <= after[key])
    board.check("all connections are open", after["connections"] == connections)
    tile = await board.until("return document.querySelector('#tiles dd').firstChild.textContent")
    board.check(f"the tile says {tile}", int(tile.replace(",", "")) == connections)


async def rows(board, connections):
    """Each row can be scrolled to, by mouse and by key, and has its place."""
    await board.page.run("choose(servers.find(server => server.name === 'rooms').id); show('connections'); sortBy('user')")
    await board.until(f"return table.total === {connections} && document.querySelectorAll('.line').length > 20")
    board.check("the rows are sorted", await board.page.run("(u => u.join() === [...u].sort().join())(table.rows.map(row => row.user))"))
    for part in (0.5, 1, 0.013, 0):
        await board.page.run(f"$('rows').scrollTop = {part} * ($('rows').scrollHeight - $('rows').clientHeight)")
        visible = await board.until(
            "const box = $('rows').getBoundingClientRect(); const seen = [...document.querySelectorAll('.line')].filter(line => { const b = line.getBoundingClientRect(); "
            "return b.bottom > box.top && b.top < box.bottom; }); const needed = Math.floor($('rows').clientHeight / rowHeight()) - 1; "
            "return seen.length >= needed && seen.map(line => Number(line.getAttribute('aria-rowindex')))")
        board.check(f"rows at {part}", visible == list(range(visible[0], visible[0] + len(visible))) and (part != 1 or visible[-1] == connections))
    await board.page.run("$('rows').focus(); $('rows').dispatchEvent(new KeyboardEvent('keydown', {key: 'End'}))")
    board.check("End leads to the last", await board.until(f"const at = document.querySelector('.line.at'); return at && Number(at.getAttribute('aria-rowindex')) === {connections}"))


async def search(board, text):
    await board.page.run(f"$('search').value = {json.dumps(text)}; $('search').dispatchEvent(new Event('input'))")
    return await board.until(f"return table.search === {json.dumps(text)} && table.total > 0 && table.rows.length === Math.min(table.total, PAGE) && "
                             f"table.rows.every(row => [row.peer, row.path, row.user].some(text => text.includes({json.dumps(text)}))) && table.rows")


async def hostile(board):
    """What a client says of itself is shown, and is nothing but text."""
    found = await search(board, "<img src=x")
    board.check("one is hostile", len(found) == 1)
    await board.page.run(f"openDetail({json.dumps(found[0]['id'])})")
    text = await board.until("return document.querySelector('#headers') && $('detail').textContent")
    for part in ("<script>document.title=2</script>", "<img src=x onerror='document.title=1'>", "/rooms/%3Cb%3E", "198.51.100.7", "(hidden)"):
        board.check(f"{part} is shown", part in text)
    board.check("the cookie is not shown", "session=secret" not in text)
    await board.page.run("show('topics'); $('topic-search').value = 'script'; $('topic-search').dispatchEvent(new Event('input'))")
    await board.until("return [...document.querySelectorAll('#topic-table td')].some(cell => cell.textContent === '<script>document.title=2</script>')")
    made = await board.page.run("document.querySelectorAll('main img, aside img, main script, aside script').length")
    title = await board.page.run("document.title")
    board.check(f"nothing of it became HTML: {made}, {title}", made == 0 and title.startswith("Sockeye"))
    await board.page.run("closePanel(); $('topic-search').value = ''; show('connections')")


async def kick(board):
    """Close asks first; then the connection ends, and nobody else's."""
    before = board.truth()["connections"]
    found = await search(board, "ben-1")
    conn = found[0]["id"]
    await board.page.run(f"openDetail({json.dumps(conn)})")
    await board.until("return document.querySelector('#set-active')")
    await board.page.run("$('set-active').click(); $('active').value = 'false'; $('sure').click()")
    await board.until("return $('detail').textContent.includes('false: not read')")
    board.check("active is false", board.truth(f"?conn={conn}")["active"] is False)
    await board.page.run("$('kick').click()")
    board.check("a question comes first", await board.page.run("$('confirm').open") and "closed" not in board.truth(f"?conn={conn}"))
    await board.page.run("[...document.querySelectorAll('#confirm button')].find(button => button.textContent === 'Cancel').click()")
    await board.page.run("$('kick').click(); $('sure').click()")
    await board.until("return $('detail').textContent.includes('has ended')")
    board.check("it is closed", board.truth(f"?conn={conn}") == {"closed": True})
    board.check("no other is", board.truth()["connections"] == before - 1)
    await board.page.run("$('detail').querySelector('.close').click(); $('search').value = ''; $('search').dispatchEvent(new Event('input'))")


async def policy(board):
    """The browser runs nothing that the policy does not name."""
    ran = await board.page.run("""(async () => {
      const script = document.createElement('script'); script.textContent = 'window.ran = 1'; document.body.append(script);
      const frame = document.createElement('img'); frame.setAttribute('onerror', 'window.ran = 2'); frame.src = 'data:x'; document.body.append(frame);
      await new Promise(resolve => setTimeout(resolve, 200));
      script.remove(); frame.remove();
      return window.ran === undefined;
    })()""")
    board.check("no other script runs", ran)
    elsewhere = await board.page.run("fetch('http://127.0.0.1:1/').then(() => 'no', error => error.name)")
    board.check("nothing is fetched from elsewhere", elsewhere == "TypeError")


async def picture(page, folder, name, width, height, theme, mobile=False, script=None):
    await page.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2 if mobile else 1, mobile=mobile)
    await page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
    if script:
        await page.run(script)
    await asyncio.sleep(3)
    shot = await page.call("Page.captureScreenshot", format="png")
    (folder / f"{name}.png").write_bytes(base64.b64decode(shot["data"]))


async def pictures(board, folder):
    page = board.page
    folder.mkdir(parents=True, exist_ok=True)
    await page.run("closePanel(); choose(''); show('overview'); scrollTo(0, 0)")
    await picture(page, folder, "dashboard-light", 1440, 1180, "light")
    await picture(page, folder, "dashboard-dark", 1440, 1180, "dark")
    await page.run("choose(servers.find(server => server.name === 'rooms').id); show('connections'); sortBy('messages')")
    await board.until("return table.sort === 'messages' && table.rows.length > 20 && table.rows[0].messages >= table.rows[1].messages")
    await page.run("table.at = table.rows.findIndex(row => !row.user.startsWith('guest')); openDetail(table.rows[table.at].id); drawRows()")
    await board.until("return document.querySelectorAll('.frames span').length > 8")
    await picture(page, folder, "dashboard-connections", 1440, 900, "light")
    await page.run("closePanel(); choose(''); show('overview'); scrollTo(0, 0)")
    await picture(page, folder, "dashboard-phone", 390, 844, "light", mobile=True)
    await page.run("show('connections')")
    await board.until("return table.rows.length > 20")
    await picture(page, folder, "dashboard-phone-dark", 390, 844, "dark", mobile=True)


async def drive(debugger, port, connections, folder):
    async with first_tab(debugger) as page:
        await page.call("Emulation.setDeviceMetricsOverride", width=1280, height=900, deviceScaleFactor=1, mobile=False)
        await page.open(f"http://127.0.0.1:{port}/_sockeye")
        board = Dashboard(page, port)
        await board.until("return history.length > 0 && servers.length > 0")
        if folder:
            await asyncio.sleep(float(sys.argv[3]) if len(sys.argv) > 3 else 60)
            await pictures(board, folder)
        else:
            await policy(board)
            await numbers(board, connections)
            await rows(board, connections)
            await hostile(board)
            await kick(board)
    print(f"{board.count - board.failed} passed, {board.failed} failed")
    return board.failed == 0


def main():
    connections = int(sys.argv[1])
    folder = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else None
    paths = os.environ["DASHBOARD_PATHS"].split(":")
    started = time.monotonic()
    # It ends with its standard input.
    with subprocess.Popen(["erl", "-noshell", "+Bd", "-pa", *paths, "-eval", "dashboard_server:main().", "-extra", str(connections), *(["busy"] if folder else [])],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        said = []
        for line in server.stdout:
            said.append(line)
            if line.startswith("{"):
                break
        else:
            sys.exit("the server did not start:\n" + "".join(said))
        port = json.loads(line)["port"]
        print(f"{connections} connections were open after {time.monotonic() - started:.1f} s")
        drain = subprocess.Popen(["cat"], stdin=server.stdout, stdout=subprocess.DEVNULL)
        try:
            with chromium() as debugger:
                return asyncio.run(drive(debugger, port, connections, folder))
        finally:
            server.stdin.close()
            drain.wait()


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
