from dataclasses import dataclass

import pytest

from domain.idempotency import fingerprint
from domain.posts import PostContent

DRAFT = PostContent(title="Hello", content="First post.")


def test_drafts_that_ask_for_the_same_post_are_one() -> None:
    same = PostContent(title="Hello", content="First post.", published=True)

    assert fingerprint(same) == fingerprint(DRAFT)


@pytest.mark.parametrize(
    "other",
    [
        PostContent(title="Hello!", content="First post."),
        PostContent(title="Hello", content="First post. "),
        PostContent(title="Hello", content="First post.", published=False),
        PostContent(title="HelloFirst", content=" post."),
    ],
)
def test_drafts_that_ask_for_another_post_are_not(other: PostContent) -> None:
    assert fingerprint(other) != fingerprint(DRAFT)


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftWithSummary(PostContent):
    """As a later release may have it."""

    summary: str | None = None


def test_a_field_that_is_added_to_drafts_counts() -> None:
    drafts = [
        DraftWithSummary(title="Hello", content="First post.", summary=summary)
        for summary in (None, "Short", "Long")
    ]

    assert len({fingerprint(draft) for draft in drafts}) == 3


def test_an_added_field_at_its_default_leaves_the_fingerprint_as_it_was() -> None:
    assert fingerprint(DraftWithSummary(title="Hello", content="First post.")) == fingerprint(DRAFT)
