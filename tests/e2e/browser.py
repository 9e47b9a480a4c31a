"""Chromium, headless, as a judge of clips: does a browser play them, and for how long."""

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WAIT_S = 90.0
PAGE = """<!doctype html><title>clips</title><body><script>
async function judge(name) {
  const video = document.createElement("video");
  video.muted = true; video.src = "/" + encodeURIComponent(name); document.body.append(video);
  const told = new Promise(done => {
    video.onerror = () => done("error " + video.error.code + " " + video.error.message);
    video.onended = () => done("");
    video.oncanplay = () => { video.playbackRate = 8; video.play().catch(fault => done(String(fault))); };
  });
  const fault = await told;
  return {fault, duration: video.duration, played: video.currentTime, width: video.videoWidth};
}
(async () => {
  const result = {};
  for (const name of NAMES) result[name] = await judge(name);
  await fetch("/result", {method: "POST", body: JSON.stringify(result)});
})();
</script>"""


def played(clips: Mapping[str, bytes], scratch: Path) -> dict[str, dict[str, Any]]:
    """Play clips to their end.

    Args:
        clips: Encoded, by file name; ".m4a" is sound.
        scratch: Chromium's profile goes there.

    Returns:
        For each: `fault` (empty when it played), `duration` and `played` in seconds, `width` in pixels.
    """
    told = threading.Event()
    results: dict[str, dict[str, Any]] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = unquote(urlsplit(self.path).path[1:])
            if name in clips:
                self._send(clips[name], "audio/mp4" if name.endswith(".m4a") else "video/mp4")
            elif not name:
                self._send(PAGE.replace("NAMES", json.dumps(list(clips))).encode(), "text/html")
            else:
                self.send_error(404)

        def do_POST(self) -> None:
            results.update(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self._send(b"", "text/plain")
            told.set()

        def _send(self, data: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with _serving(Handler) as port, _browsing(f"http://127.0.0.1:{port}/", scratch):
        assert told.wait(WAIT_S), "Chromium told nothing"
    return results


@contextmanager
def _serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def _browsing(url: str, scratch: Path) -> Iterator[None]:
    assert PROGRAM is not None
    command = [
        PROGRAM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--mute-audio",
        "--autoplay-policy=no-user-gesture-required", f"--user-data-dir={scratch}", url,
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
