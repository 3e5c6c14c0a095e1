"""API tokens: their form, what is kept of them (P1), and that none ever does more than who made it (P3)."""

import asyncio
import hmac
import random
import re
import sqlite3
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, MultipleResults, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from arraylake_core.catalog import sql_principals, sql_tokens, tokens
from arraylake_core.catalog.acting import acting
from arraylake_core.catalog.home import file_home, memory_home
from arraylake_core.catalog.sql_catalog import SqlCatalog
from arraylake_core.errors import ArraylakeError, CatalogError, InUseError
from arraylake_core.models import utc_now
from arraylake_core.people import NewToken, Principal, Role
from arraylake_core.testing.catalog_samples import make_repo, new_repo

ADA, BO = "ada@example.org", "bo@example.org"

type Execute = Callable[[Path, str], list[tuple[object, ...]]]


# The form


def test_the_form_of_a_token() -> None:
    made = {tokens.new_token().reveal() for _ in range(100)}
    assert len(made) == 100
    for text in made:
        assert re.fullmatch(r"ema_[0-9A-Za-z]{46}", text)
        assert tokens.looks_like_token(text)
        assert tokens.checksum_fits(text)


def test_a_typo_is_told() -> None:
    text = tokens.new_token().reveal()
    for place in range(4, len(text)):
        for other in "0Aa":
            typo = text[:place] + other + text[place + 1 :]
            assert tokens.looks_like_token(typo)
            assert tokens.checksum_fits(typo) == (typo == text)
    for broken in (
        "",
        "ema_",
        text[:-1],
        text + "0",
        text + "\n",
        " " + text,
        text.replace("ema_", "emb_"),
        text[:-1] + "\u0661",
        None,
    ):
        assert not tokens.looks_like_token(broken)  # type: ignore[arg-type]
        assert not tokens.checksum_fits(broken)  # type: ignore[arg-type]


def test_the_checksum_stays_as_it_is() -> None:
    """Scanners for leaked tokens depend on it."""
    assert tokens.checksum_fits("ema_" + "0" * 40 + tokens._checksum("ema_" + "0" * 40))
    assert tokens._checksum("ema_" + "0" * 40) == "3wX6mm"


# P1


def pieces(text: str, length: int = 12) -> set[bytes]:
    body = text.removeprefix("ema_")
    return {body[start : start + length].encode() for start in range(len(body) - length + 1)}


async def test_p1_no_file_holds_a_token_or_a_piece_of_it(path: Path) -> None:
    catalog = SqlCatalog(file_home(path))
    await make_repo(catalog)
    await catalog.set_member("me", ADA, Role.Admin)
    issued = await catalog.create_token("me", NewToken(name="nightly", repos=["ocean"]), email=ADA)
    principal = await catalog.authenticate(issued.token.reveal())
    assert principal is not None
    await catalog.touch_token(issued.id)
    await catalog.add_audit(principal, "me", "create_token", "me/nightly", "request")
    await catalog.backup(path.with_name("backup.zip"))
    await catalog.close()
    files = [found for found in path.parent.rglob("*") if found.is_file()]
    assert {"catalog.db", "backup.zip"} <= {found.name for found in files}
    contents = [found.read_bytes() for found in files]
    contents += [unzipped(found) for found in files if found.suffix == ".zip"]
    with sqlite3.connect(path) as connection:
        contents.append("\n".join(connection.iterdump()).encode())
    connection.close()
    text = issued.token.reveal()
    plain_hashes = {hashed(text).encode() for hashed in (_sha256,)}
    for content in contents:
        assert not [piece for piece in pieces(text) | plain_hashes if piece in content]


def unzipped(path: Path) -> bytes:
    import zipfile

    with zipfile.ZipFile(path) as archive:
        return b"\n".join(archive.read(name) for name in archive.namelist())


def _sha256(text: str) -> str:
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()


