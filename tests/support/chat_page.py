"""The chat page as a user of it sees it, driven in a real headless Chromium: for the web UI's own tests, and for the
cluster's, which open the page by its name at the LoadBalancer's address.

    with browser(resolve={"qwen3.example.com": "10.77.0.200"}) as chromium:
        page = ChatPage(chromium.new_context(), "http://qwen3.example.com")  # https: see `believed`
        page.open()
        page.ask("What is this?", images=[png])
        assert "640x480" in page.answer(within=30)
"""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from playwright.sync_api import Browser, BrowserContext, Error, Request, TimeoutError, sync_playwright

CHROMIUM = "/usr/bin/chromium"
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
COOKIE = "qwen3vl_user"
WAITING = "…"
"""What stands where the first word of an answer will."""
POLL = 0.05
"""Seconds between two looks at a growing answer."""


def _note_dropped(dropped: list[Request], request: Request) -> None:
    if "ERR_NETWORK_CHANGED" in (request.failure or ""):
        dropped.append(request)


@contextmanager
def browser(resolve: Mapping[str, str] | None = None, believed: Sequence[bytes] = ()) -> Iterator[Browser]:
    """A Chromium that finds the given names at the given addresses and asks no name server for them.

    `believed` are servers' certificates (DER) that it takes though it does not know their authority: those that the test has
    verified itself. Any other is refused.
    """
    rules = ", ".join(f"MAP {name} {address}" for name, address in (resolve or {}).items())
    flags = [*FLAGS, f"--host-resolver-rules={rules}"] if rules else list(FLAGS)
    if believed:
        flags.append(f"--ignore-certificate-errors-spki-list={','.join(map(key_digest, believed))}")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        try:
            yield chromium
        finally:
            chromium.close()


def key_digest(certificate: bytes) -> str:
    """Of a certificate's public key, as browsers name it (RFC 7469, 2.4)."""
    key = x509.load_der_x509_certificate(certificate).public_key()
    return base64.b64encode(
        hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
    ).decode()


