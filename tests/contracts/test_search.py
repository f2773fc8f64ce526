"""The contract of search."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from application.ports.queries import PostList, Sort
from domain.posts import CONTENT_MAX, Post
from domain.search import terms_of
from domain.users import Role, User
from tests.contracts.backends import Backend
from tests.factories import post_patch
from tests.fakes.clock import NOON


async def found(backend: Backend, viewer: User, query: str) -> list[str]:
    page = await backend.posts(
        PostList(viewer=viewer, limit=100, terms=terms_of(query), sort=Sort.OLDEST)
    )
    assert page.next is None
    return [seen.post.content.title for seen in page.items]


async def edit(backend: Backend, post: Post, editor: User, title: str, content: str) -> None:
    async with backend.storage() as uow:
        seen = await uow.posts.details(post.id, editor.id, NOON)
        assert seen is not None
        patch = post_patch(title=title, content=content)
        seen.post.edit(patch, actor=editor, now=NOON)
        await uow.posts.save(seen.post)
        await uow.commit()


TEXTS = {
    "Foxes": "The quick brown fox jumps over the lazy dog.",
    "Dogs": "A dog is a man's best friend; foxglove is not.",
    "E-mail": "Write to anna@example.com or see https://example.com/red-fox/den?x=1.5",
    "Ελλάδα": "ΚΑΛΗΜΕΡΑ κόσμε, Straße, Ünïcödé and 山田 太郎",
    "snake_case": "c++ 3.14 a-b-c under_score 1e10 v2",
}


@pytest.mark.parametrize(
    ("query", "titles"),
    [
        ("fox", ["Foxes", "E-mail"]),
        ("FOX", ["Foxes", "E-mail"]),
        ("fox dog", ["Foxes"]),
        ("foxes", ["Foxes"]),
        ("fox foxes", ["Foxes"]),
        ("fox*", ["Foxes", "Dogs", "E-mail"]),
        ("FOXG*", ["Dogs"]),
        ('"brown fox"', ["Foxes"]),
        ('"fox brown"', []),
        ('"quick fox"', []),
        ('"brown fo"*', []),
        ('"brown fox" lazy jum*', ["Foxes"]),
        ("red-fox", ["E-mail"]),
        ("red-fo*", ["E-mail"]),
        ("anna@example.com", ["E-mail"]),
        ("example", ["E-mail"]),
        ("den", ["E-mail"]),
        ("man's", ["Dogs"]),
        ("1.5", ["E-mail"]),
        ("5", ["E-mail"]),
        ("καλημερα", ["Ελλάδα"]),
        ("ελλάδα", ["Ελλάδα"]),
        ("ünïcödé", ["Ελλάδα"]),
        ("unicode", []),
        ("山田", ["Ελλάδα"]),
        ("山*", ["Ελλάδα"]),
        ("c++", ["snake_case"]),
        ("case", ["snake_case"]),
        ("under_score", ["snake_case"]),
        ('"a b c"', ["snake_case"]),
        ("1e10", ["snake_case"]),
        ("v2", ["snake_case"]),
        ("the", ["Foxes"]),
        ("fox OR dog", []),
        ("fox NOT dog", []),
        ("title", []),
        ("posts_search", []),
        ("words : fox", []),
        ("NEAR(fox dog)", []),
        ("^fox", ["Foxes", "E-mail"]),
        ("{fox}", ["Foxes", "E-mail"]),
        ("fox:*", ["Foxes", "Dogs", "E-mail"]),
        ("', fox", ["Foxes", "E-mail"]),
        ("", list(TEXTS)),
        ("!?", list(TEXTS)),
        ("🦊", list(TEXTS)),
    ],
)
async def test_a_search_finds_words_prefixes_and_phrases(
    backend: Backend, query: str, titles: list[str]
) -> None:
    anna = await backend.add_user()
    for title, content in TEXTS.items():
        await backend.add_post(anna, title=title, content=content)

    assert await found(backend, anna, query) == titles


async def test_a_search_finds_the_current_text(backend: Backend) -> None:
    anna = await backend.add_user()
    post = await backend.add_post(anna, title="Old", content="red fox")
    kept = await backend.add_post(anna, title="Kept", content="red fox")

    await edit(backend, post, anna, "New", "brown bear")
    assert await found(backend, anna, "fox") == ["Kept"]
    assert await found(backend, anna, "bear") == await found(backend, anna, "new") == ["New"]
    assert await found(backend, anna, "old") == []

    await backend.vote(post.id, anna)
    assert await found(backend, anna, "bear") == ["New"]

    await backend.remove_post(kept)
    assert await found(backend, anna, "fox") == []


async def test_a_search_finds_no_posts_of_a_removed_user(backend: Backend) -> None:
    anna, bob = await backend.add_user(), await backend.add_user()
    await backend.add_post(anna, title="Fox", content="red")

    await backend.remove_user(anna.id)

    assert await found(backend, bob, "fox") == []


async def test_a_search_finds_drafts_only_for_their_owner_and_moderators(
    backend: Backend,
) -> None:
    anna, bob = await backend.add_user(), await backend.add_user()
    moderator = await backend.add_user(role=Role.MODERATOR)
    await backend.add_post(anna, title="Draft", content="red fox", published=False)

    assert await found(backend, anna, "fox") == await found(backend, moderator, "fox") == ["Draft"]
    assert await found(backend, bob, "fox") == []


HARD_TEXTS = {
    "many words": " ".join(chr(0x4E00 + n % 20_000) + str(n) for n in range(CONTENT_MAX // 8)),
    "one word": "𠮷" * CONTENT_MAX,
    "compounds": "-".join("𠮷" + str(n) for n in range(CONTENT_MAX // 7)),
    "an address": "a.b/" * (CONTENT_MAX // 4),
    "quotes": "'\"\\" * 1000,
    "nothing to index": " \t\n",
}


@pytest.mark.parametrize("text", HARD_TEXTS.values(), ids=HARD_TEXTS)
async def test_every_text_can_be_stored_and_deleted(backend: Backend, text: str) -> None:
    anna = await backend.add_user()
    post = await backend.add_post(anna, title="Fox", content=text[:CONTENT_MAX])
    assert await found(backend, anna, "fox") == ["Fox"]

    await edit(backend, post, anna, "Bear", text[:CONTENT_MAX])

    assert await found(backend, anna, "fox") == []
    assert await found(backend, anna, "bear") == ["Bear"]


_INPUT = st.text(
    st.one_of(st.sampled_from("fox *\"'&|!():<>-\\^~{}[]+,;?%_\0"), st.characters()), max_size=30
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(query=_INPUT)
async def test_no_input_is_an_error(backend: Backend, query: str) -> None:
    viewer = await backend.add_user()

    assert isinstance(await found(backend, viewer, query), list)


@pytest.mark.parametrize(
    "query", ["a " * 250, '"' * 500, "x" * 500, "𠮷" * 500, "İ" * 500, "a* " * 170, "a" * 10_000]
)
async def test_no_long_input_is_an_error(backend: Backend, query: str) -> None:
    viewer = await backend.add_user()

    assert await found(backend, viewer, query) == []
