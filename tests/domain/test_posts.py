from dataclasses import asdict, replace
from datetime import timedelta

import pytest

from domain.errors import RuleBroken
from domain.policies import Visibility
from domain.posts import (
    CONTENT_MAX,
    TITLE_MAX,
    BadContent,
    BadTitle,
    NotPostOwner,
    NulCharacter,
    Post,
    PostChanged,
    PostContent,
    PostNotFound,
    PostPatch,
    WriteContext,
    check_deletion,
    checked,
    write,
)
from domain.users import Role, User
from tests.factories import PostContentFactory, PostFactory, UserFactory, post_patch
from tests.fakes.clock import NOON

AUTHOR: User = UserFactory.build()
LATER = NOON + timedelta(hours=1)


def post(**wanted: object) -> Post:
    return PostFactory.build(**{"owner_id": AUTHOR.id} | wanted)


def writing(draft: PostContent) -> WriteContext:
    return WriteContext(actor=AUTHOR, draft=draft, now=NOON)


# What writing and editing have in common


@pytest.mark.parametrize("title", ["t", "t" * TITLE_MAX, f"  {'ñ' * TITLE_MAX}\n"], ids=len)
def test_a_title_has_1_to_200_characters_after_trimming(title: str) -> None:
    edited = post()
    edited.edit(PostPatch({"title": title}), actor=AUTHOR, now=LATER)
    new = write(writing(PostContentFactory.build(title=title)))

    assert new.content.title == edited.content.title == title.strip()


@pytest.mark.parametrize("content", ["c", " " * 2, "🔒" * CONTENT_MAX], ids=len)
def test_a_content_has_1_to_100_000_characters_and_is_not_trimmed(content: str) -> None:
    edited = post()
    edited.edit(PostPatch({"content": content}), actor=AUTHOR, now=LATER)
    new = write(writing(PostContentFactory.build(content=content)))

    assert new.content.content == edited.content.content == content


REFUSED = {
    "no title": ({"title": ""}, BadTitle),
    "a blank title": ({"title": " \n\u3000"}, BadTitle),
    "a long title": ({"title": "t" * (TITLE_MAX + 1)}, BadTitle),
    "no content": ({"content": ""}, BadContent),
    "a long content": ({"content": "c" * (CONTENT_MAX + 1)}, BadContent),
    "NUL in the title": ({"title": "a\0b"}, NulCharacter),
    "NUL in the content": ({"content": "a\0b"}, NulCharacter),
}


@pytest.mark.parametrize(("values", "error"), REFUSED.values(), ids=REFUSED.keys())
def test_bad_content_is_not_written_and_does_not_change_a_post(
    values: dict[str, str], error: type[RuleBroken]
) -> None:
    edited = post()
    before = asdict(edited)

    with pytest.raises(error):
        write(writing(PostContentFactory.build(**values)))
    with pytest.raises(error):
        edited.edit(PostPatch(values), actor=AUTHOR, now=LATER)
    assert asdict(edited) == before


# Writing


def test_a_new_post_belongs_to_its_author() -> None:
    new = write(writing(PostContentFactory.build()))

    assert (new.owner_id, new.created_at) == (AUTHOR.id, NOON)


def test_a_new_post_is_published_by_default() -> None:
    assert write(writing(PostContent(title="Hello", content="First post."))).content.published


def test_a_stored_post_begins_with_version_one() -> None:
    new = write(writing(PostContentFactory.build()))

    assert asdict(new.stored_as(7)) == asdict(new) | {"id": 7, "updated_at": NOON, "version": 1}


@pytest.mark.parametrize(
    ("published", "visibility"), [(True, Visibility.PUBLIC), (False, Visibility.PRIVATE)]
)
def test_a_post_is_public_when_it_is_published(published: bool, visibility: Visibility) -> None:
    assert post(content__published=published).visibility(NOON) is visibility


# Editing


def test_an_edit_changes_the_content_and_counts_the_version_up() -> None:
    edited = post(version=3)
    before = asdict(edited)
    patch = PostPatch({"title": " New ", "content": " new ", "published": False})

    assert edited.edit(patch, actor=AUTHOR, now=LATER)

    assert asdict(edited) == before | {
        "content": before["content"] | {"title": "New", "content": " new ", "published": False},
        "updated_at": LATER,
        "version": 4,
    }


@pytest.mark.parametrize("published", [True, False])
def test_a_patch_keeps_fields_that_it_does_not_name(published: bool) -> None:
    edited = post(content__published=published)
    before = edited.content

    edited.edit(PostPatch({"title": "New"}), actor=AUTHOR, now=LATER)

    assert edited.content == replace(before, title="New")


def test_an_empty_patch_changes_nothing_but_is_checked() -> None:
    edited = post()
    before = asdict(edited)

    assert not edited.edit(PostPatch({}), actor=AUTHOR, now=LATER)
    with pytest.raises(NotPostOwner):
        edited.edit(PostPatch({}), actor=UserFactory.build(), now=LATER)

    assert asdict(edited) == before


def test_a_patch_of_an_unknown_field_is_an_error() -> None:
    with pytest.raises(TypeError, match="votes"):
        PostPatch({"votes": 7}).applied_to(PostContentFactory.build())


@pytest.mark.parametrize("role", [Role.MODERATOR, Role.ADMIN])
def test_moderators_edit_posts_of_others_and_keep_the_owner(role: Role) -> None:
    edited = post()

    edited.edit(post_patch(), actor=UserFactory.build(role=role), now=LATER)

    assert edited.owner_id == AUTHOR.id


def test_a_stranger_is_refused_before_the_content_is_checked() -> None:
    edited = post()
    before = asdict(edited)

    with pytest.raises(NotPostOwner):
        edited.edit(post_patch(title=""), actor=UserFactory.build(), now=LATER)

    assert asdict(edited) == before


@pytest.mark.parametrize("versions", [frozenset(), frozenset({1, 3})])
def test_an_unexpected_version_is_neither_edited_nor_deleted(versions: frozenset[int]) -> None:
    stored = post(version=2)

    with pytest.raises(PostChanged):
        stored.edit(post_patch(), actor=AUTHOR, now=LATER, expected_versions=versions)
    with pytest.raises(PostChanged):
        check_deletion(stored, actor=AUTHOR, now=LATER, expected_versions=versions)


# Rules


def test_rules_run_in_order_on_the_content_of_the_previous_rule() -> None:
    seen: list[PostContent] = []
    changed = PostContentFactory.build(title="Changed")
    context = writing(PostContentFactory.build())

    def look(context: WriteContext) -> None:
        seen.append(context.draft)

    content = checked(context, (look, lambda _: changed, look))

    assert content is changed
    assert seen == [context.draft, changed]


def test_the_first_broken_rule_ends_the_check() -> None:
    def refuse(_: WriteContext) -> None:
        raise BadTitle

    def refuse_too(_: WriteContext) -> None:
        raise BadContent

    with pytest.raises(BadTitle):
        checked(writing(PostContentFactory.build()), (refuse, refuse_too))


def test_a_missing_post_has_the_detail_of_the_contract() -> None:
    assert PostNotFound(7).detail == "Post with id: 7 was not found"
