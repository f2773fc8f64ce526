from application.ports.storage import Votes
from domain.posts import PostId
from domain.users import UserId
from tests.fakes.storage import FakeUnitOfWork, Vote


class FakeVotes(Votes):
    def __init__(self, uow: FakeUnitOfWork) -> None:
        self._uow = uow

    async def add(self, post_id: PostId, voter: UserId) -> None:
        await self._uow.reach()
        self._uow.defer(lambda state: state.put((post_id, voter), Vote(post_id, voter)))

    async def remove(self, post_id: PostId, voter: UserId) -> None:
        (await self._uow.state()).remove(Vote, (post_id, voter))
