"""Use cases whose commit is refused because of concurrent changes."""

import pytest

from application.logins import ClientInfo
from application.outages import SerializationFailure
from application.services import Services
from domain.users import ProfileChange, User
from tests.factories import PostContentFactory, UserDraftFactory, post_patch
from tests.fakes.ports import FakePorts
from tests.fakes.storage import ATTEMPTS
from tests.jobs import do_next
from tests.logins import log_in

PASSWORD = "correct horse battery"


@pytest.fixture
async def anna(services: Services) -> User:
    return await services.accounts.register(UserDraftFactory.build(), PASSWORD)


async def test_a_retried_post_is_written_once(
    ports: FakePorts, services: Services, anna: User
) -> None:
    events = len(ports.storage.committed.events)
    ports.storage.conflicts = ATTEMPTS - 1

    seen = await services.posts.write(PostContentFactory.build(), anna)

    assert list(ports.storage.committed.posts) == [seen.post.id]
    assert [entry.event.name for entry in ports.storage.committed.events[events:]] == [
        "post_written"
    ]


async def test_a_retried_edit_starts_from_the_current_post(
    ports: FakePorts, services: Services, anna: User
) -> None:
    post = (await services.posts.write(PostContentFactory.build(), anna)).post
    ports.storage.conflicts = 2

    seen = await services.posts.edit(post.id, post_patch(title="New"), anna)

    assert (seen.post.content.title, seen.post.version) == ("New", 2)
    assert ports.storage.committed.posts[post.id].version == 2


async def test_too_many_conflicts_change_nothing(
    ports: FakePorts, services: Services, anna: User
) -> None:
    ports.storage.conflicts = ATTEMPTS

    with pytest.raises(SerializationFailure):
        await services.posts.write(PostContentFactory.build(), anna)
    assert ports.storage.committed.posts == {}


async def test_a_retried_change_of_password_hashes_once(
    ports: FakePorts, services: Services, anna: User
) -> None:
    before = ports.passwords.work
    ports.storage.conflicts = ATTEMPTS - 1

    await services.accounts.change_password(
        anna, current=PASSWORD, new="another password", keep=None
    )

    assert ports.passwords.work - before == 2  # one verified, one made
    assert ports.storage.conflicts == 0
    await log_in(services.auth, anna.email, "another password", ClientInfo())


async def test_a_retried_login_has_one_session_and_one_password_check(
    ports: FakePorts, services: Services, anna: User
) -> None:
    ports.storage.conflicts = 2
    before = ports.passwords.work

    await log_in(services.auth, anna.email, PASSWORD, ClientInfo())

    assert len(ports.storage.committed.sessions) == 1
    assert ports.passwords.work - before == 1


async def test_a_retried_refresh_is_not_a_reuse(ports: FakePorts, services: Services) -> None:
    anna = await services.accounts.register(UserDraftFactory.build(), PASSWORD)
    login = await log_in(services.auth, anna.email, PASSWORD, ClientInfo())
    ports.storage.conflicts = 2

    fresh = await services.auth.refresh(login.refresh_token)

    assert fresh.session.id == login.session.id
    assert (await services.auth.authenticate(fresh.access_token))[0].id == anna.id


async def test_a_message_is_sent_once_though_its_removal_is_retried(
    ports: FakePorts, services: Services, anna: User
) -> None:
    await services.codes.ask_for_verification(anna)
    ports.storage.conflicts = ATTEMPTS - 1

    assert await do_next(services)
    assert not await do_next(services)
    assert len(ports.mailer.sent) == 1


async def test_a_retried_renaming_is_recorded_once(
    ports: FakePorts, services: Services, anna: User
) -> None:
    ports.storage.conflicts = 2

    edited = await services.accounts.edit(anna, ProfileChange(name="Anne", renames=True))

    assert edited.name == "Anne"
    names = [entry.event.name for entry in ports.storage.committed.events]
    assert names.count("user_renamed") == 1
