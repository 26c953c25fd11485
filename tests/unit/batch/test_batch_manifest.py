"""Manifests: read in any pieces, written and read again, refused by the line (§2.5, §2.6)."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.batch.formats import manifest
from modelyard.batch.formats.manifest import BadManifest, ManifestReader, Source
from modelyard.batch.formats.result_names import manifest_name, quarantine_name, result_key
from modelyard.objects.paths import ObjectPath


def read(content: bytes, step: int = 1 << 20) -> list[Source]:
    reader = ManifestReader()
    found = [
        one for at in range(0, len(content), step) for one in reader.feed(content[at : at + step])
    ]
    return found + list(reader.finish())


@pytest.mark.parametrize(
    ("source", "bucket", "key"),
    [
        ("obs://inbox/a/b.png", "inbox", "a/b.png"),
        ("s3://inbox/a.csv", "inbox", "a.csv"),
        ("https://inbox.store.example/a%C3%A9.png", "inbox", "aé.png"),
        ("https://inbox.store.example:443/a.png?AccessKeyId=X&Expires=1&Signature=a%2Fb", "inbox",
         "a.png"),
    ],
)  # fmt: skip
def test_every_form_of_a_source(source: str, bucket: str, key: str) -> None:
    line = json.dumps({"source": source, "usage": "TRAIN", "annotation": [{"x": 1}]})
    assert read(f"\ufeff\n\r\n{line}\r\n   \n".encode()) == [
        Source(source, ObjectPath(bucket, key))
    ]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "is not JSON"),
        ("[]", 'no "source"'),
        ('{"source": 1}', 'no "source"'),
        ('{"Source": "obs://b1/x"}', 'no "source"'),
        ('{"source": "obs://b1/folder/"}', "names a folder"),
        ('{"source": "obs://b1"}', "names a bucket"),
    ],
)
def test_a_line_that_is_none_is_named(line: str, words: str) -> None:
    good = '{"source": "obs://b1/x"}\n'
    with pytest.raises(BadManifest) as caught:
        read(f"{good}\n{line}\n{good}".encode())
    assert "line 3" in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("ftp://b1/x", "scheme"),
        ("obs://b1/../x", "part '..'"),
        ("obs://b1/a//b", "an empty part"),
        ("obs://b1/x\0", "control character"),
        ("obs://b/x", "no bucket name"),
    ],
)
def test_an_address_that_can_be_none_fails_alone(source: str, words: str) -> None:
    found, good = read(f'{json.dumps({"source": source})}\n{{"source": "obs://b1/x"}}'.encode())
    assert words in found.fault
    assert (found.text, found.path.bucket) == (source, "")
    assert good == Source("obs://b1/x", ObjectPath("b1", "x"))


def test_keys_may_hold_blanks() -> None:
    texts = ["obs://b1/my photo.jpg", "https://b1.store.example/my%20photo.jpg", "/b1/a\\b"]
    keys = ["my photo.jpg", "my photo.jpg", "a\\b"]
    found = read("\n".join(json.dumps({"source": text}) for text in texts).encode())
    assert [(one.path.key, one.fault) for one in found] == [(key, "") for key in keys]


def test_a_line_without_end_is_refused() -> None:
    with pytest.raises(BadManifest, match="line 1 is longer"):
        read(b"x" * (1 << 20))


NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="/\\?#%", exclude_categories=["Z", "C"]),
    min_size=1,
    max_size=12,
).filter(lambda name: name not in (".", ".."))
KEYS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)


@given(
    st.lists(st.tuples(KEYS, st.text(max_size=30), st.booleans()), max_size=8), st.integers(1, 99)
)
def test_what_is_written_can_be_read(files: list[tuple[str, str, bool]], step: int) -> None:
    """An output manifest is an input manifest again, in whatever pieces it comes."""
    content = b"".join(
        manifest.successful(f"obs://inbox/{key}", f"obs://outbox/{key}_result.txt")
        if good
        else manifest.failed(f"obs://inbox/{key}", message)
        for key, message, good in files
    )
    assert read(content, step) == [
        Source(f"obs://inbox/{key}", ObjectPath("inbox", key)) for key, _, _ in files
    ]
    for line, (key, message, good) in zip(content.splitlines(), files, strict=True):
        data = json.loads(line)
        assert data.pop("source") == f"obs://inbox/{key}"
        if good:
            assert data == {
                "result": "SUCCESSFUL", "inference-loc": f"obs://outbox/{key}_result.txt",
            }  # fmt: skip
        else:
            assert data == {"result": "FAILED", "error_message": message}


def test_names() -> None:
    assert manifest_name("t", 0) == "infer-result-t.manifest"
    assert manifest_name("t", 2) == "infer-result-t_2.manifest"
    assert quarantine_name("t") == "infer-result-t-quarantine.jsonl"
    assert result_key("t", "sub/1.jpg") == "infer-result-t/sub/1.jpg_result.txt"