async def test_p1_the_hash_is_keyed_and_compared_in_constant_time(
    path: Path, execute: Execute, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = SqlCatalog(file_home(path))
    await catalog.set_member("me", ADA, Role.Admin)
    issued = await catalog.create_token("me", NewToken(name="x"), email=ADA)
    ((digest,),) = execute(path, "SELECT digest FROM tokens")
    ((sealed, key_id),) = execute(path, "SELECT secret, key_id FROM catalog_secrets WHERE name = 'tokens'")
    assert execute(path, "SELECT id FROM encryption_keys") == [(key_id,)]
    key = file_home(path).keys.load().active.open(sealed, b"arraylake-core catalog_secrets\0tokens")  # type: ignore[arg-type]
    assert len(key) == 32
    assert digest == hmac.digest(key, issued.token.reveal().encode(), "sha256").hex()
    compared: list[tuple[object, object]] = []

    compare_digest = hmac.compare_digest

    def compare(one: str, other: str) -> bool:
        compared.append((one, other))
        return compare_digest(one, other)

    monkeypatch.setattr(sql_principals.hmac, "compare_digest", compare)
    assert await catalog.authenticate(issued.token.reveal()) is not None
    assert (digest, digest) in compared
    await catalog.close()


async def test_p1_another_catalog_knows_nothing_of_a_token(path: Path) -> None:
    one, other = SqlCatalog(file_home(path)), SqlCatalog(file_home(path.with_name("other") / "catalog.db"))
    await one.set_member("me", ADA, Role.Admin)
    issued = await one.create_token("me", NewToken(name="x"), email=ADA)
    assert await other.authenticate(issued.token.reveal()) is None
    await other.set_member("me", ADA, Role.Admin)
    await other.create_token("me", NewToken(name="x"), email=ADA)
    assert await other.authenticate(issued.token.reveal()) is None
    assert await one.authenticate(tokens.new_token().reveal()) is None
    for catalog in (one, other):
        await catalog.close()


async def test_p9_tokens_outlive_a_rotation(path: Path, execute: Execute) -> None:
    catalog, other = SqlCatalog(file_home(path)), SqlCatalog(file_home(path))
    await catalog.set_member("me", ADA, Role.Admin)
    issued = await catalog.create_token("me", NewToken(name="x"), email=ADA)
    ((before,),) = execute(path, "SELECT key_id FROM catalog_secrets")
    assert await catalog.rotate_key() == 1
    ((after,),) = execute(path, "SELECT key_id FROM catalog_secrets")
    assert after != before
    assert execute(path, "SELECT id FROM encryption_keys") == [(after,)]
    for one in (catalog, other, SqlCatalog(file_home(path))):
        assert await one.authenticate(issued.token.reveal()) is not None
        await one.close()


async def test_p9_a_secret_that_was_moved_is_refused(path: Path, execute: Execute) -> None:
    catalog = SqlCatalog(file_home(path))
    await catalog.set_member("me", ADA, Role.Admin)
    issued = await catalog.create_token("me", NewToken(name="x"), email=ADA)
    execute(path, "UPDATE catalog_secrets SET secret = zeroblob(60)")
    for call in (catalog.authenticate(issued.token.reveal()), catalog.rotate_key()):
        with pytest.raises(CatalogError, match="'tokens' is damaged"):
            await call
    await catalog.close()


# P3

ROLES = st.sampled_from([None, *Role])
RANK = {role: rank for rank, role in enumerate([None, *Role])}
EMAILS = st.sampled_from([ADA, BO])
REPOS = ("aa", "bb")


@dataclass
class ModelToken:
    """What a token may do at most, by the rules alone."""

    id: str
    text: str
    email: str
    role: Role
    repos: frozenset[str] | None
    parent: "ModelToken | None"
    made_for_another_by: str | None = None
    ended: bool = False
    made_with: list["ModelToken"] = field(default_factory=list)


class TokenMachine(RuleBasedStateMachine):
    """People come, go and change roles, make tokens and tokens with tokens; after every step each token does what the model allows, no more and no less."""

    issued = Bundle("issued")

    @initialize()
    def start(self) -> None:
        self.runner = asyncio.Runner()
        self.directory = Path(__import__("tempfile").mkdtemp())
        self.catalog = SqlCatalog(memory_home("p3", self.directory))
        self.roles: dict[str, Role | None] = {ADA: Role.Admin, "root@example.org": Role.Admin}
        self.grants: dict[tuple[str, str], Role] = {}
        self.tokens: list[ModelToken] = []
        self.ids: dict[str, str] = {}
        self.people: dict[str, str] = {}
        for name in REPOS:
            self.ids[name] = self.run(make_repo(self.catalog, name)).id
        for email, role in self.roles.items():
            self.people[email] = self.run(self.catalog.set_member("me", email, role)).id

    def run[T](self, work: Coroutine[object, object, T]) -> T:
        # Else the runner would go on in the context of its own start, and nobody would ever be the caller.
        return self.runner.run(work, context=copy_context())

    def teardown(self) -> None:
        import shutil

        self.run(self.catalog.close())
        self.runner.close()
        shutil.rmtree(self.directory)

    # What happens

    @rule(email=EMAILS, role=ROLES)
    def change_role(self, email: str, role: Role | None) -> None:
        self.people[email] = self.run(self.catalog.set_member("me", email, role)).id
        self.roles[email] = role

    @rule(email=EMAILS)
    def remove(self, email: str) -> None:
        if email not in self.roles:
            return
        self.run(self.catalog.remove_member("me", self.people[email]))
        del self.roles[email]
        self.grants = {pair: role for pair, role in self.grants.items() if pair[0] != email}
        for token in self.tokens:
            token.ended |= token.email == email

    @rule(email=EMAILS, repo=st.sampled_from(REPOS), role=st.sampled_from(Role))
    def grant(self, email: str, repo: str, role: Role) -> None:
        self.people[email] = self.run(self.catalog.set_grant("me", repo, email, role)).id
        self.grants[email, repo] = role

    @rule(email=EMAILS, repo=st.sampled_from(REPOS))
    def take_grant(self, email: str, repo: str) -> None:
        if self.grants.pop((email, repo), None) is not None:
            self.run(self.catalog.remove_grant("me", repo, self.people[email]))

    @rule(
        target=issued,
        email=EMAILS,
        role=st.sampled_from(Role),
        repos=st.none() | st.lists(st.sampled_from(REPOS), min_size=1, unique=True),
    )
    def make(self, email: str, role: Role, repos: list[str] | None) -> ModelToken | MultipleResults[ModelToken]:
        return self._make(None, email, role, repos)

    @rule(target=issued, parent=issued, email=EMAILS, role=st.sampled_from(Role))
    def make_for(self, parent: ModelToken, email: str, role: Role) -> ModelToken | MultipleResults[ModelToken]:
        return self._make(parent, email, role, None)

    @rule(
        target=issued,
        parent=issued,
        role=st.sampled_from(Role),
        repos=st.none() | st.lists(st.sampled_from(REPOS), min_size=1, unique=True),
    )
    def make_with(self, parent: ModelToken, role: Role, repos: list[str] | None) -> ModelToken | MultipleResults[ModelToken]:
        return self._make(parent, parent.email, role, repos)

    def _make(
        self, parent: ModelToken | None, email: str, role: Role, repos: list[str] | None
    ) -> ModelToken | MultipleResults[ModelToken]:
        new = NewToken(name="x", role=role, repos=repos)
        caller = None
        if parent is not None:
            caller = self.run(self.catalog.authenticate(parent.text))
            if caller is None:
                return multiple()
        before = acting.set(caller)
        try:
            made = self.run(self.catalog.create_token("me", new, email=email))
        except ArraylakeError:
            return multiple()
        finally:
            acting.reset(before)
        # What was made never does more than what made it.
        only = None if repos is None else frozenset(repos)
        if parent is not None:
            assert RANK[role] <= RANK[parent.role]
            assert parent.repos is None or (only is not None and only <= parent.repos)
        for_another = None if parent is None or parent.email == email else parent.email
        if for_another is not None:
            assert caller is not None
            assert caller.role_in("me") is Role.Admin
        token = ModelToken(made.id, made.token.reveal(), email, role, only, parent, for_another)
        self.tokens.append(token)
        if parent is not None:
            parent.made_with.append(token)
        return token

    @rule(token=consumes(issued))
    def revoke(self, token: ModelToken) -> None:
        self.run(self.catalog.revoke_token("me", token.id))
        token.ended = True

    @rule(token=consumes(issued))
    def expire(self, token: ModelToken) -> None:
        self.run(self._expire(token.id))
        token.ended = True

    async def _expire(self, token_id: str) -> None:
        async with self.catalog._write() as connection:
            past = utc_now() - timedelta(seconds=1)
            await connection.execute(sql_tokens.update(sql_tokens.tokens).filter_by(id=token_id).values(expires=past))

    # What must hold

    @invariant()
    def each_token_does_what_it_may(self) -> None:
        for token in getattr(self, "tokens", []):
            principal = self.run(self.catalog.authenticate(token.text))
            line = [token]
            while line[-1].parent is not None:
                line.append(line[-1].parent)
            makers = [one.made_for_another_by for one in line if one.made_for_another_by is not None]
            if any(one.ended for one in line) or any(self.roles.get(maker) is not Role.Admin for maker in makers):
                assert principal is None
                continue
            assert principal is not None
            self._check(token, principal)

    def _check(self, token: ModelToken, principal: Principal) -> None:
        role = self.roles.get(token.email)
        lowest = min(RANK[role], RANK[token.role]) if token.repos is None else 0
        assert RANK[principal.role_in("me")] == lowest
        assert principal.belongs_to("me") == (token.email in self.roles)
        assert not principal.operator
        assert principal.role_in("other") is None
        for repo, repo_id in self.ids.items():
            person = max(RANK[role], RANK[self.grants.get((token.email, repo))])
            allowed = min(person, RANK[token.role]) if token.repos is None or repo in token.repos else 0
            assert RANK[principal.role_on("me", repo_id)] == allowed


TestP3TokensNeverExceedTheirCreator = TokenMachine.TestCase
TestP3TokensNeverExceedTheirCreator.settings = settings(
    max_examples=15, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)


async def test_p3_races_of_creating_and_revoking(path: Path) -> None:
    """Whatever comes first: when a token has been revoked, none that was made with it goes on."""
    catalog = SqlCatalog(file_home(path))
    await catalog.set_member("me", ADA, Role.Admin)
    for _ in range(5):
        parent = await catalog.create_token("me", NewToken(name="parent"), email=ADA)
        principal = await catalog.authenticate(parent.token.reveal())

        async def child(principal: Principal | None = principal) -> object:
            acting.set(principal)
            await asyncio.sleep(random.random() / 200)
            return await catalog.create_token("me", NewToken(name="child"))

        made = await asyncio.gather(*(child() for _ in range(4)), catalog.revoke_token("me", parent.id), return_exceptions=True)
        for one in made[:-1]:
            if not isinstance(one, BaseException):
                assert await catalog.authenticate(one.token.reveal()) is None  # type: ignore[attr-defined]
        assert await catalog.list_tokens("me") == []
    await catalog.close()


async def test_one_person_has_so_many_tokens(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql_tokens, "MAX_TOKENS", 2)
    catalog = SqlCatalog(file_home(path))
    bucket = await catalog.get_bucket("me", None)
    await catalog.create_repo("me", new_repo(bucket.id))
    await catalog.set_member("me", ADA, Role.Admin)
    made = [await catalog.create_token("me", NewToken(name="x"), email=ADA) for _ in range(2)]
    with pytest.raises(InUseError, match="2 API tokens"):
        await catalog.create_token("me", NewToken(name="x"), email=ADA)
    await catalog.revoke_token("me", made[0].id)
    await catalog.create_token("me", NewToken(name="x"), email=ADA)
    await catalog.close()
