"""The check of HTML sees faults, each once, and lets Sphinx's own pass."""

import check_html
import pytest

PAGE = "<!doctype html><html lang='en'><title>x</title><body>{}</body></html>"


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("<p>fine</p>", None),
        ("<p><ul><li>x</li></ul></p>", "unexpected-end-tag: p"),
        ("<b id='a'>x</b><i id='a'>y</i>", "id 'a' stands 2 times"),
        ("<section>x</div></section>", "end-tag-too-early: div"),
    ],
)
def test_a_fault_is_seen(body, fault):
    assert check_html.faults_of(PAGE.format(body)) == ([fault] if fault else [])


def test_only_known_faults_of_known_pages_pass(tmp_path):
    (tmp_path / "appendix").mkdir()
    page = PAGE.format("<p><ul></ul></p>")
    (tmp_path / "appendix" / "library.html").write_text(page)
    (tmp_path / "index.html").write_text(page)
    told = ["index.html: unexpected-end-tag: p"]
    assert check_html.faults(tmp_path) == (2, told)
