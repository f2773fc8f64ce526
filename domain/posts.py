"""Posts and the rules of writing and editing them.

A rule is a function of what is about to happen; it raises its own error, or nothing. To add one,
write both here and add the function to its tuple: HTTP answers with the status of the error's kind
and the error's name as the code.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import ceil
from typing import NewType

from domain.errors import NotAllowed, NotFound, RuleBroken, Stale, TooMany
from domain.policies import is_moderator, may_change_post
from domain.users import User, UserId

TITLE_MAX = 200
CONTENT_MAX = 100_000
DAY = timedelta(hours=24)

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
    """What the business leaves open; `main` decides."""

    per_day: int | None = None
    """Posts that a member may write in 24 hours; None: as many as they like."""
    drafts_until_verified: bool = False
    """Whether what members write stays a draft until they have verified their address."""

    def quota_of(self, author: User) -> int | None:
        return None if is_moderator(author) else self.per_day


DEFAULT_OPTIONS = PostOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class PostDraft:
    """What an author wants a post to say; `published` None leaves it as it is (new: published)."""

    title: str
    content: str
    published: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PostPatch:
    """What an editor wants a post to say instead; None leaves it as it is."""

    title: str | None = None
    content: str | None = None
    published: bool | None = None

    def draft_of(self, post: "Post") -> PostDraft:
        """What `post` says with this instead."""
        return PostDraft(
            title=post.title if self.title is None else self.title,
            content=post.content if self.content is None else self.content,
            published=self.published,
        )


NO_CHANGE = PostPatch()


@dataclass(slots=True, kw_only=True, eq=False)
class Post:
    """A post; changed through `edit` alone, which counts `version` up."""

    id: PostId
    owner_id: UserId
    title: str
    content: str
    published: bool
    created_at: datetime
    updated_at: datetime
    version: int

    def edit(
        self,
        change: PostDraft | PostPatch,
        *,
        editor: User,
        now: datetime,
        known: frozenset[int] | None = None,
        options: PostOptions = DEFAULT_OPTIONS,
        rules: "tuple[EditingRule, ...] | None" = None,
    ) -> bool:
        """Make the post say what `change` wants; whether it wanted anything. Raises the error of
        the first rule that this breaks.
        """
        draft = change.draft_of(self) if isinstance(change, PostPatch) else change
        editing = Editing(
            post=self, draft=draft, editor=editor, now=now, known=known, options=options
        )
        for rule in EDITING_RULES if rules is None else rules:
            other = rule(editing)
            if other is not None:
                editing = replace(editing, draft=other)
        draft = editing.draft
        if change == NO_CHANGE:
            return False
        self.title = draft.title.strip()
        self.content = draft.content
        self.published = self.published if draft.published is None else draft.published
        self.updated_at = now
        self.version += 1
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPost:
    """A post that passed the rules, ready to be stored."""

    owner_id: UserId
    title: str
    content: str
    published: bool
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """A post about to be written: what a writing rule may look at."""

    draft: PostDraft
    author: User
    now: datetime
    options: PostOptions = DEFAULT_OPTIONS
    written: Sequence[datetime] = ()
    """When the author wrote the posts of the last `DAY`, newest first; as many as the author's
    quota and no more, and none without one.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Editing:
    """A post about to be changed: what an editing rule may look at."""

    post: Post
    draft: PostDraft
    editor: User
    now: datetime
    known: frozenset[int] | None = None
    """Versions that the editor takes it for; None: whichever it is."""
    options: PostOptions = DEFAULT_OPTIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleting:
    """A post about to be deleted: what a deleting rule may look at."""

    post: Post
    editor: User
    known: frozenset[int] | None = None
    """As of `Editing`."""


WritingRule = Callable[[Writing], PostDraft | None]
"""Raises, or answers with the draft to go on with, or with nothing: then it is the same."""
EditingRule = Callable[[Editing], PostDraft | None]
DeletingRule = Callable[[Deleting], None]


def title_is_in_bounds(change: Writing | Editing) -> None:
    if not 1 <= len(change.draft.title.strip()) <= TITLE_MAX:
        raise BadTitle


def content_is_in_bounds(change: Writing | Editing) -> None:
    if not 1 <= len(change.draft.content) <= CONTENT_MAX:
        raise BadContent


def text_has_no_nul(change: Writing | Editing) -> None:
    # PostgreSQL's text type has no NUL.
    if "\0" in change.draft.title or "\0" in change.draft.content:
        raise NulCharacter


def editor_may_change_it(change: Editing | Deleting) -> None:
    if not may_change_post(change.editor, change.post.owner_id):
        raise NotPostOwner


def editor_knows_its_version(change: Editing | Deleting) -> None:
    if change.known is not None and change.post.version not in change.known:
        raise PostChanged


def quota_is_kept(writing: Writing) -> None:
    quota = writing.options.quota_of(writing.author)
    if quota is not None and len(writing.written) >= quota:
        raise QuotaReached(quota, writing.written[quota - 1] + DAY, writing.now)


def unverified_authors_keep_drafts(change: Writing | Editing) -> PostDraft | None:
    author = change.author if isinstance(change, Writing) else change.editor
    was_published = isinstance(change, Editing) and change.post.published
    if not change.options.drafts_until_verified or author.is_verified or was_published:
        return None
    return None if is_moderator(author) else replace(change.draft, published=False)


WRITING_RULES: tuple[WritingRule, ...] = (
    title_is_in_bounds,
    content_is_in_bounds,
    text_has_no_nul,
    quota_is_kept,
    unverified_authors_keep_drafts,
)
EDITING_RULES: tuple[EditingRule, ...] = (
    editor_may_change_it,
    editor_knows_its_version,
    title_is_in_bounds,
    content_is_in_bounds,
    text_has_no_nul,
    unverified_authors_keep_drafts,
)
DELETING_RULES: tuple[DeletingRule, ...] = (editor_may_change_it, editor_knows_its_version)


def write(writing: Writing, rules: tuple[WritingRule, ...] = WRITING_RULES) -> NewPost:
    """The post that is asked for. Raises the error of the first rule that it breaks."""
    for rule in rules:
        other = rule(writing)
        if other is not None:
            writing = replace(writing, draft=other)
    draft = writing.draft
    return NewPost(
        owner_id=writing.author.id,
        title=draft.title.strip(),
        content=draft.content,
        published=draft.published is not False,
        created_at=writing.now,
    )


def check_deletion(deleting: Deleting, rules: tuple[DeletingRule, ...] = DELETING_RULES) -> None:
    """Raise the error of the first rule that the deletion breaks."""
    for rule in rules:
        rule(deleting)
