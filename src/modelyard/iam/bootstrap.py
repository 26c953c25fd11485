"""The first administrator: made once, written to ``credentials.json`` for whoever owns the home."""

from __future__ import annotations

import json
import secrets
import string
from dataclasses import asdict, dataclass
from pathlib import Path

import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from modelyard.clock import Clock
from modelyard.domain.roles import ADMIN
from modelyard.iam.passwords import hash_password, verify_password
from modelyard.processes import write_private
from modelyard.settings import IamSettings
from modelyard.steps import Step
from modelyard.store import identities
from modelyard.store.database import Database
from modelyard.store.tables.iam import AccessKey, Domain, Project, User

log = structlog.get_logger(__name__)

DOMAIN_NAME = "modelyard"
USER_NAME = "admin"
_KEY_ALPHABET = string.ascii_uppercase + string.digits


@dataclass(frozen=True, slots=True)
class Credentials:
    """Content of ``credentials.json``."""

    auth_url: str
    region: str
    domain_name: str
    user_name: str
    password: str
    project_name: str
    project_id: str
    access_key: str
    secret_key: str


@dataclass(frozen=True, slots=True)
class _Administrator:
    user: User
    project: Project
    key: AccessKey


async def ensure_admin(
    database: Database, settings: IamSettings, address: str, credentials_file: Path, clock: Clock
) -> Credentials:
    """Make the administrator when there is none, and write ``credentials_file``. Idempotent.

    ``address``: the platform's URL for this machine.

    ``settings.admin_password`` overrides the stored password on every start. When the file was
    deleted the password is not known to anyone any more, so a new one is made and written.
    """
    before = _read(credentials_file)
    chosen = settings.admin_password.get_secret_value() if settings.admin_password else None
    password = chosen or (before or {}).get("password") or _new_password()
    async with database.read() as session:
        stored = await _stored_hash(session)
    unchanged = stored is not None and await verify_password(stored, password)
    new_hash = None if unchanged else await hash_password(password)
    async with database.write(Step.ADMIN) as session:
        admin = await _ensure_rows(session, settings.region, clock, new_hash)
    credentials = Credentials(
        auth_url=f"{address}/v3",
        region=settings.region,
        domain_name=DOMAIN_NAME,
        user_name=admin.user.name,
        password=password,
        project_name=admin.project.name,
        project_id=admin.project.id,
        access_key=admin.key.access_key,
        secret_key=admin.key.secret_key,
    )
    if before != asdict(credentials):
        write_private(credentials_file, (json.dumps(asdict(credentials), indent=2) + "\n").encode())
    if stored is not None and not unchanged:
        log.warning(
            "administrator password changed",
            cause="MODELYARD_ADMIN_PASSWORD"
            if chosen
            else "credentials.json was missing or edited",
            where=str(credentials_file),
        )
    return credentials


async def _stored_hash(session: AsyncSession) -> str | None:
    domain = await identities.find_domain(session, name=DOMAIN_NAME)
    if domain is None:
        return None
    user = await identities.find_user(session, name=USER_NAME, domain_id=domain.id)
    return user.password_hash if user else None


async def _ensure_rows(
    session: AsyncSession, region: str, clock: Clock, new_hash: str | None
) -> _Administrator:
    now = clock.now_ms()
    domain = await identities.find_domain(session, name=DOMAIN_NAME)
    if domain is None:
        domain = Domain(id=clock.new_hex(), name=DOMAIN_NAME, created_at=now)
        session.add(domain)
        await session.flush()
    user = await identities.find_user(session, name=USER_NAME, domain_id=domain.id)
    if user is None:
        user = User(
            id=clock.new_hex(),
            domain_id=domain.id,
            name=USER_NAME,
            password_hash=new_hash or "",
            created_at=now,
        )
        session.add(user)
        await session.flush()
    elif new_hash is not None:
        user.password_hash = new_hash
    project = await _ensure_project(session, domain, region, clock)
    await identities.grant(session, user.id, ADMIN, scope_type="domain", scope_id=domain.id)
    await identities.grant(session, user.id, ADMIN, scope_type="project", scope_id=project.id)
    return _Administrator(user, project, await _ensure_key(session, user, clock))


async def _ensure_project(
    session: AsyncSession, domain: Domain, name: str, clock: Clock
) -> Project:
    query = select(Project).where(Project.domain_id == domain.id, Project.name == name)
    project = (await session.scalars(query)).one_or_none()
    if project is None:
        project = Project(
            id=clock.new_hex(), domain_id=domain.id, name=name, created_at=clock.now_ms()
        )
        session.add(project)
        await session.flush()
    return project


async def _ensure_key(session: AsyncSession, user: User, clock: Clock) -> AccessKey:
    query = select(AccessKey).where(AccessKey.user_id == user.id).order_by(AccessKey.created_at)
    key = (await session.scalars(query)).first()
    if key is None:
        key = AccessKey(
            access_key="".join(secrets.choice(_KEY_ALPHABET) for _ in range(20)),
            secret_key=secrets.token_urlsafe(30),
            user_id=user.id,
            created_at=clock.now_ms(),
        )
        session.add(key)
        await session.flush()
    return key


def _new_password() -> str:
    return secrets.token_urlsafe(18)


def _read(path: Path) -> dict[str, str] | None:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
