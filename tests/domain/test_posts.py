from dataclasses import asdict
from datetime import timedelta

import pytest

from domain.errors import RuleBroken
from domain.posts import (
    CONTENT_MAX,
    EDITING_RULES,
    TITLE_MAX,
    WRITING_RULES,
    BadContent,
    BadTitle,
    Editing,
    NotPostOwner,
    NulCharacter,
    Post,
    PostDraft,
    PostNotFound,
    Writing,
    write,
)
from domain.users import Role, User
from tests.factories import PostDraftFactory, PostFactory, UserFactory
from tests.fakes.clock import NOON

AUTHOR: User = UserFactory.build()
LATER = NOON + timedelta(hours=1)


def post(**wanted: object) -> Post:
    return PostFactory.build(**{"owner_id": AUTHOR.id} | wanted)


# What writing and editing have in common


@pytest.mark.parametrize("title", ["t", "t" * TITLE_MAX, f"  {'ñ' * TITLE_MAX}\n"], ids=len)
def test_a_title_has_1_to_200_characters_without_the_blanks_around_it(title: str) -> None:
    draft = PostDraftFactory.build(title=title)
    edited = post()
    edited.edit(draft, editor=AUTHOR, now=LATER)

    assert (
        write(Writing(draft=draft, author=AUTHOR, now=NOON)).title == edited.title == title.strip()
    )


@pytest.mark.parametrize("content", ["c", " " * 2, "🔒" * CONTENT_MAX], ids=len)
def test_a_content_has_1_to_100_000_characters_and_is_kept_as_it_is(content: str) -> None:
    draft = PostDraftFactory.build(content=content)
    edited = post()
    edited.edit(draft, editor=AUTHOR, now=LATER)

    assert write(Writing(draft=draft, author=AUTHOR, now=NOON)).content == edited.content == content


REFUSED = {
    "no title": (PostDraftFactory.build(title=""), BadTitle),
    "a blank title": (PostDraftFactory.build(title=" \n\u3000"), BadTitle),
    "a long title": (PostDraftFactory.build(title="t" * (TITLE_MAX + 1)), BadTitle),
    "no content": (PostDraftFactory.build(content=""), BadContent),
    "a long content": (PostDraftFactory.build(content="c" * (CONTENT_MAX + 1)), BadContent),
    "NUL in the title": (PostDraftFactory.build(title="a\0b"), NulCharacter),
    "NUL in the content": (PostDraftFactory.build(content="a\0b"), NulCharacter),
}


@pytest.mark.parametrize(("draft", "error"), REFUSED.values(), ids=REFUSED.keys())
def test_a_bad_draft_is_neither_written_nor_does_it_change_a_post(
    draft: PostDraft, error: type[RuleBroken]
) -> None:
    edited = post()
    before = asdict(edited)

    with pytest.raises(error):
        write(Writing(draft=draft, author=AUTHOR, now=NOON))
    with pytest.raises(error):
        edited.edit(draft, editor=AUTHOR, now=LATER)
    assert asdict(edited) == before


# Writing


def test_a_new_post_belongs_to_its_author() -> None:
    new = write(Writing(draft=PostDraftFactory.build(), author=AUTHOR, now=NOON))

    assert (new.owner_id, new.created_at) == (AUTHOR.id, NOON)


@pytest.mark.parametrize(("wanted", "published"), [(None, True), (True, True), (False, False)])
def test_a_new_post_is_published_unless_asked_otherwise(
    wanted: bool | None, published: bool
) -> None:
    draft = PostDraftFactory.build(published=wanted)

    assert write(Writing(draft=draft, author=AUTHOR, now=NOON)).published is published


# Editing


def test_an_edited_post_says_what_the_draft_does_and_counts_its_version_up() -> None:
    edited = post(published=True, version=3)
    before = asdict(edited)

    edited.edit(
        PostDraft(title=" New ", content=" new ", published=False), editor=AUTHOR, now=LATER
    )

    assert asdict(edited) == before | {
        "title": "New",
        "content": " new ",
        "published": False,
        "updated_at": LATER,
        "version": 4,
    }


@pytest.mark.parametrize("published", [True, False])
def test_a_draft_that_does_not_say_so_leaves_a_post_published_or_not(published: bool) -> None:
    edited = post(published=published)

    edited.edit(PostDraftFactory.build(published=None), editor=AUTHOR, now=LATER)

    assert edited.published is published


@pytest.mark.parametrize("role", [Role.MODERATOR, Role.ADMIN])
def test_moderators_edit_the_posts_of_others_who_stay_their_owners(role: Role) -> None:
    edited = post()

    edited.edit(PostDraftFactory.build(), editor=UserFactory.build(role=role), now=LATER)

    assert edited.owner_id == AUTHOR.id


def test_a_stranger_edits_nothing_and_learns_nothing_of_the_draft_s_faults() -> None:
    edited = post()
    before = asdict(edited)

    with pytest.raises(NotPostOwner):
        edited.edit(PostDraftFactory.build(title=""), editor=UserFactory.build(), now=LATER)

    assert asdict(edited) == before


# Rules of a team's own


class TitleShouts(RuleBroken):
    pass


def title_does_not_shout(change: Writing | Editing) -> None:
    if change.draft.title.isupper():
        raise TitleShouts


def test_a_rule_is_added_by_adding_it_to_the_tuple() -> None:
    loud = PostDraftFactory.build(title="HEAR HEAR")
    edited = post()

    with pytest.raises(TitleShouts):
        write(
            Writing(draft=loud, author=AUTHOR, now=NOON),
            rules=(*WRITING_RULES, title_does_not_shout),
        )
    with pytest.raises(TitleShouts):
        edited.edit(loud, editor=AUTHOR, now=LATER, rules=(*EDITING_RULES, title_does_not_shout))


def test_a_rule_sees_who_and_when() -> None:
    seen: list[object] = []
    edited = post()
    draft = PostDraftFactory.build()

    write(Writing(draft=draft, author=AUTHOR, now=NOON), rules=(seen.append,))
    edited.edit(draft, editor=AUTHOR, now=LATER, rules=(seen.append,))

    assert seen == [
        Writing(draft=draft, author=AUTHOR, now=NOON),
        Editing(post=edited, draft=draft, editor=AUTHOR, now=LATER),
    ]


def test_a_missing_post_is_named_as_the_contract_says() -> None:
    assert PostNotFound(7).detail == "Post with id: 7 was not found"
