"""The started service against a model of the contract: both give the same answers."""

import os
import time
from collections.abc import Callable
from itertools import count
from typing import Any, TypeVar

import httpx
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from tests.journeys.model import Post, Refused, Session, User, View, World, may_read
from tests.journeys.processes import Place, Service, on_both_databases

MINUTES = float(os.environ.get("FUZZ_MINUTES", "0"))
BOUNDED = settings(
    max_examples=8,
    stateful_step_count=25,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
LONGER = settings(BOUNDED, max_examples=30)
ENDLESS = settings(BOUNDED, derandomize=False, stateful_step_count=60)

ROOT = "root@example.com"
PASSWORDS = ("correct horse battery", "staple in the morning")

passwords = st.sampled_from(PASSWORDS)


def some(things: str) -> st.SearchStrategy[Any]:
    """One of the world's users, sessions or posts: mostly of those that are still there.

    No session of the admin by whose eyes invariants look.
    """

    def choose(machine: "Machine") -> st.SearchStrategy[Any]:
        known = getattr(machine.world, things)
        if things == "sessions":
            known = [session for session in known if session.user is not machine.root.user]
        there = [thing for thing in known if thing.alive]
        gone = [thing for thing in known if not thing.alive]
        return st.sampled_from([*there * 5, *gone[-len(there) - 1 :]])

    return st.runner().flatmap(choose)


users, sessions, posts = some("users"), some("sessions"), some("posts")
names = st.sampled_from([None, "Anna", "Бела 🦊"])
addresses = st.sampled_from(["anna", "ANNA", "bela", "carl"])
titles = st.sampled_from(["red fox", "red hen", "blue fox"])
contents = st.sampled_from(["old stone", "old wood"])
words = st.sampled_from(["", "red", "fox", "red fox", "fox old", "hen stone", "green"])
drafts = st.fixed_dictionaries({"title": titles, "content": contents, "published": st.booleans()})
keys = st.sampled_from([None, None, "key-1", "key-2"])
conditions = st.sampled_from(["none", "none", "fresh", "fresh", "stale", "any"])

T = TypeVar("T")
_runs = count(1)


class Machine(RuleBasedStateMachine):
    """Each rule sends a request, applies it to the model, and compares the answers."""

    service: Service

    def __init__(self) -> None:
        super().__init__()
        self.client = self.service.client()
        self.run = next(_runs)
        self.tags: dict[tuple[User, Post], tuple[View, str]] = {}
        """What each viewer saw of a post last, and its tag."""

    def teardown(self) -> None:
        self.client.close()

    # How requests are sent and answers compared

    def ask(
        self, method: str, path: str, session: Session | None = None, **request: Any
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {session.access_token}"} if session else {}
        headers |= request.pop("headers", {})
        return self.client.request(method, path, headers=headers, **request)

    def same(
        self, answer: httpx.Response, status: int, act: Callable[..., T], *args: Any, **named: Any
    ) -> T | None:
        """What the model makes of the request; None when both refuse it."""
        outcome, code = None, None
        try:
            outcome = act(*args, **named)
        except Refused as refused:
            status, code = refused.status, refused.code
        assert answer.status_code == status, f"{answer.status_code}, not {status}: {answer.text}"
        assert code is None or answer.json()["code"] == code
        return outcome

    def looks(self, body: View, view: View) -> None:
        assert {name: body[name] for name in view} == view

    def log_in_as(self, email: str, password: str) -> Session | None:
        form = {"username": email, "password": password}
        answer = self.ask("POST", "/login", data=form)
        session = self.same(answer, 200, self.world.log_in, email, password)
        if session:
            self.take_tokens(session, answer)
            listed = self.ask("GET", "/sessions", session).json()
            (session.id,) = [item["id"] for item in listed if item["current"]]
        return session

    def take_tokens(self, session: Session, answer: httpx.Response) -> None:
        session.access_token = answer.json()["access_token"]
        session.refresh_token = answer.json()["refresh_token"]

    def condition(self, kind: str, post: Post) -> tuple[dict[str, str], int | None]:
        """If-Match, and the version that it stands for."""
        version = {"fresh": post.version, "stale": post.version - 1}.get(kind)
        tag = "*" if kind == "any" else f'"{version}-0123456789abcdef"'
        return ({} if kind == "none" else {"If-Match": tag}), version

    # The beginning: an admin, and nothing else that anybody sees

    @initialize()
    def begin(self) -> None:
        self.world = World(User(ROOT, PASSWORDS[0], role="admin", id=1))
        for _ in range(2):  # the second one is without the sessions of earlier runs
            root = self.log_in_as(ROOT, PASSWORDS[0])
            assert root
            self.root = root
            if len(self.world.sessions) == 1:
                self.end_all(root)
        while posts := self.ask("GET", "/posts?limit=100", self.root).json():
            for post in posts:
                assert self.ask("DELETE", f"/posts/{post['id']}", self.root).status_code == 204
        self.strangers = self.everybody()
        for number, user in self.strangers.items():
            if user["role"] == "admin" and number != 1:
                demoted = self.ask("PATCH", f"/users/{number}", self.root, json={"role": "member"})
                assert demoted.status_code == 200
        self.change_user(self.root, self.root.user, [{"role": "member"}], by_root=True)
        for name in ("anna", "bela"):
            self.register(name, PASSWORDS[0], name)
            self.log_in_as(f"{name}{self.run}@example.com", PASSWORDS[0])
            author = self.log_in_as(f"{name}{self.run}@example.com", PASSWORDS[0])
            assert author
            self.write(author, {"title": "red fox", "content": "old wood", "published": True}, None)

    def everybody(self) -> dict[int, View]:
        """All accounts, by a walk through their list."""
        found: dict[int, View] = {}
        path = "/users?limit=100"
        while path:
            answer = self.ask("GET", path, self.root)
            found |= {user["id"]: user for user in answer.json()}
            path = str(answer.links["next"]["url"]) if "next" in answer.links else ""
        return found

    # Accounts

    @rule(name=addresses, password=passwords, called=names)
    def register(self, name: str, password: str, called: str | None) -> None:
        email = f"{name}{self.run}@example.com"
        body = {"email": email, "password": password, "name": called}
        answer = self.ask("POST", "/users", json=body)
        user = self.same(answer, 201, self.world.register, email, password, called)
        if user:
            user.id = answer.json()["id"]
            self.looks(answer.json(), user.account)

    @rule(session=sessions)
    def who_am_i(self, session: Session) -> None:
        answer = self.ask("GET", "/users/me", session)
        user = self.same(answer, 200, self.world.current_user, session)
        if user:
            self.looks(answer.json(), user.account)

    @rule(session=sessions, name=names)
    def rename(self, session: Session, name: str | None) -> None:
        answer = self.ask("PATCH", "/users/me", session, json={"name": name})
        user = self.same(answer, 200, self.world.rename, session, name)
        if user:
            self.looks(answer.json(), user.account)

    @rule(session=sessions, subject=users)
    def look_up(self, session: Session, subject: User) -> None:
        answer = self.ask("GET", f"/users/{subject.id}", session)
        view = self.same(answer, 200, self.world.look_up, session, subject)
        if view:
            assert answer.json().keys() - view.keys() <= {
                "created_at",
                "is_verified",
                "pending_email",
            }
            self.looks(answer.json(), view)

    @rule(
        session=sessions,
        new=passwords,
        wrong=st.sampled_from([False, False, False, True]),
        goes=st.sampled_from([False, False, True]),
    )
    def use_password(self, session: Session, new: str, *, wrong: bool, goes: bool) -> None:
        current = "a wrong password" if wrong else session.user.password
        body = {"current_password": current}
        if goes:
            answer = self.ask("POST", "/users/me/deletion", session, json=body)
            self.same(answer, 204, self.world.delete_account, session, current)
        else:
            body["new_password"] = new
            answer = self.ask("PUT", "/users/me/password", session, json=body)
            self.same(answer, 204, self.world.change_password, session, current, new)

    @rule(
        session=sessions,
        subject=users,
        changes=st.sampled_from(
            [
                [{"is_active": False}],
                [{"is_active": False}, {"is_active": True}],
                [{"is_active": True}],
                [{"role": "member"}],
                [{"role": "moderator"}],
                [{"role": "admin"}],
            ]
        ),
        by_root=st.booleans(),
    )
    def change_user(
        self, session: Session, subject: User, changes: list[dict[str, Any]], *, by_root: bool
    ) -> None:
        session = self.root if by_root else session
        if subject is self.root.user and not self.world.is_last_admin(subject):
            return  # who must stay one for the invariants
        for change in changes:
            answer = self.ask("PATCH", f"/users/{subject.id}", session, json=change)
            user = self.same(answer, 200, self.world.change_user, session, subject, **change)
            if user:
                self.looks(answer.json(), user.account)

    # Sessions

    @rule(user=users, password=passwords)
    def log_in(self, user: User, password: str) -> None:
        self.log_in_as(user.email.swapcase(), password)

    @rule(user=users)
    def log_in_rightly(self, user: User) -> None:
        self.log_in_as(user.email, user.password)

    @rule(session=sessions, replays=st.booleans())
    def refresh(self, session: Session, *, replays: bool) -> None:
        token = session.refresh_token
        for _ in range(2 if replays else 1):
            answer = self.ask("POST", "/refresh", data={"refresh_token": token})
            if self.same(answer, 200, self.world.refresh, session, token):
                self.take_tokens(session, answer)

    @rule(session=sessions, ended=sessions, how=st.sampled_from(["logout", "one", "one", "all"]))
    def end(self, session: Session, ended: Session, how: str) -> None:
        # One rule, or else most sessions are over before anything happens in them.
        if how == "logout":
            self.same(self.ask("POST", "/logout", session), 204, self.world.log_out, session)
        elif how == "one":
            answer = self.ask("DELETE", f"/sessions/{ended.id}", session)
            self.same(answer, 204, self.world.end_session, session, ended)
        else:
            self.end_all(session)

    def end_all(self, session: Session) -> None:
        answer = self.ask("DELETE", "/sessions", session)
        self.same(answer, 204, self.world.end_sessions, session)

    # Posts

    @rule(session=sessions, draft=drafts, key=keys)
    def write(self, session: Session, draft: View, key: str | None) -> None:
        headers = {"Idempotency-Key": key} if key else {}
        for _ in range(2 if key else 1):  # as who tries again does
            answer = self.ask("POST", "/posts", session, json=draft, headers=headers)
            written = self.same(answer, 201, self.world.write, session, draft, key)
            if written is None:
                continue
            view, post, replayed = written
            assert answer.headers.get("Idempotency-Replayed") == ("true" if replayed else None)
            if not replayed:
                post.id = view["id"] = answer.json()["id"]
                if key:
                    session.user.kept[key] = view, post
            self.looks(answer.json(), view)

    @rule(session=sessions, post=posts)
    def read(self, session: Session, post: Post) -> None:
        seen, tag = self.tags.get((session.user, post), (None, '"0-none"'))
        answer = self.ask("GET", f"/posts/{post.id}", session, headers={"If-None-Match": tag})
        status = 304 if post.seen_by(session.user) == seen else 200
        view = self.same(answer, status, self.world.read, session, post)
        if view is None:
            return
        if view != seen:
            self.looks(answer.json(), view)
        self.tags[session.user, post] = view, answer.headers["ETag"]

    @rule(
        method=st.sampled_from(["PUT", "PATCH"]),
        session=sessions,
        post=posts,
        draft=drafts,
        left_out=st.sets(st.sampled_from(["title", "content", "published"])),
        kind=conditions,
    )
    def edit(
        self,
        method: str,
        session: Session,
        post: Post,
        draft: View,
        left_out: set[str],
        kind: str,
    ) -> None:
        if method == "PUT":
            left_out &= {"published"}
        change = {name: value for name, value in draft.items() if name not in left_out}
        headers, known = self.condition(kind, post)
        answer = self.ask(method, f"/posts/{post.id}", session, json=change, headers=headers)
        edited = self.same(answer, 200, self.world.edit, session, post, known, change)
        if edited is not None:
            if not edited and change:  # the contract does not say whether this is an edit
                assert answer.json()["version"] in (post.version, post.version + 1)
                post.version = answer.json()["version"]
            self.looks(answer.json(), post.seen_by(session.user))
            assert answer.headers["ETag"].startswith(f'"{post.version}-')

    @rule(session=sessions, post=posts, kind=conditions)
    def delete(self, session: Session, post: Post, kind: str) -> None:
        headers, known = self.condition(kind, post)
        answer = self.ask("DELETE", f"/posts/{post.id}", session, headers=headers)
        self.same(answer, 204, self.world.delete, session, post, known)

    @rule(
        session=sessions,
        post=posts,
        methods=st.sampled_from([["PUT", "PUT"], ["PUT", "DELETE"], ["DELETE", "DELETE"]]),
    )
    def vote(self, session: Session, post: Post, methods: list[str]) -> None:
        for method in methods:
            act = self.world.vote if method == "PUT" else self.world.withdraw
            answer = self.ask(method, f"/posts/{post.id}/vote", session)
            self.same(answer, 204, act, session, post)

    @rule(
        session=sessions,
        owner=st.none() | users,
        published=st.sampled_from([None, True, False]),
        words=words,
        sort=st.sampled_from(["newest", "oldest", "top"]),
        limit=st.integers(1, 3),
    )
    def walk(
        self,
        session: Session,
        owner: User | None,
        published: bool | None,
        words: str,
        sort: str,
        limit: int,
    ) -> None:
        if not session.alive:
            return
        query: dict[str, Any] = {"sort": sort, "limit": limit}
        query |= {"owner_id": owner.id} if owner else {}
        query |= {} if published is None else {"published": published}
        query |= {"q": words} if words else {}
        found: list[View] = []
        path = f"/posts?{httpx.QueryParams(query)}"
        while path:
            answer = self.ask("GET", path, session)
            assert answer.status_code == 200, answer.text
            assert len(answer.json()) <= limit
            found += answer.json()
            path = str(answer.links["next"]["url"]) if "next" in answer.links else ""

        viewer = session.user
        posts = self.world.list(viewer, owner=owner, published=published, words=words)
        if sort == "top":  # between as many votes, the contract leaves the order open
            votes = [post["votes"] for post in found]
            assert votes == sorted(votes, reverse=True)
            found.sort(key=lambda post: int(post["id"]))
        elif sort == "newest":
            found.reverse()
        assert [post["id"] for post in found] == [post.id for post in posts]
        for body, post in zip(found, posts, strict=True):
            self.looks(body, post.seen_by(viewer))

    # What everybody sees after each step

    @invariant()
    def everybody_sees_what_there_is(self) -> None:
        ended = [session for session in self.world.sessions if not session.alive]
        for session in ended[-3:]:
            assert self.ask("GET", "/users/me", session).status_code == 401
        for user in self.world.users:
            alive = self.world.sessions_of(user)
            if alive:
                self.sees_what_there_is(alive[-1], [session.id for session in alive])

    def sees_what_there_is(self, session: Session, ids: list[int]) -> None:
        viewer = session.user
        answer = self.ask("GET", "/sessions", session)
        assert answer.status_code == 200, answer.text
        sessions = {item["id"]: item["current"] for item in answer.json()}
        assert sessions == {number: number == session.id for number in ids}

        listed = self.ask("GET", "/posts?limit=100&sort=oldest", session).json()
        posts = [post for post in self.world.posts if may_read(viewer, post)]
        assert [post["id"] for post in listed] == [post.id for post in posts]
        for body, post in zip(listed, posts, strict=True):
            self.looks(body, post.seen_by(viewer))

    @invariant()
    def the_admin_sees_all_accounts(self) -> None:
        there = {user.id: user for user in self.world.users if user.alive}
        seen = self.everybody()
        assert seen.keys() - self.strangers.keys() | {self.root.user.id} == there.keys()
        for number, user in there.items():
            self.looks(seen[number], user.account)


@on_both_databases
@pytest.mark.parametrize(
    "bounds", [BOUNDED, pytest.param(LONGER, marks=pytest.mark.slow)], ids=["bounded", "longer"]
)
def test_the_service_answers_as_the_model_does(place: Place, bounds: settings) -> None:
    place.settings["REFRESH_GRACE"] = "0"  # the model has no clock
    with place.serving() as service:
        made = place.run("create-admin", ROOT, "--password-stdin", given=PASSWORDS[0])
        assert made.status == 0, made.stderr
        machine = type("Machine", (Machine,), {"service": service})
        run_state_machine_as_test(machine, settings=bounds)
        deadline = time.monotonic() + MINUTES * 60
        while time.monotonic() < deadline:
            run_state_machine_as_test(machine, settings=ENDLESS)