class ChatPage:
    """One tab. `foreign` collects the addresses of every request to another host: it has to stay empty."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self._url = url.rstrip("/")
        self._host = urlsplit(url).netloc
        self.tab = context.new_page()
        self._pasted = ""
        self.foreign: list[str] = []
        self.errors: list[str] = []
        self.tab.on("request", self._note_foreign)
        self.tab.on("pageerror", lambda error: self.errors.append(str(error)))

    def _note_foreign(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.netloc != self._host:
            self.foreign.append(request.url)

    def open(self, within: float = 60) -> None:
        """Loads the page (again) and waits until it can be used.

        Chromium drops what it is loading when an interface of this machine comes or goes, as those of lab nodes do: only
        then it is loaded once more.
        """
        for attempts_left in (2, 1, 0):
            dropped: list[Request] = []
            note = partial(_note_dropped, dropped)
            self.tab.on("requestfailed", note)
            try:
                self.tab.goto(f"{self._url}/", timeout=within * 1000)
                self.tab.wait_for_selector("#box textarea", timeout=within * 1000 / 3)
                return
            except Error:
                if not dropped or not attempts_left:
                    raise
                self.errors.clear()  # those of a page that was loaded in part
            finally:
                self.tab.remove_listener("requestfailed", note)

    def ask(self, question: str, images: Sequence[bytes] = ()) -> None:
        """Types a question, attaches PNG files and sends both."""
        if images:
            files = [{"name": f"{n}.png", "mimeType": "image/png", "buffer": image} for n, image in enumerate(images)]
            self.tab.set_input_files("#box input[type=file]", files=files)  # type: ignore[arg-type]
            self.tab.wait_for_function(
                "count => document.querySelectorAll('#box .thumbnail-item').length >= count", arg=len(images)
            )
        self.tab.fill("#box textarea", question)
        self.tab.click("#box button.submit-button")

    def questions(self) -> list[str]:
        return self._texts("#chat [data-testid=user]")

    def answers(self) -> list[str]:
        return self._texts("#chat [data-testid=bot]")

    def _texts(self, selector: str) -> list[str]:
        return [element.inner_text().strip() for element in self.tab.query_selector_all(selector)]

    def images(self) -> int:
        """Pictures in the conversation that were really loaded."""
        script = (
            "[...document.querySelectorAll('#chat .user-row img')].filter(i => i.complete && i.naturalWidth > 0).length"
        )
        return int(self.tab.evaluate(script))

    def answering(self) -> bool:
        return self.tab.query_selector("#box button.stop-button") is not None

    def answer(self, within: float = 60, number: int | None = None) -> str:
        """The last answer once it is complete; with `number`, once there are so many."""
        deadline = time.monotonic() + within
        settled = ""
        while time.monotonic() < deadline:
            answers = self.answers()
            if answers and len(answers) >= (number or 1) and not self.answering() and answers[-1] != WAITING:
                if answers[-1] == settled:  # Gradio updates one component after the other: look twice
                    return settled
                settled = answers[-1]
            time.sleep(2 * POLL)
        raise TimeoutError(f"no complete answer within {within} s; the page shows {self.answers()[-1:]}")

    def growing_answer(self, number: int, within: float = 60) -> list[str]:
        """Every state of the answer with that number that was seen while it grew, the complete one last."""
        seen: list[str] = []
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            answers = self.answers()
            if len(answers) >= number:
                if not seen or answers[number - 1] != seen[-1]:
                    seen.append(answers[number - 1])
                if not self.answering() and seen[-1] != WAITING:
                    return seen
            time.sleep(POLL)
        raise TimeoutError(f"the answer was not complete within {within} s; seen: {seen[-1:]}")

    def stop(self) -> None:
        self.tab.click("#box button.stop-button")

    def retry(self) -> None:
        self.tab.click("#retry")

    def edit(self) -> None:
        """Puts the last question back into the box; `ask` then asks it anew."""
        self.tab.click("#edit")
        self.tab.wait_for_selector("#editing", state="visible")

    def clear(self) -> None:
        self.tab.click("#clear")
        self.tab.wait_for_function("document.querySelectorAll('#chat [data-testid=bot]').length === 0")

    def new_chat(self) -> None:
        self.tab.click("#new")
        self.tab.wait_for_function("document.querySelectorAll('#chat [data-testid=bot]').length === 0")

    def conversations(self) -> list[str]:
        """Their names, the newest first."""
        return self._texts("#conversations .open")

    def switch_to(self, name: str) -> None:
        self.tab.click(f"#conversations .open:text-is('{name}')")
        self.tab.wait_for_selector(f"#conversations .row.current .open:text-is('{name}')")

    def rename(self, old: str, new: str) -> None:
        self.tab.click(f"#conversations .row:has(.open:text-is('{old}')) .rename")
        self.tab.fill("#conversations input", new)
        self.tab.press("#conversations input", "Enter")
        self.tab.wait_for_selector(f"#conversations .open:text-is('{new}')")

    def delete(self, name: str) -> None:
        self.tab.once("dialog", lambda dialog: dialog.accept())
        self.tab.click(f"#conversations .row:has(.open:text-is('{name}')) .delete")
        self.tab.wait_for_selector(f"#conversations .open:text-is('{name}')", state="detached")

    def copy_answer(self) -> str:
        """What the last answer's copy button puts into the clipboard."""
        self.tab.locator("#chat .message-buttons-left button").last.click()
        return self.pasted()

    def copy_code(self) -> str:
        """What the copy button of the last code block puts into the clipboard."""
        self.tab.locator("#chat .bot pre ~ *, #chat .bot .code_wrap button").last.click()
        return self.pasted()

    def pasted(self) -> str:
        """The clipboard once it holds something else than before: what a click puts there arrives a moment later."""
        deadline = time.monotonic() + 10
        while True:
            self.tab.fill("#box textarea", "")
            self.tab.focus("#box textarea")
            self.tab.keyboard.press("Control+V")
            found = self.tab.input_value("#box textarea")
            if found != self._pasted or time.monotonic() > deadline:
                self.tab.fill("#box textarea", "")
                self._pasted = found
                return found
            time.sleep(2 * POLL)

    def drop(self, content: bytes, name: str, mime: str) -> None:
        """Drops a file onto the box."""
        self._dispatch("drop", "#box .full-container", content, name, mime)

    def paste(self, content: bytes, name: str, mime: str) -> None:
        """Pastes a file into the box, as the browser does after a screenshot."""
        self._dispatch("paste", "#box textarea", content, name, mime)

    def _dispatch(self, event: str, selector: str, content: bytes, name: str, mime: str) -> None:
        script = """([event, selector, bytes, name, type]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], name, {type}));
            const how = {bubbles: true, cancelable: true, dataTransfer: transfer, clipboardData: transfer};
            const made = event === "paste" ? new ClipboardEvent(event, how) : new DragEvent(event, how);
            document.querySelector(selector).dispatchEvent(made);
        }"""
        self.tab.evaluate(script, [event, selector, list(content), name, mime])

    def attached(self, count: int, within: float = 30) -> None:
        """Waits until so many images are attached to the next question."""
        self.tab.wait_for_function(
            "count => document.querySelectorAll('#box .thumbnail-item').length === count",
            arg=count,
            timeout=within * 1000,
        )

    def status(self) -> str:
        element = self.tab.query_selector("#status")
        return element.inner_text().strip() if element is not None else ""

    def warning(self, within: float = 10) -> str:
        """The text of the notice that pops up."""
        return self.tab.wait_for_selector(".toast-body", timeout=within * 1000).inner_text()  # type: ignore[union-attr]

    def user_id(self) -> str:
        """The value of the identity cookie, which scripts of the page cannot read."""
        cookies = self.tab.context.cookies(self._url)
        return next(cookie["value"] for cookie in cookies if cookie.get("name") == COOKIE)

    def screenshot(self, path: Path) -> None:
        self.tab.screenshot(path=path)
