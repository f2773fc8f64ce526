"""Posts and the rules of writing, editing and deleting them.

A rule is a function of a `WriteContext`. It raises its error, or returns the content to go on with
instead, or returns None. To add a rule, write it and its error here and list it in the tuple of the
operation that it is for: HTTP answers with the status of the error's kind and the error's name as
the code.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import ceil
from typing import Any, NewType

from domain.errors import NotAllowed, NotFound, RuleBroken, Stale, TooMany
from domain.policies import Visibility, is_moderator, may_change
from domain.users import User, UserId

TITLE_MAX = 200
CONTENT_MAX = 100_000
DAY = timedelta(hours=24)
POST_WRITTEN = "post_written"
"""Name of the event that each new post records. The quota counts these events."""

PostId = NewType("PostId", int)


class PostNotFound(NotFound):
    def __init__(self, post_id: int) -> None:
        super().__init__(f"Post with id: {post_id} was not found")


class NotPostOwner(NotAllowed):
    detail = "Only the owner of a post and moderators may change it"


class PostChanged(Stale):
    detail = "The post has changed since it was read"


class QuotaReached(TooMany):
    def __init__(self, quota: int, over_at: datetime, now: datetime) -> None:
        super().__init__(f"No more than {quota} posts in 24 hours")
        self.retry_after = max(1, ceil((over_at - now).total_seconds()))


class BadTitle(RuleBroken):
    detail = f"title must have 1 to {TITLE_MAX} characters"


class BadContent(RuleBroken):
    detail = f"content must have 1 to {CONTENT_MAX} characters"


class NulCharacter(RuleBroken):
    detail = "title and content must not contain the character NUL"


@dataclass(frozen=True, slots=True, kw_only=True)
class PostOptions:
    """Optional rules; `main` fills it from the settings."""

    per_day: int | None = None
    """Posts that a member may write in 24 hours; None: no quota."""
    drafts_until_verified: bool = False
    """Whether posts of members stay drafts until the member's address is verified."""

    def quota_of(self, author: User) -> int | None:
        return None if is_moderator(author) else self.per_day


DEFAULT_OPTIONS = PostOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class PostContent:
    """What an author writes: everything of a post that a client may set, and nothing else.

    Request bodies, answers, columns and stored answers follow these fields by name.
    """

    title: str
    content: str
    published: bool = True


@dataclass(frozen=True, slots=True)
class PostPatch:
    """New values for some fields of `PostContent`, by name. The other fields keep their value."""

    values: Mapping[str, Any]

    def applied_to(self, content: PostContent) -> PostContent:
        """Raises TypeError for a name that is no field."""
        return replace(content, **self.values)


