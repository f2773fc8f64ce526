from application.exports import ExportService
from application.services import Services
from tests.factories import PostContentFactory, UserDraftFactory


async def test_an_export_has_the_events_about_the_user(services: Services) -> None:
    anna = await services.accounts.register(UserDraftFactory.build(), "correct horse")
    await services.accounts.register(UserDraftFactory.build(), "correct horse")

    sections = {name: rows async for name, rows in services.of(ExportService).of(anna)}

    assert [row["name"] for row in sections["events_by_others"]] == ["user_registered"]


async def test_an_export_has_the_user_s_own_posts(services: Services) -> None:
    anna = await services.accounts.register(UserDraftFactory.build(), "correct horse")
    bob = await services.accounts.register(UserDraftFactory.build(), "correct horse")
    details = await services.posts.write(PostContentFactory.build(), anna)
    await services.posts.write(PostContentFactory.build(), bob)

    sections = {name: rows async for name, rows in services.of(ExportService).of(anna)}

    assert [row["id"] for row in sections["posts"]] == [details.post.id]
