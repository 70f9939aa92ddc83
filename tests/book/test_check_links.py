"""The check of links names what leads nowhere, in the site and outside it."""

import http.server
import threading

import check_links
import pytest


class Answers(http.server.BaseHTTPRequestHandler):
    """A site of other people: each path is the code that it answers."""

    def do_GET(self):
        self.send_response(int(self.path.removeprefix("/")))
        self.end_headers()

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture(scope="module")
def outside():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("path", "said"),
    [("200", ""), ("404", "answers 404"), ("410", "answers 410"), ("403", "")],
)
def test_an_address_that_is_gone_is_named(outside, path, said):
    assert check_links.answer(f"{outside}/{path}") == said


def test_a_server_that_is_not_there_is_named():
    assert "does not answer" in check_links.answer("http://127.0.0.1:9/")


def test_each_address_is_asked_once_and_told_with_its_page(outside, tmp_path, capsys):
    links = f"<a href='{outside}/404#a'>a</a>\n<a href='{outside}/404#b'>b</a>"
    (tmp_path / "page.html").write_text(f"{links}<a href='#'>here</a>", "utf-8")
    assert check_links.silent(tmp_path) == (
        1,
        [f"page.html, line 1: {outside}/404 answers 404"],
    )
    assert check_links.main([str(tmp_path), "--outside"]) == 1
    assert "1 of 1 outside links are broken" in capsys.readouterr().out
