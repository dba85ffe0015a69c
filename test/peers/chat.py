"""The chat example in two headless browsers: `chat.py`, or `chat.py --picture FILE` for the README's picture."""

import asyncio
import base64
import contextlib
import json
import pathlib
import sys

from browser import LIMIT, chromium, first_tab
from example_server import ChatServer

# What a person does, and what a person sees.
TOOLS = """
var t = {};
t.until = test => new Promise((resolve, reject) => {
  const late = setTimeout(() => { watch.disconnect(); reject(new Error("not seen: " + test + " in " + document.body.innerText)); }, 20000);
  const check = () => { if (test()) { clearTimeout(late); watch.disconnect(); resolve(true); } };
  const watch = new MutationObserver(check);
  watch.observe(document.body, {childList: true, subtree: true, attributes: true, characterData: true});
  check();
});
t.shown = id => !document.getElementById(id).hidden;
t.said = () => [...document.querySelectorAll("#log .said span")].map(e => e.textContent);
t.news = () => [...document.querySelectorAll("#log .news")].map(e => e.textContent);
t.here = () => [...document.querySelectorAll("#people li")].map(e => e.dataset.nick);
t.up = () => document.getElementById("state").classList.contains("up") && t.shown("room");
t.join = (nick, room) => {
  document.getElementById("nick").value = nick; document.getElementById("name").value = room;
  document.getElementById("join").requestSubmit();
};
t.say = text => { document.getElementById("text").value = text; document.getElementById("say").requestSubmit(); };
true
"""
PHONE = {"width": 390, "height": 700, "deviceScaleFactor": 1, "mobile": True}
DESK = {"width": 860, "height": 700, "deviceScaleFactor": 1, "mobile": False}


class Person:
    def __init__(self, page, url):
        self.page, self.url = page, url

    async def visit(self):
        await self.page.open(self.url)
        await self.page.run(TOOLS)

    async def do(self, script):
        return await asyncio.wait_for(self.page.run(script), LIMIT)

    async def sees(self, test):
        await self.do(f"t.until(() => {test})")

    async def join(self, nick, room):
        await self.do(f"t.join({json.dumps(nick)}, {json.dumps(room)})")

    async def say(self, text):
        await self.do(f"t.say({json.dumps(text)})")
        await self.sees(f"t.said().at(-1) === {json.dumps(text)}")


async def talk(ann, bob, server):
    """Two people in one room; a name that is taken."""
    await ann.join("ann", "lobby")
    await ann.sees("t.up()")
    await bob.join("ann", "lobby")
    await bob.sees("document.getElementById('problem').textContent.includes('has that name')")
    await bob.join("bob", "lobby")
    await bob.sees("t.up() && t.here().join() === 'ann,bob'")
    await ann.sees("t.here().join() === 'ann,bob' && t.news().includes('bob came in')")
    await ann.say("hello bob")
    await bob.sees("t.said().join() === 'hello bob'")
    await bob.say("hello ann")
    await ann.sees("t.said().join() === 'hello bob,hello ann'")
    await ann.sees("document.querySelectorAll('#log .mine').length === 1")


async def text_stays_text(ann, bob, server):
    """What looks like HTML is shown as it was written."""
    nasty = "<img src=x onerror='document.title=\"owned\"'><script>alert(1)</script> &amp; <b>"
    await ann.say(nasty)
    await bob.sees(f"t.said().at(-1) === {json.dumps(nasty)}")
    await bob.sees("document.querySelectorAll('#log img, #log script').length === 0 && document.title !== 'owned'")


async def reload(ann, bob, server):
    """After a reload: the same place, and what was said."""
    before = await bob.do("t.said().join('|')")
    await bob.visit()
    await bob.sees(f"t.up() && t.here().join() === 'ann,bob' && t.said().join('|') === {json.dumps(before)}")