@dataclass(slots=True, kw_only=True, eq=False)
class Post:
    """A post. `edit` is the only way to change it, and counts `version` up."""

    id: PostId
    owner_id: UserId
    content: PostContent
    created_at: datetime
    updated_at: datetime
    version: int

    def visibility(self, now: datetime) -> Visibility:  # noqa: ARG002  no field depends on it yet
        """Who the post exists for at `now`. Nothing else decides this."""
        return Visibility.PUBLIC if self.content.published else Visibility.PRIVATE

    def edit(
        self,
        patch: PostPatch,
        *,
        actor: User,
        now: datetime,
        expected_versions: frozenset[int] | None = None,
        options: PostOptions = DEFAULT_OPTIONS,
    ) -> bool:
        """Apply `patch`. Returns whether it had any values: the post is unchanged if not.

        Raises the error of the first rule that is broken, and changes nothing then.
        """
        context = WriteContext(
            actor=actor,
            draft=patch.applied_to(self.content),
            now=now,
            post=self,
            expected_versions=expected_versions,
            options=options,
        )
        content = checked(context, EDITING_RULES)
        if not patch.values:
            return False
        self.content = content
        self.updated_at = now
        self.version += 1
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPost:
    """A post that passed the rules and is not stored yet."""

    owner_id: UserId
    content: PostContent
    created_at: datetime

    def stored_as(self, post_id: int) -> Post:
        """The post that it becomes when it is stored under this id."""
        return Post(
            id=PostId(post_id),
            owner_id=self.owner_id,
            content=self.content,
            created_at=self.created_at,
            updated_at=self.created_at,
            version=1,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteContext:
    """Everything that a rule may look at."""

    actor: User
    """Who writes, edits or deletes."""
    draft: PostContent
    """The content that the post is to have. A deletion leaves it as it is."""
    now: datetime
    post: Post | None = None
    """The post as it is stored; None: it is a new one."""
    expected_versions: frozenset[int] | None = None
    """Versions that the client accepts (`If-Match`); None: any."""
    options: PostOptions = DEFAULT_OPTIONS
    recent_post_times: Sequence[datetime] = ()
    """When the actor wrote posts in the last 24 hours, deleted ones included, newest first. At most
    as many as the actor's quota; empty for an edit, a deletion, and an actor without a quota.
    """


Rule = Callable[[WriteContext], PostContent | None]
"""Raises its error, or returns the content to go on with instead of the draft, or None."""


def actor_may_change_it(context: WriteContext) -> None:
    post = context.post
    if post is not None and not may_change(context.actor, post.owner_id, context.now):
        raise NotPostOwner


def version_is_expected(context: WriteContext) -> None:
    post, expected = context.post, context.expected_versions
    if post is not None and expected is not None and post.version not in expected:
        raise PostChanged


def title_is_trimmed(context: WriteContext) -> PostContent | None:
    trimmed = context.draft.title.strip()
    return None if trimmed == context.draft.title else replace(context.draft, title=trimmed)


def title_is_in_bounds(context: WriteContext) -> None:
    if not 1 <= len(context.draft.title) <= TITLE_MAX:
        raise BadTitle


def content_is_in_bounds(context: WriteContext) -> None:
    if not 1 <= len(context.draft.content) <= CONTENT_MAX:
        raise BadContent


def text_has_no_nul(context: WriteContext) -> None:
    # PostgreSQL's text type has no NUL.
    if "\0" in context.draft.title or "\0" in context.draft.content:
        raise NulCharacter


def quota_is_kept(context: WriteContext) -> None:
    quota, times = context.options.quota_of(context.actor), context.recent_post_times
    if quota is not None and len(times) >= quota:
        raise QuotaReached(quota, times[quota - 1] + DAY, context.now)


def unverified_authors_keep_drafts(context: WriteContext) -> PostContent | None:
    actor, post = context.actor, context.post
    if not context.options.drafts_until_verified or actor.is_verified or is_moderator(actor):
        return None
    if post is not None and post.visibility(context.now) is Visibility.PUBLIC:
        return None
    return replace(context.draft, published=False)


WRITING_RULES: tuple[Rule, ...] = (
    title_is_trimmed,
    title_is_in_bounds,
    content_is_in_bounds,
    text_has_no_nul,
    quota_is_kept,
    unverified_authors_keep_drafts,
)
EDITING_RULES: tuple[Rule, ...] = (
    actor_may_change_it,
    version_is_expected,
    title_is_trimmed,
    title_is_in_bounds,
    content_is_in_bounds,
    text_has_no_nul,
    unverified_authors_keep_drafts,
)
DELETING_RULES: tuple[Rule, ...] = (actor_may_change_it, version_is_expected)


def checked(context: WriteContext, rules: tuple[Rule, ...]) -> PostContent:
    """Run `rules` in order; returns the content that they leave.

    Raises the error of the first rule that is broken.
    """
    for rule in rules:
        content = rule(context)
        if content is not None:
            context = replace(context, draft=content)
    return context.draft


def write(context: WriteContext) -> NewPost:
    """The new post. Raises the error of the first of `WRITING_RULES` that is broken."""
    content = checked(context, WRITING_RULES)
    return NewPost(owner_id=context.actor.id, content=content, created_at=context.now)


def check_deletion(
    post: Post, *, actor: User, now: datetime, expected_versions: frozenset[int] | None = None
) -> None:
    """Raises the error of the first of `DELETING_RULES` that is broken."""
    context = WriteContext(
        actor=actor, draft=post.content, now=now, post=post, expected_versions=expected_versions
    )
    checked(context, DELETING_RULES)
