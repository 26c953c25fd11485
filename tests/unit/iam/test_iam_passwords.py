"""Password hashes."""

from __future__ import annotations

from modelyard.iam.passwords import hash_password, verify_password


async def test_passwords() -> None:
    stored = await hash_password("Grüße, 世界")
    assert stored.startswith("$argon2id$")
    assert await verify_password(stored, "Grüße, 世界")
    assert not await verify_password(stored, "other")
    assert not await verify_password("no hash at all", "other")


async def test_nobody_has_no_password() -> None:
    for guess in ("", "nobody has this password", "x"):
        assert not await verify_password(None, guess)


async def test_the_same_password_hashes_differently() -> None:
    assert await hash_password("same") != await hash_password("same")
