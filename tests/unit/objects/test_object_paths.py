"""Object paths, documented and hostile (inference.md §2.2, quality.md S4)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.errors import InvalidRequest
from modelyard.objects.paths import ObjectPath, parse_path

GOOD = [
    ("obs://bucket/key", "bucket", "key"),
    ("OBS://bucket/key/", "bucket", "key"),
    ("s3://my.bucket-1/a/b/c/", "my.bucket-1", "a/b/c"),
    ("/bucket/a/b", "bucket", "a/b"),
    ("/bucket", "bucket", ""),
    ("obs://bucket", "bucket", ""),
    ("obs://bucket/", "bucket", ""),
    ("obs://bucket/a%2fb", "bucket", "a%2fb"),
    ("obs://bucket/..a/b..", "bucket", "..a/b.."),
    ("obs://bucket/träume", "bucket", "träume"),
    ("https://bucket.obs.eu-de.example.com/a/b/", "bucket", "a/b"),
    ("https://bucket.obs.eu-de.example.com:443/a%C3%A9", "bucket", "aé"),
]
BAD = [
    *("", "bucket/key", "key", "C:\\x", "obs:bucket/key", "file:///etc/passwd", "ftp://bucket/x"),
    *("http://bucket.obs.example.com/x", "obs:///key", "/", "//bucket/key", "s3://"),
    *("obs://b/key", "obs://Bucket/key", "obs://-b/key", "obs://a..b/key", "obs://bucket_1/k"),
    *("obs://bucket/../other", "obs://bucket/a/..", "obs://bucket/./a", "obs://bucket/a//b"),
    *("/../etc/passwd", "/bucket/../../etc", "obs://../x", "obs://bucket/a b", "obs://bucket/a\n"),
    *("obs://bucket/a\x00", "obs://bucket/a\\b", "obs://bucket/\u2003", "obs://bucket/\x7f"),
    *("obs://bucket/" + "a" * 256, "obs://bucket/" + "a/" * 600, "obs://bucket/\ud800"),
    *("https://bucket/x", "https://169.254.169.254/x", "https://1.2.3.4/x", "https://[::1]/x"),
    *("https://user@bucket.obs.example.com/x", "https://bucket.obs.example.com/x?y=1"),
    *("https://bucket.obs.example.com/%2e%2e/x", "https://bucket.obs.example.com/a%00"),
    *("https://bucket.obs.example.com/a%20b", "https://bucket.obs.example.com:x/", "https:///x"),
]


@pytest.mark.parametrize(("text", "bucket", "key"), GOOD)
def test_documented_forms(text: str, bucket: str, key: str) -> None:
    assert parse_path(text, "source_location") == ObjectPath(bucket, key)


@pytest.mark.parametrize("text", BAD)
def test_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_path(text, "source_location")
    assert caught.value.field == "source_location"
    assert caught.value.code in ("3572", "3573")


@given(
    st.one_of(
        st.text(),
        st.lists(
            st.sampled_from(["obs://", "https://", "/", "..", ".", "b", "bucket", "%2e", "\\"])
        ).map("".join),
    )
)
def test_whatever_is_accepted_stays_inside(text: str) -> None:
    try:
        path = parse_path(text, "field")
    except InvalidRequest as error:
        assert error.problems[0].remedy
        return
    parts = [path.bucket, *path.key.split("/")] if path.key else [path.bucket]
    assert not {"", ".", ".."} & set(parts)
    assert not any(char.isspace() or ord(char) < 32 or char in "\\\x7f" for char in str(path))
    assert parse_path(str(path), "field") == path
