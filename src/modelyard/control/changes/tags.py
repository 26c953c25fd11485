"""Changing the tags of a service (resources.md §7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from modelyard.domain.admission.tags import TAGS_LIMIT, Tag
from modelyard.errors import InvalidRequest
from modelyard.store.database import Session
from modelyard.store.service.tags import replace_tags, tags_of

Drop: TypeAlias = Sequence[Tag]
"""Tags to remove; those with a value only where the value is the same."""


async def change_tags(
    session: Session, service_id: str, put: Mapping[str, str], drop: Drop
) -> bool:
    """Set and remove tags; False when that changes nothing.

    Raises ``InvalidRequest`` when the service would have too many.
    """
    before = await tags_of(session, service_id)
    after = {**before, **put}
    for tag in drop:
        if tag.value is None or after.get(tag.key) == tag.value:
            after.pop(tag.key, None)
    if len(after) > TAGS_LIMIT:
        raise InvalidRequest(
            f"tags: the service would have {len(after)} tags, and may have {TAGS_LIMIT}. "
            "Delete some first.",
            field="tags",
        )
    if after == before:
        return False
    await replace_tags(session, service_id, after)
    return True
