from __future__ import annotations

import pytest

from modelyard_instance.worker.apis import BadConfig, normal_url, parse_apis


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"{}", {"/": {"POST"}}),
        (b'{"apis": []}', {"/": {"POST"}}),
        (b'{"apis": [{"procotol": "http", "url": "/", "method": "post"}]}', {"/": {"POST"}}),
        (b'{"apis": [{"url": "predict/x/"}]}', {"/predict/x": {"POST"}}),
        (
            b'{"apis": [{"url": "/a", "method": "get"}, {"url": "/a"}]}',
            {"/a": {"GET", "POST"}},
        ),
        (b'{"apis": {"url": "/one"}}', {"/one": {"POST"}}),
        (b'\xef\xbb\xbf{"apis": null}', {"/": {"POST"}}),
    ],
)
def test_apis_are_read_as_packages_write_them(text: bytes, expected: dict[str, set[str]]) -> None:
    assert parse_apis(text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b'{"apis": [\n  {"url": }]}', "line 2, column 11"),
        (b'{"a": "\xff"}', "UTF-8"),
        (b"[]", "not a JSON object"),
        (b'{"apis": 3}', "apis is not a list"),
        (b'{"apis": ["/"]}', r"apis\[0\]"),
        (b'{"apis": [{"url": 5}]}', r"apis\[0\]"),
    ],
)
def test_a_bad_config_says_where(text: bytes, words: str) -> None:
    with pytest.raises(BadConfig, match=words):
        parse_apis(text)


@pytest.mark.parametrize("url", ["/a/b", "a/b", "/a/b/", " /a/b "])
def test_urls_are_compared_without_their_outer_slashes(url: str) -> None:
    assert normal_url(url) == "/a/b"
