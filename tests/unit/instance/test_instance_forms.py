from __future__ import annotations

import pytest

from modelyard_instance.server.forms import BadForm, FormParser, boundary_of

FORM = (
    b"--xx\r\n"
    b'Content-Disposition: form-data; name="images"; filename="a.png"\r\n'
    b"Content-Type: image/png\r\n\r\n"
    b"\x89PNG\r\n--x\r\n"
    b"\r\n--xx\r\n"
    b'Content-Disposition: form-data; name="threshold"\r\n\r\n'
    b"0.5\r\n"
    b"--xx--\r\n"
)


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_a_form_is_cut_into_parts_however_it_arrives(step: int) -> None:
    parser = FormParser(b"xx")
    for at in range(0, len(FORM), step):
        parser.feed(FORM[at : at + step])
    parts, contents = parser.finish()
    assert parts == [("images", "a.png", "image/png", 11), ("threshold", None, "", 3)]
    assert contents == b"\x89PNG\r\n--x\r\n0.5"


def test_names_may_be_any_text() -> None:
    parser = FormParser(b"xx")
    parser.feed(
        b'--xx\r\nContent-Disposition: form-data; name="bild"; filename="'
        + "blüte.png".encode()
        + b'"\r\n\r\n1\r\n--xx--\r\n'
    )
    assert parser.finish()[0][0][:2] == ("bild", "blüte.png")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"garbage",
        FORM[:-8],
        b"--xx\r\nContent-Type: text/plain\r\n\r\n1\r\n--xx--\r\n",
    ],
)
def test_what_is_no_form_is_refused(body: bytes) -> None:
    parser = FormParser(b"xx")
    with pytest.raises(BadForm):
        parser.feed(body)
        parser.finish()


def test_parts_are_counted() -> None:
    parser = FormParser(b"xx")
    part = b'--xx\r\nContent-Disposition: form-data; name="n"\r\n\r\n1\r\n'
    with pytest.raises(BadForm, match="1000"):
        parser.feed(part * 1002)


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        (b'multipart/form-data; boundary="a b"', b"a b"),
        (b"Multipart/Form-Data; boundary=x", b"x"),
        (b"multipart/form-data", None),
        (b"application/json", None),
    ],
)
def test_boundary(content_type: bytes, expected: bytes | None) -> None:
    assert boundary_of(content_type) == expected