async def a_phone(ann, bob, server):
    """Nothing is wider than a phone, and all is within reach."""
    await bob.page.call("Emulation.setDeviceMetricsOverride", **PHONE)
    await ann.say("a long word: " + "x" * 300)
    await bob.sees("t.said().at(-1).endsWith('xxx')")
    await bob.sees("document.documentElement.scrollWidth <= 390")
    await bob.sees("[...document.querySelectorAll('#log li')].every(e => e.getBoundingClientRect().right <= 390)")
    await bob.sees("document.getElementById('send').getBoundingClientRect().bottom <= 700")
    await bob.page.call("Emulation.clearDeviceMetricsOverride")


async def a_lost_connection(ann, bob, server):
    """The server goes away and comes back: so do they, by themselves."""
    port = server.port
    server.stop()
    for person in (ann, bob):
        await person.sees("document.getElementById('state').textContent === 'connecting again'")
    with ChatServer("--port", str(port)):
        for person in (ann, bob):
            await person.sees("t.up() && t.here().join() === 'ann,bob'")
        await ann.say("back again")
        await bob.sees("t.said().at(-1) === 'back again'")
        await bob.do("document.getElementById('leave').click()")
        await bob.sees("t.shown('door')")
        await ann.sees("t.here().join() === 'ann' && t.news().includes('bob left')")


async def picture(ann, bob, file):
    """Both of them in one picture."""
    await ann.page.call("Emulation.setDeviceMetricsOverride", **DESK)
    await bob.page.call("Emulation.setDeviceMetricsOverride", **PHONE)
    await ann.join("Ann", "salmon run")
    await ann.sees("t.up()")
    await bob.join("Bob", "salmon run")
    await bob.sees("t.up()")
    for person, text in [(ann, "Has anyone seen the first sockeye of the year?"),
                         (bob, "Two of them, above the falls. Bright red already."),
                         (ann, "That is early! Did they make it up the ladder?"),
                         (bob, "One did. The other took the hard way and jumped."),
                         (ann, "Of course it did.")]:
        await person.say(text)
    await bob.sees("t.said().length === 5")
    await ann.sees("t.said().length === 5")
    shots = []
    for person in (ann, bob):
        shots.append((await person.page.call("Page.captureScreenshot", format="png"))["data"])
    frame = "border-radius:14px;border:1px solid #cfc8c0;display:block"
    html = (f"<body style='margin:0;background:#e9e4de;display:flex;gap:24px;padding:24px;width:fit-content'>"
            f"<img style='{frame}' src='data:image/png;base64,{shots[0]}'>"
            f"<img style='{frame}' src='data:image/png;base64,{shots[1]}'>")
    await ann.page.call("Page.navigate", url="about:blank")
    await ann.page.run(f"document.write({json.dumps(html)}); document.close(); Promise.all([...document.images].map(i => i.decode())).then(() => true)")
    size = {"width": 860 + 390 + 76, "height": 700 + 50, "deviceScaleFactor": 0.75, "mobile": False}
    await ann.page.call("Emulation.setDeviceMetricsOverride", **size)
    shot = await ann.page.call("Page.captureScreenshot", format="png")
    pathlib.Path(file).write_bytes(base64.b64decode(shot["data"]))


async def drive(browsers, server, file):
    async with contextlib.AsyncExitStack() as stack:
        pages = [await stack.enter_async_context(first_tab(debugger)) for debugger in browsers]
        people = [Person(page, f"http://127.0.0.1:{server.port}/") for page in pages]
        for person in people:
            await person.visit()
        if file:
            await picture(*people, file)
            return True
        count = failed = 0
        for part in (talk, text_stays_text, reload, a_phone, a_lost_connection):
            count += 1
            try:
                await part(*people, server)
            except (RuntimeError, TimeoutError) as why:
                failed += 1
                print(f"FAILED {part.__doc__} {why!r}")
    print(f"{count - failed} passed, {failed} failed")
    return failed == 0


def main():
    file = sys.argv[2] if sys.argv[1:2] == ["--picture"] else None
    with ChatServer() as server, chromium() as one, chromium() as two:
        ok = asyncio.run(drive([one, two], server, file))
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
