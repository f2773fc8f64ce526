# mypy: disable-error-code="no-untyped-call"
"""Valid objects of the domain. Name what a test is about; the rest does not matter to it."""

from dataclasses import asdict
from datetime import timedelta
from typing import Any

from factory.base import Factory
from factory.declarations import LazyAttribute, SelfAttribute, Sequence, SubFactory

from domain.passkeys import AuthenticatorState, NewPasskey, Passkey, VerifiedCredential
from domain.posts import NewPost, Post, PostContent, PostPatch  # posts only
from domain.sessions import Method, NewSession, Session, refresh_hash
from domain.users import NewUser, Role, User, UserDraft
from tests.fakes.clock import NOON


class UserDraftFactory(Factory[UserDraft]):
    class Meta:
        model = UserDraft

    email = Sequence(lambda n: f"user{n}@example.com")
    name = Sequence(lambda n: f"User {n}")


class NewUserFactory(Factory[NewUser]):
    class Meta:
        model = NewUser

    email = Sequence(lambda n: f"new{n}@example.com")
    name = Sequence(lambda n: f"New user {n}")
    role = Role.MEMBER
    created_at = NOON


class UserFactory(Factory[User]):
    class Meta:
        model = User

    id = Sequence(lambda n: 1000 + n)
    email = Sequence(lambda n: f"registered{n}@example.com")
    name = Sequence(lambda n: f"Registered user {n}")
    role = Role.MEMBER
    is_active = True
    is_verified = False
    created_at = NOON
    tokens_valid_from = SelfAttribute("created_at")


class SessionFactory(Factory[Session]):
    class Meta:
        model = Session

    id = Sequence(lambda n: 2000 + n)
    user_id = 1000
    created_at = NOON
    last_used_at = SelfAttribute("created_at")
    expires_at = LazyAttribute(lambda session: session.created_at + timedelta(days=30))
    revoked_at = None
    user_agent = "pytest"
    ip = "192.0.2.1"
    methods = (Method.PASSWORD,)


class NewSessionFactory(Factory[NewSession]):
    class Meta:
        model = NewSession

    user_id = 1000
    created_at = NOON
    expires_at = LazyAttribute(lambda session: session.created_at + timedelta(days=30))
    refresh_hash = Sequence(lambda n: refresh_hash(f"token {n}"))
    user_agent = "pytest"
    ip = "192.0.2.1"


class PostContentFactory(Factory[PostContent]):  # posts only
    class Meta:
        model = PostContent

    title = Sequence(lambda n: f"Title {n}")
    content = Sequence(lambda n: f"Content {n}")
    published = True


def post_patch(**content: Any) -> PostPatch:  # posts only
    """A patch of every field."""
    return PostPatch(asdict(PostContentFactory.build(**content)))


class NewPostFactory(Factory[NewPost]):  # posts only
    """Fields of the content are named `content__title` and so on."""

    class Meta:
        model = NewPost

    owner_id = 1000
    content = SubFactory(PostContentFactory)
    created_at = NOON


class PostFactory(Factory[Post]):  # posts only
    """Fields of the content are named `content__title` and so on."""

    class Meta:
        model = Post

    id = Sequence(lambda n: 3000 + n)
    owner_id = 1000
    content = SubFactory(PostContentFactory)
    created_at = NOON
    updated_at = SelfAttribute("created_at")
    version = 1


class AuthenticatorStateFactory(Factory[AuthenticatorState]):
    class Meta:
        model = AuthenticatorState

    sign_count = 0
    backup_eligible = True
    backed_up = True


class VerifiedCredentialFactory(Factory[VerifiedCredential]):
    class Meta:
        model = VerifiedCredential

    credential_id = Sequence(lambda n: b"credential %d" % n)
    public_key = b"a COSE key"
    state = SubFactory(AuthenticatorStateFactory)


class NewPasskeyFactory(Factory[NewPasskey]):
    class Meta:
        model = NewPasskey

    user_id = 1000
    name = "Phone"
    credential = SubFactory(VerifiedCredentialFactory)
    user_handle = b"user handle"
    created_at = NOON


class PasskeyFactory(Factory[Passkey]):
    class Meta:
        model = Passkey

    id = Sequence(lambda n: 4000 + n)
    user_id = 1000
    name = "Phone"
    credential_id = Sequence(lambda n: b"credential %d" % n)
    public_key = b"a COSE key"
    user_handle = b"user handle"
    state = SubFactory(AuthenticatorStateFactory)
    created_at = NOON
    last_used_at = None
