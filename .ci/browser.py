#!/usr/bin/env python3
"""Opens pages of traces in a browser without a window, walks through every moment, and holds what it shows against the
numbers of the library.

    .ci/browser.py FOLDER [--pictures FOLDER]

FOLDER holds NAME.html and NAME.json for each trace; other pages are replays of a training, or have no script. The browser is driven through two pipes: nothing is installed for it.
"""
import base64, json, math, os, pathlib, re, subprocess, sys, time

BROWSERS = ["chromium", "chromium-browser", "google-chrome"]
DESKTOP, PHONE = (1280, 860, 1, False), (390, 844, 2, True)
LARGEST = 5_000_000


class Browser:
    """A browser and its one page."""

    def __init__(self):
        to_browser, self.send_end = os.pipe()
        self.receive_end, from_browser = os.pipe()

        def pipes():  # the browser reads from 3 and writes to 4
            reading, writing = os.dup(to_browser), os.dup(from_browser)
            os.dup2(reading, 3)
            os.dup2(writing, 4)

        program = next(path for name in BROWSERS for path in [which(name)] if path)
        self.process = subprocess.Popen(
            [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe",
             "--hide-scrollbars", "--no-first-run", "--disable-background-networking"],
            close_fds=False, preexec_fn=pipes, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        os.close(to_browser)
        os.close(from_browser)
        self.buffer, self.number, self.session, self.faults = b"", 0, None, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ["Page", "Runtime", "Log"]:
            self.call(f"{domain}.enable")

    def receive(self):
        while b"\0" not in self.buffer:
            chunk = os.read(self.receive_end, 1 << 20)
            if not chunk:
                raise SystemExit("the browser has ended")
            self.buffer += chunk
        message, self.buffer = self.buffer.split(b"\0", 1)
        message = json.loads(message)
        if message.get("method") == "Runtime.exceptionThrown":
            self.faults.append(message["params"]["exceptionDetails"].get("exception", {}).get("description", "an exception"))
        if message.get("method") == "Log.entryAdded" and message["params"]["entry"]["level"] == "error":
            self.faults.append(message["params"]["entry"]["text"])
        if message.get("method") == "Runtime.consoleAPICalled" and message["params"]["type"] in ("error", "warning", "assert"):
            self.faults.append(str(message["params"]["args"]))
        return message

    def call(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.send_end, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise SystemExit(f"{method}: {answer['error']}")
                return answer["result"]

    def run(self, script):
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise SystemExit(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def open(self, path, size, dark=False):
        width, height, scale, mobile = size
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=mobile)
        scheme = "dark" if dark else "light"
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.call("Page.navigate", url=path.resolve().as_uri())
        limit = time.monotonic() + 60
        while self.run("document.readyState") != "complete" or not self.run("location.href").startswith("file:"):
            if time.monotonic() > limit:
                raise SystemExit(f"{path} does not load")
            time.sleep(0.02)

    def picture(self, path):
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def press(self, key):
        for kind in ["keyDown", "keyUp"]:
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key)


def which(name):
    return next((path for folder in os.environ["PATH"].split(":") for path in [f"{folder}/{name}"] if os.access(path, os.X_OK)), None)


def same(shown, number):
    """Is this how the number is printed, in four digits?"""
    if isinstance(number, str):
        return shown == number
    if number == 0:
        return float(shown) == 0
    digit = 10.0 ** (math.floor(math.log10(abs(number))) - 3)
    return abs(float(shown) - number) <= 0.501 * max(digit, 1e-300)


# What the panel shows: for each table the numbers of its cells, and the figures of the maps.
SHOWN = """[...document.querySelectorAll('#panel .tensor')].map(box => ({
    head: box.querySelector('.head').textContent,
    cells: [...box.querySelectorAll('td')].map(cell => cell.textContent),
    figures: box.querySelector('.figures')?.textContent || ''}))"""


def expected(data, moment):
    """The values that the panel of a moment has to show, in order."""
    kind, number = moment["at"]
    if moment["phase"] == "forward":
        operation = data["operations"][number]
        return [operand["value"] for operand in operation["operands"]] + operation["results"]
    leaf = data["leaves"][number]["value"] if kind == "leaf" else None
    if moment["phase"] == "backward":
        arrived = [value for value in moment["arrived"] if value]
        return arrived + [passed["value"] for passed in moment["passed"]] + ([leaf] if leaf else [])
    gradient = [m["arrived"][0] for m in data["moments"] if m["at"] == ["leaf", number]]
    return [leaf] + gradient + [moment["after"]]


def moments_of(data):
    forward = [{"phase": "forward", "at": ["operation", i]} for i in range(len(data["operations"]))]
    backward = [dict(moment, phase="backward") for moment in data["moments"]]
    return forward + backward + [{"phase": "update", "at": ["leaf", u["leaf"]], "after": u["after"]} for u in data["updates"]]


def take(browser, page, size, moment, path):
    """A picture of a moment on a light page and one on a dark page."""
    for dark, ending in [(False, ".png"), (True, "_dark.png")]:
        browser.open(page, size, dark)
        browser.run(moment)
        browser.picture(path.with_name(path.name + ending))


def check(browser, page, pictures):
    data = json.loads(page.with_suffix(".json").read_text())
    moments = moments_of(data)
    assert page.stat().st_size < LARGEST, f"{page} has {page.stat().st_size} bytes"
    assert not re.search(r"""(?:src|href)\s*=|@import|url\(|fetch\(|https?://(?!www\.w3\.org/2000/svg)""", page.read_text()), "it reaches out"
    numbers = 0
    for size, name in [(DESKTOP, "desktop"), (PHONE, "phone")]:
        browser.open(page, size)
        assert browser.run("trace.moments.length") == len(moments)
        wide = browser.run("document.documentElement.scrollWidth")
        assert wide <= size[0], f"{page} is {wide} wide on {size[0]}"
        for at, moment in enumerate(moments):
            if at:
                browser.press("ArrowRight")
            assert browser.run("trace.now()") == at, f"the slider stands at {browser.run('trace.now()')}, not {at}"
            assert browser.run("+document.getElementById('slider').value") == at
            shown, wanted = browser.run(SHOWN), expected(data, moment)
            assert len(shown) == len(wanted), f"moment {at}: {len(shown)} tensors are shown, {len(wanted)} there are"
            for box, value in zip(shown, wanted):
                assert f"[{', '.join(map(str, value['dims']))}] {value['dtype']}" in box["head"], box["head"]
                if "all" in value:
                    assert len(box["cells"]) == len(value["all"])
                    assert all(map(same, box["cells"], value["all"])), f"moment {at}: {box} is not {value}"
                    numbers += len(box["cells"])
                else:
                    figures = re.findall(r"-?[\d.]+(?:e-?\d+)?", box["figures"])
                    names = ["least", "greatest", "mean", "deviation", "norm", "zeros"]
                    assert all(same(shown, value[name]) for shown, name in zip(figures, names)), f"moment {at}: {box} is not {value}"
                    numbers += len(names)
        browser.press("Home")
        assert browser.run("trace.now()") == 0
        # every module opened and closed, every box clicked
        for _ in range(2):
            browser.press("m")
            for key in browser.run("[...document.querySelectorAll('.node')].map(node => node.dataset.key)"):
                browser.run(f"document.querySelector('[data-key={key}]').dispatchEvent(new MouseEvent('click'))")
        overlaps = browser.run("""(() => { const boxes = [...document.querySelectorAll('.node rect')].map(r => r.getBBox());
            return boxes.filter((a, i) => boxes.some((b, j) => i < j && a.x < b.x + b.width && b.x < a.x + a.width
                && a.y < b.y + b.height && b.y < a.y + a.height)).length; })()""")
        assert overlaps == 0, f"{page}: {overlaps} boxes lie on others"
        if pictures:
            take(browser, page, size, f"trace.show({len(data['operations']) + len(data['moments']) // 3})", pictures / f"{page.stem}_{name}")
    assert not browser.faults, f"{page}: {browser.faults}"
    print(f"{page.name}: {len(moments)} moments, {numbers} numbers, {page.stat().st_size // 1000} KB")


def check_film(browser, page, pictures):
    """The replay of a training: every moment with the loss and the share told right of the data; or a page without script."""
    for size, name in [(DESKTOP, "desktop"), (PHONE, "phone")]:
        browser.open(page, size)
        wide = browser.run("document.documentElement.scrollWidth")
        assert wide <= size[0], f"{page} is {wide} wide on {size[0]}"
        count = browser.run("window.film ? film.count : 0")
        for at in range(count):
            frame = browser.run(f"(({{step, loss, accuracy}}) => [step, loss, accuracy])(film.data.frames[{at}])")
            figures = [float(x) for x in re.findall(r"[\d.]+", browser.run("document.getElementById('figures').textContent"))]
            assert figures[0] == frame[0] and abs(figures[2] - frame[1]) <= 5.01e-5 and abs(figures[3] - frame[2]) <= 0.0501, (figures, frame)
            assert browser.run("+document.getElementById('slider').value") == at
            browser.press("ArrowRight")
        if pictures:
            take(browser, page, size, f"window.film && film.show({count // 2})", pictures / f"{page.stem}_{name}")
    assert not browser.faults, f"{page}: {browser.faults}"
    print(f"{page.name}: {count} moments, {page.stat().st_size // 1000} KB")


def main():
    arguments = sys.argv[1:]
    pictures = pathlib.Path(arguments[arguments.index("--pictures") + 1]) if "--pictures" in arguments else None
    if pictures:
        pictures.mkdir(parents=True, exist_ok=True)
    pages = sorted(pathlib.Path(arguments[0]).glob("*.html"))
    assert pages, f"there are no pages in {arguments[0]}"
    if not any(map(which, BROWSERS)):
        raise SystemExit("no browser is here: apt-get install chromium")
    browser = Browser()
    try:
        for page in pages:
            is_trace = page.with_suffix(".json").exists()
            (check if is_trace else check_film)(browser, page, pictures)
    finally:
        browser.process.kill()


main()
