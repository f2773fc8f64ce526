"""What CONTRACT.md says of accounts, sessions, posts and votes, in plain Python and in memory.

Methods are requests: they do what the service should do, or raise the `Refused` that it should
answer with. Written from the contract, not from the code; where it is silent the model is too.
"""

from dataclasses import dataclass, field
from typing import Any

MODERATORS = {"moderator", "admin"}

View = dict[str, Any]


class Refused(Exception):
    """`code` where the contract names it."""

    def __init__(self, status: int, code: str | None = None) -> None:
        self.status, self.code = status, code


@dataclass(eq=False)
class User:
    email: str
    password: str
    name: str | None = None
    role: str = "member"
    is_active: bool = True
    alive: bool = True
    id: int = 0
    """Here and below: as the service gave it."""
    kept: dict[str, tuple[View, "Post"]] = field(default_factory=dict)
    """What was posted by idempotency key."""

    @property
    def account(self) -> View:
        names = ("id", "email", "name", "role", "is_active")
        return {name: getattr(self, name) for name in names}


@dataclass(eq=False)
class Session:
    user: User
    access_token: str = ""
    refresh_token: str = ""
    spent: list[str] = field(default_factory=list)
    """Refresh tokens that were used."""
    alive: bool = True
    id: int = 0


@dataclass(eq=False)
class Post:
    owner: User
    title: str
    content: str
    published: bool
    version: int = 1
    voters: set[User] = field(default_factory=set)
    alive: bool = True
    id: int = 0

    def seen_by(self, viewer: User) -> View:
        return {
            "id": self.id,
            "title": self.title,
            "content": self.content,
            "published": self.published,
            "version": self.version,
            "owner_id": self.owner.id,
            "owner": {"id": self.owner.id, "name": self.owner.name},
            "votes": len(self.voters),
            "voted": viewer in self.voters,
        }

    def has(self, words: str) -> bool:
        return set(words.split()) <= {*self.title.split(), *self.content.split()}


class World:
    def __init__(self, root: User) -> None:
        self.users = [root]
        self.sessions: list[Session] = []
        self.posts: list[Post] = []
        """In the order that they were written in."""

    # Accounts

    def register(self, email: str, password: str, name: str | None) -> User:
        if self._known(email):
            raise Refused(409, "email_taken")
        user = User(email, password, name)
        self.users.append(user)
        return user

    def rename(self, session: Session, name: str | None) -> User:
        user = self.current_user(session)
        user.name = name
        return user

    def look_up(self, session: Session, subject: User) -> View:
        viewer = self.current_user(session)
        if not subject.alive:
            raise Refused(404)
        if viewer is subject or viewer.role == "admin":
            return subject.account
        return {"id": subject.id, "name": subject.name}

    def change_password(self, session: Session, current: str, new: str) -> None:
        user = self._with_password(session, current)
        user.password = new
        for other in self.sessions_of(user):
            other.alive = other is session

    def delete_account(self, session: Session, current: str) -> None:
        user = self._with_password(session, current)
        self._last_admin_stays(user)
        user.alive = False
        self._end_sessions(user)
        for post in self.posts:
            post.voters.discard(user)
            post.alive = post.alive and post.owner is not user

    def change_user(self, session: Session, subject: User, **change: Any) -> User:
        if self.current_user(session).role != "admin":
            raise Refused(403)
        if not subject.alive:
            raise Refused(404)
        if change.get("role", "admin") != "admin" or not change.get("is_active", True):
            self._last_admin_stays(subject)
        for name, value in change.items():
            setattr(subject, name, value)
        if not subject.is_active:
            self._end_sessions(subject)
        return subject

    def is_last_admin(self, user: User) -> bool:
        admins = [u for u in self.users if u.alive and u.is_active and u.role == "admin"]
        return admins == [user]

    # Sessions

    def log_in(self, email: str, password: str) -> Session:
        user = self._known(email)
        if not (user and user.is_active and user.password == password):
            raise Refused(401, "invalid_credentials")
        session = Session(user)
        self.sessions.append(session)
        return session

    def refresh(self, session: Session, token: str) -> Session:
        """`token`: of this session."""
        if not session.alive:
            raise Refused(401)
        if token in session.spent:
            session.alive = False
            raise Refused(401)
        session.spent.append(token)
        return session

    def current_user(self, session: Session) -> User:
        if not session.alive:
            raise Refused(401, "invalid_token")
        return session.user

    def sessions_of(self, user: User) -> list[Session]:
        return [session for session in self.sessions if session.user is user and session.alive]

    def log_out(self, session: Session) -> None:
        self.current_user(session)
        session.alive = False

    def end_session(self, session: Session, ended: Session) -> None:
        user = self.current_user(session)
        if ended.user is not user or not ended.alive:
            raise Refused(404)
        ended.alive = False

    def end_sessions(self, session: Session) -> None:
        self._end_sessions(self.current_user(session))

    # Posts and votes

    def write(self, session: Session, draft: View, key: str | None) -> tuple[View, Post, bool]:
        """What is answered, the post, and whether it is a replay."""
        author = self.current_user(session)
        if key in author.kept:
            answer, post = author.kept[key]
            if any(answer[name] != value for name, value in draft.items()):
                raise Refused(422, "idempotency_key_reused")
            return answer, post, True
        post = Post(author, **draft)
        self.posts.append(post)
        return post.seen_by(author), post, False

    def read(self, session: Session, post: Post) -> View:
        return self._visible(session, post).seen_by(session.user)

    def edit(self, session: Session, post: Post, known: int | None, change: View) -> bool:
        """Whether anything changes. `known`: the version that If-Match names; None for any."""
        self._may_change(session, post, known)
        if all(getattr(post, name) == value for name, value in change.items()):
            return False
        vars(post).update(change, version=post.version + 1)
        return True

    def delete(self, session: Session, post: Post, known: int | None) -> None:
        self._may_change(session, post, known)
        post.alive = False

    def vote(self, session: Session, post: Post) -> None:
        self._visible(session, post).voters.add(session.user)

    def withdraw(self, session: Session, post: Post) -> None:
        self._visible(session, post).voters.discard(session.user)

    def list(
        self,
        viewer: User,
        *,
        owner: User | None = None,
        published: bool | None = None,
        words: str = "",
    ) -> "list[Post]":
        """The oldest first."""
        return [
            post
            for post in self.posts
            if may_read(viewer, post)
            and owner in (None, post.owner)
            and published in (None, post.published)
            and post.has(words)
        ]

    # What they have in common

    def _known(self, email: str) -> User | None:
        same = (u for u in self.users if u.alive and u.email.lower() == email.lower())
        return next(same, None)

    def _with_password(self, session: Session, password: str) -> User:
        user = self.current_user(session)
        if password != user.password:
            raise Refused(403, "wrong_password")
        return user

    def _last_admin_stays(self, user: User) -> None:
        if self.is_last_admin(user):
            raise Refused(409, "last_admin")

    def _end_sessions(self, user: User) -> None:
        for session in self.sessions_of(user):
            session.alive = False

    def _visible(self, session: Session, post: Post) -> Post:
        viewer = self.current_user(session)
        if not may_read(viewer, post):
            raise Refused(404, "post_not_found")
        return post

    def _may_change(self, session: Session, post: Post, known: int | None) -> None:
        self._visible(session, post)
        if session.user is not post.owner and session.user.role not in MODERATORS:
            raise Refused(403)
        if known not in (None, post.version):
            raise Refused(412)


def may_read(viewer: User, post: Post) -> bool:
    return post.alive and (post.published or viewer is post.owner or viewer.role in MODERATORS)
