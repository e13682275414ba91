"""Opens a file in Chromium (QtWebEngine), without a screen, runs scripts in it and prints what happened as JSON.

    python chromium.py FILE WIDTH light|dark [--shot PNG] SCRIPT...

{"loaded": true, "chrome": "140.0", "console": [...], "requests": [...], "results": [...]}: what was written to the
console except plain logs, every address that was asked for, and what each script gave; a script is an expression.
"""

import argparse
import json
import os
import sys

parser = argparse.ArgumentParser()
parser.add_argument("file")
parser.add_argument("width", type=int)
parser.add_argument("scheme", choices=["light", "dark"])
parser.add_argument("--shot")
parser.add_argument("script", nargs="*")
options = parser.parse_intermixed_args()

os.environ["QT_QPA_PLATFORM"] = "offscreen"
os.environ["QTWEBENGINE_CHROMIUM_FLAGS"] = (
    f"--no-sandbox --disable-gpu --blink-settings=preferredColorScheme={int(options.scheme == 'light')}"
)

from PyQt6.QtCore import QEvent, Qt, QTimer, QUrl  # noqa: E402  # the flags above are read on import
from PyQt6.QtGui import QKeyEvent  # noqa: E402
from PyQt6.QtWebEngineCore import QWebEnginePage, QWebEngineUrlRequestInterceptor  # noqa: E402
from PyQt6.QtWebEngineWidgets import QWebEngineView  # noqa: E402
from PyQt6.QtWidgets import QApplication  # noqa: E402

found = {"loaded": False, "chrome": "", "console": [], "requests": [], "results": []}


class Page(QWebEnginePage):
    """Keeps what is written to the console."""

    def javaScriptConsoleMessage(self, level, message, line, source):  # noqa: N802  # Qt's name
        """Keep it."""
        found["console"].append(f"{level.name} {message} ({source}:{line})")


class Requests(QWebEngineUrlRequestInterceptor):
    """Keeps what is asked for."""

    def interceptRequest(self, info):  # noqa: N802  # Qt's name
        """Keep it."""
        found["requests"].append(info.requestUrl().toString())


def press(key):
    """A real key, as a keyboard would send it to whatever has the focus."""
    for kind in (QEvent.Type.KeyPress, QEvent.Type.KeyRelease):
        text = "\r" if key == Qt.Key.Key_Return else ""
        target = view.focusProxy() or view
        QApplication.sendEvent(target, QKeyEvent(kind, key, Qt.KeyboardModifier.NoModifier, text))


def run(scripts):
    """One script after the other; "press Return" and "press Tab" are keys."""
    if not scripts:
        QTimer.singleShot(200, end)
        return
    script, *rest = scripts
    if script.startswith("press "):
        press(getattr(Qt.Key, f"Key_{script.removeprefix('press ')}"))
        QTimer.singleShot(150, lambda: run(rest))
    else:
        page.runJavaScript(script, lambda result: (found["results"].append(result), run(rest)))


def end():
    """The picture, the whole page's height; then the findings."""

    def shoot(height):
        view.resize(options.width, int(height or 800))
        QTimer.singleShot(600, lambda: (view.grab().save(options.shot), app.quit()))

    if options.shot:
        page.runJavaScript("document.documentElement.scrollHeight", shoot)
    else:
        app.quit()


def begin(loaded):
    """Once the page is there."""
    found["loaded"] = loaded
    page.runJavaScript(
        "navigator.userAgent.match(/Chrome\\/([0-9.]+)/)[1]", lambda v: (found.update(chrome=v), run(options.script))
    )


app = QApplication(sys.argv[:1])
view = QWebEngineView()
page = Page(view)
requests = Requests()
page.profile().setUrlRequestInterceptor(requests)
view.setPage(page)
view.resize(options.width, 900)
view.show()
view.setFocus()
view.loadFinished.connect(begin)
view.load(QUrl.fromLocalFile(os.path.abspath(options.file)))
app.exec()
print(json.dumps(found))
