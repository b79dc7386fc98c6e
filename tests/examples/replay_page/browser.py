"""Drives the replay page in headless Chromium, by keyboard, offline; called by `.ci/replay`.

    browser.py CHROMIUM TWO_TASKS.html DOWNLOADS.html [SCREENSHOTS]

It talks to Chromium over the pipe of the DevTools protocol: JSON, each message ended by a NUL. With SCREENSHOTS, a
directory, it leaves pictures of three steps there, at 1280 and at 390 pixels.
"""

import base64
import json
import os
import pathlib
import subprocess
import sys
import tempfile

KEYS = {" ": ("Space", 32), "ArrowRight": ("ArrowRight", 39), "ArrowLeft": ("ArrowLeft", 37), "Tab": ("Tab", 9),
        "Home": ("Home", 36), "End": ("End", 35), "Enter": ("Enter", 13)}


class Browser:
    """One Chromium with one page, and everything that it has reported."""

    def __init__(self, program, profile):
        to_child, self.to = os.pipe()
        self.back, from_child = os.pipe()

        def descriptors():  # In the child: it reads from 3 and writes to 4, whatever these are here.
            reads, writes = os.dup(to_child), os.dup(from_child)
            os.dup2(reads, 3)
            os.dup2(writes, 4)

        self.process = subprocess.Popen(
            [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars",
             "--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe",
             f"--user-data-dir={profile}", "about:blank"],
            preexec_fn=descriptors, close_fds=False, stderr=subprocess.DEVNULL)
        os.close(to_child)
        os.close(from_child)
        self.read, self.number, self.session, self.events = b"", 0, None, []
        target = next(t for t in self("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self.session = self("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ["Page", "Runtime", "Log", "Network"]:
            self(f"{domain}.enable")
        self("Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=-1, uploadThroughput=-1)

    def message(self):
        while b"\0" not in self.read:
            piece = os.read(self.back, 1 << 16)
            assert piece, "Chromium has ended"
            self.read += piece
        message, self.read = self.read.split(b"\0", 1)
        return json.loads(message)

    def __call__(self, method, **params):
        self.number += 1
        call = {"id": self.number, "method": method, "params": params}
        if self.session:
            call["sessionId"] = self.session
        os.write(self.to, json.dumps(call).encode() + b"\0")
        while True:
            message = self.message()
            if message.get("id") == self.number:
                assert "error" not in message, f"{method}: {message['error']}"
                return message["result"]
            self.events.append(message)

    def wait(self, event):
        while not any(e.get("method") == event for e in self.events):
            self.events.append(self.message())

    def js(self, expression):
        result = self("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, f"{expression}: {result['exceptionDetails']}"
        return result["result"].get("value")

    def open(self, file, tail="", width=1280, height=900, script=True):
        self("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self("Emulation.setScriptExecutionDisabled", value=not script)
        for url in ["about:blank", pathlib.Path(file).resolve().as_uri() + tail]:  # An address of the same page would not load it.
            self.events = [e for e in self.events if e.get("method") != "Page.loadEventFired"]
            self("Page.navigate", url=url)
            self.wait("Page.loadEventFired")

    def press(self, key):
        code, number = KEYS.get(key, ("Key" + key.upper() if key.isalpha() else "Digit" + key, ord(key.upper()) if len(key) == 1 else 0))
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        common = dict(key=key, code=code, windowsVirtualKeyCode=number)
        self("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        self("Input.dispatchKeyEvent", type="keyUp", **common)

    def text(self, name):
        return self.js(f"document.getElementById('{name}').innerText")

    def step(self):
        return int(self.js("document.getElementById('scrub').value"))

    def until(self, condition):
        """Waits in the page, for each frame that it draws, until `condition` holds there."""
        self.js(f"new Promise(done => {{ const look = () => {condition} ? done() : requestAnimationFrame(look); look(); }})")

    def screenshot(self, file):
        picture = self("Page.captureScreenshot", captureBeyondViewport=False)["data"]
        pathlib.Path(file).write_bytes(base64.b64decode(picture))


def equal(found, expected):
    assert found == expected, f"{found!r}, and {expected!r} was expected"


def has(text, *parts):
    for part in parts:
        assert part in text, f"no {part!r} in {text!r}"


def steps_by_keyboard(b, page):
    b.open(page, "?lang=en")
    has(b.text("sentence"), "Turn 1: “root” spawns “ann” and “bob” and lets the others run.")
    equal(b.text("queue-after").split(), ["2", "ann", "3", "bob", "1", "root"])
    for key, step in [("ArrowRight", 2), ("ArrowRight", 3), ("ArrowLeft", 2), ("n", 5), ("n", 8), ("b", 5), ("End", 10),
                      ("ArrowRight", 10), ("Home", 1), ("ArrowLeft", 1)]:
        b.press(key)
        equal(b.step(), step)
    b.press("j")
    b.press("7")
    b.press("Tab")
    equal((b.step(), b.text("sentence").split(":")[0]), (7, "Turn 7"))
    b.until("location.hash === '#step=7'")
    b.js("document.activeElement.blur()")
    b.press("s")  # the slider
    for _ in range(2):
        b.press("ArrowRight")
    equal(b.step(), 9)
    b.js("location.hash = '#step=4'")
    b.until("document.getElementById('scrub').value === '4'")
    has(b.text("place"), "two_tasks.rs:", "two_tasks::two_tasks")
    has(b.js("document.querySelector('#source .left').innerText"), "green::yield_now();")
    b.open(page, "?lang=en#step=6")
    equal(b.step(), 6)
    b.js("document.getElementById('keys').click()")
    b.press("End")
    equal(b.step(), 6)  # The keys are off.


def plays_to_the_end(b, page):
    b.open(page, "?lang=en")
    b.js("document.getElementById('speed').value = '25'")
    b.press(" ")
    b.until("document.getElementById('scrub').value === '10' && !document.documentElement.classList.contains('plays')")
    b.press("Home")
    b.press(" ")
    b.press(" ")
    assert b.step() < 10 and not b.js("document.documentElement.classList.contains('plays')"), "it stops"


def predicts(b, page, language, right, wrong, *counts):
    b.open(page, f"?lang={language}")
    b.press("p")
    has(b.text("choices"), "1 1 root", "2 2 ann", "3 3 bob")
    b.press("2")  # ann, and it is
    has(b.text("verdict"), right, "2 ann", counts[0])
    b.press("2")  # ann again, but it is bob
    has(b.text("verdict"), wrong, "3 bob", counts[1])
    equal(b.step(), 3)
    b.js("document.querySelector('#choices button').focus()")
    b.press("Enter")  # root, and it is
    has(b.text("verdict"), right, "1 root", counts[2])
    columns = b.js("document.querySelectorAll('#strip path.run').length")
    equal(columns, 4)  # Nothing that comes is drawn.
    b.press("p")
    assert b.js("document.getElementById('question').hidden"), "it can be left"


def speaks_both(b, page):
    for address, languages, expected in [("?lang=zh", "en", "第 1 轮次"), ("?lang=en", "zh-CN", "Turn 1"),
                                         ("", "zh-CN", "第 1 轮次"), ("", "de", "Turn 1")]:
        b("Emulation.setUserAgentOverride", userAgent="a test", acceptLanguage=languages)
        b.open(page, address)
        has(b.text("sentence"), expected)
        shown = b.js("document.body.innerText")
        assert ("Who waits" in shown) == (expected == "Turn 1"), shown
        assert ("谁在等待" in shown) != (expected == "Turn 1"), shown
        equal(b.js("document.documentElement.lang"), "en" if expected == "Turn 1" else "zh")
    b.press("l")
    has(b.text("sentence"), "第 1 轮次")
    # In Chinese, no sentence of the page's own is left in English.
    own = b.js("[...document.querySelectorAll('h1, h2, dt, dd, label, button, figcaption, #sentence, #legend li')]"
               ".map(e => e.innerText.replace('two tasks', '')).filter(t => /[a-z]{3} [a-z]/.test(t)).join('|')")
    equal(own, "")


def runs_stand_side_by_side(b, page):
    b.open(page, "?lang=en#step=12")
    titles = b.js("[...document.querySelectorAll('.tab')].map(t => t.innerText)")
    equal(titles, ["generator", "green", "async"])
    lines = []
    for tab in range(3):
        equal(b.js("[...document.querySelectorAll('.tab')].findIndex(t => t.ariaPressed === 'true')"), tab)
        equal(b.step(), 12)
        has(b.text("sentence"), "Turn 12: ")
        lines.append(b.text("place"))
        equal(b.js("[...document.querySelectorAll('.picture')].filter(p => !p.hidden).length"), 1)
        b.press("r")
    has(lines[0], "generator.rs:", "generator::")
    has(lines[1], "green.rs:", "coop_download::green::", "inside ureq-")
    b.open(page, "#run=3&step=100")
    equal((b.step(), b.js("document.querySelectorAll('.tab')[2].ariaPressed")), (100, "true"))


def every_step_is_shown_in_time(b, page):
    b.open(page, "?lang=en#run=3")
    took = b.js("(() => { const begun = performance.now(); for (let i = 0; i < 500; i++) go(at + 1);"
                " document.body.offsetHeight; return (performance.now() - begun) / 500; })()")
    print(f"a step takes {took:.2f} ms")


def is_accessible(b, page):
    b.open(page, "?lang=en")
    b.press("p")
    unnamed = b.js("[...document.querySelectorAll('button, input, select')].filter(e => e.getClientRects().length && "
                   "!e.innerText && ![...(e.labels || [])].some(l => l.innerText.trim())).map(e => e.id)")
    equal(unnamed, [])
    ids = b.js("[...document.querySelectorAll('[id]')].map(e => e.id)")
    equal(sorted(set(ids)), sorted(ids))
    dangling = b.js("[...document.querySelectorAll('[aria-labelledby]')].map(e => e.getAttribute('aria-labelledby'))"
                    ".filter(id => !document.getElementById(id))")
    equal(dangling, [])
    # What has text stands out from what is behind it: 4.5 to 1, and 3 to 1 where it is large.
    faint = b.js("""(() => {
        const light = (c) => c.map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
            .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
        const parse = (c) => c.match(/[\\d.]+/g).map(Number);
        const behind = (e) => { for (; e; e = e.parentElement) {
            const c = parse(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0) return c.slice(0, 3); }
            return [255, 255, 255]; };
        return [...document.querySelectorAll('body *')].filter(e => e.getClientRects().length && !['SCRIPT', 'STYLE'].includes(e.tagName)
            && [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())).filter(e => {
            const style = getComputedStyle(e), svg = e.closest('svg');
            const front = parse(svg ? style.fill : style.color).slice(0, 3);
            const [a, z] = [light(front), light(behind(svg ? svg.parentElement : e))].sort((x, y) => y - x);
            return (a + .05) / (z + .05) < 4.5; }).map(e => e.outerHTML.slice(0, 90)); })()""")
    equal(faint, [])
    for _ in range(60):  # Whatever has the focus shows it.
        b.press("Tab")
        outlined = b.js("(() => { const e = document.activeElement; return e === document.body || "
                        "getComputedStyle(e).outlineStyle !== 'none' })()")
        assert outlined, b.js("document.activeElement.outerHTML")
    b.js("document.activeElement.blur()")
    for width in [1280, 390, 320]:
        b.open(page, "?lang=en#step=3", width=width)
        wide = b.js("document.documentElement.scrollWidth")
        assert wide <= width, f"at {width} pixels, the page is {wide} wide"


def stands_without_script(b, page):
    b.open(page, script=False)
    shown = b("Page.captureScreenshot")["data"]
    assert len(shown) > 5_000, "the pictures are there"
    b("Emulation.setScriptExecutionDisabled", value=False)
    equal(b.js("getComputedStyle(document.querySelector('.player')).display"), "none")
    assert b.js("document.querySelector('.picture svg').getBoundingClientRect().width") > 600
    has(b.js("document.body.innerText"), "The whole run", "2 ann · green")


def made_no_request_and_no_error(b):
    for event in b.events:
        method, params = event.get("method"), event.get("params", {})
        if method == "Network.requestWillBeSent":
            url = params["request"]["url"]
            assert url.startswith("file:") and url.split("?")[0].split("#")[0].endswith(".html"), f"a request: {url}"
        bad = (method == "Runtime.exceptionThrown" or method == "Runtime.consoleAPICalled"
               or method == "Log.entryAdded" and params["entry"]["level"] in ["error", "warning"])
        assert not bad, event


def main():
    chromium, two_tasks, downloads = sys.argv[1:4]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        b = Browser(chromium, profile)
        try:
            steps_by_keyboard(b, two_tasks)
            plays_to_the_end(b, two_tasks)
            predicts(b, two_tasks, "en", "Right: ", "No: ", "1 of 1", "1 of 2", "2 of 3")
            predicts(b, two_tasks, "zh", "正确：", "不对：", "1 次中答对 1 次", "2 次中答对 1 次", "3 次中答对 2 次")
            speaks_both(b, two_tasks)
            runs_stand_side_by_side(b, downloads)
            every_step_is_shown_in_time(b, downloads)
            is_accessible(b, two_tasks)
            is_accessible(b, downloads)
            stands_without_script(b, two_tasks)
            made_no_request_and_no_error(b)
            for folder in sys.argv[4:]:
                for width in [1280, 390]:
                    for name, page, tail in [("start", two_tasks, "?lang=en#step=3"), ("middle", downloads, "?lang=en#run=2&step=40"),
                                             ("end", downloads, "?lang=zh#run=1&step=100")]:
                        b.open(page, tail, width=width, height=2000)
                        high = b.js("document.documentElement.scrollHeight")
                        b("Emulation.setDeviceMetricsOverride", width=width, height=high, deviceScaleFactor=1, mobile=False)
                        b.screenshot(f"{folder}/{name}-{width}.png")
        finally:
            b.process.kill()
            b.process.wait()
    print("the replay page plays, steps, scrubs and predicts by keyboard, in both languages, offline")


main()
