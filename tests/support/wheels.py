"""Tiny wheels and source archives, made here, so that tests install from a folder of their own."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path


def write_wheel(
    folder: Path,
    name: str,
    version: str,
    files: Mapping[str, str] | None = None,
    requires: Sequence[str] = (),
    tag: str = "py3-none-any",
) -> Path:
    """A wheel in ``folder`` (made). By default its one module tells the version.

    ``requires``: what it asks of others, as PEP 508 has it.
    """
    module = name.replace("-", "_")
    content = {f"{module}.py": f'VERSION = "{version}"\n'} if files is None else dict(files)
    info = f"{module}-{version}.dist-info"
    content[f"{info}/METADATA"] = _metadata(name, version, requires)
    content[f"{info}/WHEEL"] = (
        f"Wheel-Version: 1.0\nGenerator: modelyard-tests\nRoot-Is-Purelib: true\nTag: {tag}\n"
    )
    record = "".join(f"{path},{_hash(text)},{len(text)}\n" for path, text in content.items())
    content[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{module}-{version}-{tag}.whl"
    with zipfile.ZipFile(target, "w") as archive:
        for path, text in content.items():
            archive.writestr(path, text)
    return target


def write_source(folder: Path, name: str, version: str, files: Mapping[str, str]) -> Path:
    """A source archive of those files in ``folder`` (made)."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{name}-{version}.tar.gz"
    content = {"PKG-INFO": _metadata(name, version, ()), **files}
    with tarfile.open(target, "w:gz") as archive:
        for path, text in content.items():
            info = tarfile.TarInfo(f"{name}-{version}/{path}")
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    return target


def _metadata(name: str, version: str, requires: Sequence[str]) -> str:
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    return "\n".join([*lines, *(f"Requires-Dist: {one}" for one in requires), ""])


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256={base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"
