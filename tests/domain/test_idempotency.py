from dataclasses import dataclass

import pytest

from domain.idempotency import fingerprint
from domain.posts import PostContent

DRAFT = PostContent(title="Hello", content="First post.")


def test_equal_drafts_have_one_fingerprint() -> None:
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
def test_different_drafts_have_different_fingerprints(other: PostContent) -> None:
    assert fingerprint(other) != fingerprint(DRAFT)


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftWithSummary(PostContent):
    """As a later release may have it."""

    summary: str | None = None


def test_an_added_field_changes_the_fingerprint() -> None:
    drafts = [
        DraftWithSummary(title="Hello", content="First post.", summary=summary)
        for summary in (None, "Short", "Long")
    ]

    assert len({fingerprint(draft) for draft in drafts}) == 3


def test_an_added_field_at_its_default_keeps_the_fingerprint() -> None:
    assert fingerprint(DraftWithSummary(title="Hello", content="First post.")) == fingerprint(DRAFT)
