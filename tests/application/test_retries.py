import asyncio

import pytest

from application.auth import ClientInfo
from application.mail import MailService
from application.ports.storage import SerializationFailure
from application.retries import PAUSES, retried
from application.services import Services
from domain.errors import Unavailable
from domain.posts import PostNotFound
from domain.users import ProfileChange, User
from tests.factories import PostContentFactory, UserDraftFactory, post_patch
from tests.fakes.ports import FakePorts

PASSWORD = "correct horse battery"
ATTEMPTS = 1 + len(PAUSES)


@pytest.fixture
async def anna(services: Services) -> User:
    return await services.accounts.register(UserDraftFactory.build(), PASSWORD)


class UseCase:
    """Fails with each of the errors in turn, then succeeds."""

    def __init__(self, *errors: Exception) -> None:
        self._errors = list(errors)
        self.runs = 0

    @retried
    async def __call__(self, argument: str, *, option: str) -> str:
        self.runs += 1
        if self._errors:
            raise self._errors.pop(0)
        return argument + option


async def test_what_lost_a_race_is_run_again_with_the_same_arguments() -> None:
    use_case = UseCase(*[SerializationFailure()] * (ATTEMPTS - 1))

    assert await use_case("a", option="b") == "ab"
    assert use_case.runs == ATTEMPTS


async def test_after_the_last_attempt_the_failure_is_told() -> None:
    use_case = UseCase(*[SerializationFailure()] * ATTEMPTS)

    with pytest.raises(SerializationFailure):
        await use_case("a", option="b")
    assert use_case.runs == ATTEMPTS


@pytest.mark.parametrize("error", [Unavailable(), PostNotFound(7), ValueError()])
async def test_any_other_error_is_told_at_once(error: Exception) -> None:
    use_case = UseCase(error)

    with pytest.raises(type(error)):
        await use_case("a", option="b")
    assert use_case.runs == 1


async def test_who_is_cancelled_during_a_pause_is_gone() -> None:
    use_case = UseCase(*[SerializationFailure()] * ATTEMPTS)
    running = asyncio.create_task(use_case("a", option="b"))
    await asyncio.sleep(0)
    running.cancel()

    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_post_that_lost_a_race_is_written_once(
    ports: FakePorts, services: Services, anna: User
) -> None:
    events = len(ports.storage.committed.events)
    ports.storage.conflicts = ATTEMPTS - 1

    seen = await services.posts.write(PostContentFactory.build(), anna)

    assert list(ports.storage.committed.posts) == [seen.post.id]
    assert [entry.event.name for entry in ports.storage.committed.events[events:]] == [
        "post_written"
    ]


async def test_an_edit_that_lost_a_race_starts_from_what_is_stored_then(
    ports: FakePorts, services: Services, anna: User
) -> None:
    post = (await services.posts.write(PostContentFactory.build(), anna)).post
    ports.storage.conflicts = 2

    seen = await services.posts.edit(post.id, post_patch(title="New"), anna)

    assert (seen.post.content.title, seen.post.version) == ("New", 2)
    assert ports.storage.committed.posts[post.id].version == 2


async def test_too_many_conflicts_leave_nothing_behind(
    ports: FakePorts, services: Services, anna: User
) -> None:
    ports.storage.conflicts = ATTEMPTS

    with pytest.raises(SerializationFailure):
        await services.posts.write(PostContentFactory.build(), anna)
    assert ports.storage.committed.posts == {}


async def test_a_password_is_hashed_once_however_often_its_change_is_run(
    ports: FakePorts, services: Services, anna: User
) -> None:
    before = ports.passwords.work
    ports.storage.conflicts = ATTEMPTS - 1

    await services.accounts.change_password(
        anna, current=PASSWORD, new="another password", keep=None
    )

    assert ports.passwords.work - before == 2  # one verified, one made
    assert ports.storage.conflicts == 0
    await services.auth.login(anna.email, "another password", ClientInfo())


async def test_a_login_that_lost_a_race_is_one_session_for_one_check_of_the_password(
    ports: FakePorts, services: Services, anna: User
) -> None:
    ports.storage.conflicts = 2
    before = ports.passwords.work

    await services.auth.login(anna.email, PASSWORD, ClientInfo())

    assert len(ports.storage.committed.sessions) == 1
    assert ports.passwords.work - before == 1


async def test_a_refresh_that_lost_a_race_is_no_reuse(ports: FakePorts, services: Services) -> None:
    anna = await services.accounts.register(UserDraftFactory.build(), PASSWORD)
    login = await services.auth.login(anna.email, PASSWORD, ClientInfo())
    ports.storage.conflicts = 2

    fresh = await services.auth.refresh(login.refresh_token)

    assert fresh.session.id == login.session.id
    assert (await services.auth.authenticate(fresh.access_token))[0].id == anna.id


async def test_a_letter_is_sent_once_though_its_end_lost_a_race(
    ports: FakePorts, services: Services, anna: User
) -> None:
    await services.codes.ask_for_verification(anna)
    ports.storage.conflicts = ATTEMPTS - 1
    mail: MailService = services.mail

    assert await mail.deliver_next()
    assert not await mail.deliver_next()
    assert len(ports.mailer.sent) == 1


async def test_a_renaming_that_lost_a_race_is_recorded_once(
    ports: FakePorts, services: Services, anna: User
) -> None:
    ports.storage.conflicts = 2

    edited = await services.accounts.edit(anna, ProfileChange(name="Anne", renames=True))

    assert edited.name == "Anne"
    names = [entry.event.name for entry in ports.storage.committed.events]
    assert names.count("user_renamed") == 1
