"""Personal tokens: their form, their rules and how long they are valid."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import DomainError
from domain.personal_tokens import (
    LIFE,
    LIFE_MAX,
    NAME_MAX,
    SECRETS,
    TOKENS_MAX,
    USE_NOTED_EVERY,
    BadScopes,
    BadTokenLife,
    BadTokenName,
    PersonalToken,
    TokenContext,
    TokenDraft,
    TooManyTokens,
    is_well_formed,
    make,
    token_hash,
    token_of,
)
from domain.policies import AdminsOnly
from domain.scopes import EVERY_SCOPE, TOKEN_SCOPES, Scope, SessionRequired
from domain.users import Role, User
from infrastructure.redaction import REDACTED, redacted_text
from tests.factories import UserFactory
from tests.fakes.clock import NOON

SECOND = timedelta(seconds=1)
SCANNERS_PATTERN = re.compile(r"\bgp_[0-9A-Za-z]{49}\b")
"""What a secret scanner is given."""
DRAFT = TokenDraft(name="backup", scopes=frozenset({Scope.ACCOUNT_READ}))
TOKEN = token_of(1)


def made(user: User, *scopes: Scope, life: timedelta = LIFE) -> PersonalToken:
    draft = TokenDraft(name="backup", scopes=frozenset(scopes or {Scope.ACCOUNT_READ}), life=life)
    return make(TokenContext(actor=user, draft=draft, now=NOON), TOKEN).stored_as(1)


@given(secret=st.integers(0, SECRETS - 1))
def test_a_token_is_found_by_its_form_and_redacted(secret: int) -> None:
    token = token_of(secret)

    assert is_well_formed(token)
    assert SCANNERS_PATTERN.findall(f'TOKEN="{token}"') == [token]
    for text in (token, f"x={token}", f"https://host/?{token}", f"({token})", f"a{token}"[1:]):
        assert token not in redacted_text(text)
        assert REDACTED in redacted_text(text)


@given(secret=st.integers(0, SECRETS - 1), place=st.integers(3, 51), to=st.sampled_from("09AZaz"))
def test_a_token_with_another_character_is_not_well_formed(
    secret: int, place: int, to: str
) -> None:
    token = token_of(secret)
    changed = token[:place] + to + token[place + 1 :]

    assert is_well_formed(changed) is (changed == token)


def test_secrets_have_256_bits_and_each_is_another_token() -> None:
    assert SECRETS > 2**256
    assert len({token_of(secret) for secret in (0, 1, 61, 62, SECRETS - 1)}) == 5
    assert token_of(SECRETS - 1).startswith("gp_" + "z" * 43)
    # A known one: CRC-32 of forty-three zeros is 0x7849568f, in base62 2CZclj.
    assert token_of(0) == "gp_" + "0" * 43 + "2CZclj"


@pytest.mark.parametrize("text", ["", "gp_", "gp_" + "0" * 49, "gp_" + "é" * 49, TOKEN[3:]])
def test_anything_else_is_not_well_formed(text: str) -> None:
    assert not is_well_formed(text)


def test_the_stored_form_is_no_part_of_the_token() -> None:
    new = make(TokenContext(actor=UserFactory.build(), draft=DRAFT, now=NOON), TOKEN)

    assert new.token_hash == token_hash(TOKEN)
    assert TOKEN not in repr(new)
    assert new.token_hash not in repr(new)


REFUSED: dict[str, tuple[Callable[[TokenContext], TokenContext], type[DomainError]]] = {
    "by a token": (
        lambda it: replace(it, actor=UserFactory.build(scopes=EVERY_SCOPE - {Scope.SESSION_ONLY})),
        SessionRequired,
    ),
    "no name": (lambda it: replace(it, draft=replace(DRAFT, name="  ")), BadTokenName),
    "a long name": (
        lambda it: replace(it, draft=replace(DRAFT, name="x" * (NAME_MAX + 1))),
        BadTokenName,
    ),
    "NUL": (lambda it: replace(it, draft=replace(DRAFT, name="a\0b")), BadTokenName),
    "no scope": (lambda it: replace(it, draft=replace(DRAFT, scopes=frozenset())), BadScopes),
    "the session's scope": (
        lambda it: replace(it, draft=replace(DRAFT, scopes=EVERY_SCOPE)),
        BadScopes,
    ),
    "no life": (lambda it: replace(it, draft=replace(DRAFT, life=timedelta())), BadTokenLife),
    "a long life": (
        lambda it: replace(it, draft=replace(DRAFT, life=LIFE_MAX + SECOND)),
        BadTokenLife,
    ),
    "admin": (
        lambda it: replace(it, draft=replace(DRAFT, scopes=frozenset({Scope.ADMIN}))),
        AdminsOnly,
    ),
    "one too many": (lambda it: replace(it, tokens=TOKENS_MAX), TooManyTokens),
}


@pytest.mark.parametrize(("change", "error"), REFUSED.values(), ids=REFUSED)
def test_what_breaks_a_rule_is_refused(
    change: Callable[[TokenContext], TokenContext], error: type[DomainError]
) -> None:
    context = TokenContext(actor=UserFactory.build(), draft=DRAFT, now=NOON, tokens=TOKENS_MAX - 1)
    make(context, TOKEN)

    with pytest.raises(error):
        make(change(context), TOKEN)


def test_a_token_is_valid_until_it_expires_or_its_owner_is_deactivated() -> None:
    user = UserFactory.build()
    token = made(user, life=SECOND)

    assert token.is_valid_for(user, NOON)
    assert not token.is_valid_for(user, NOON + SECOND)
    assert not token.is_valid_for(UserFactory.build(), NOON)
    user.administer(role=None, is_active=False, admins=(), now=NOON + SECOND)
    assert not token.is_valid_for(user, NOON)
    user.administer(role=None, is_active=True, admins=(), now=NOON + SECOND)
    assert not token.is_valid_for(user, NOON)


def test_the_scope_of_admins_comes_and_goes_with_the_role() -> None:
    admin = UserFactory.build(role=Role.ADMIN)
    token = made(admin, *TOKEN_SCOPES)

    for role, scopes in (
        (Role.ADMIN, set(TOKEN_SCOPES)),
        (Role.MODERATOR, set(TOKEN_SCOPES) - {Scope.ADMIN}),
        (Role.MEMBER, set(TOKEN_SCOPES) - {Scope.ADMIN}),
        (Role.ADMIN, set(TOKEN_SCOPES)),
    ):
        admin.role = role
        assert token.scopes_for(admin) == scopes


def test_a_use_is_worth_noting_once_an_hour() -> None:
    token = made(UserFactory.build())
    assert token.is_use_worth_noting(NOON)

    token.last_used_at = NOON

    assert not token.is_use_worth_noting(NOON + USE_NOTED_EVERY - SECOND)
    assert token.is_use_worth_noting(NOON + USE_NOTED_EVERY)
