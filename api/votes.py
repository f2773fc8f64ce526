"""The current user's votes."""

from fastapi import Response

from api.dependencies import CurrentUser, UseCases
from api.posts import PostPath
from api.routing import protected_router
from application.errors import raises
from application.votes import VoteService
from domain.posts import PostId
from domain.scopes import Scope

protected = protected_router("votes", prefix="/posts/{post_id}/vote")


@protected.put(
    "",
    scope=Scope.POSTS_WRITE,
    status_code=204,
    response_class=Response,
    summary="Vote for a post",
    description="Idempotent: a user has at most one vote for a post.",
)
@raises(VoteService.cast)
async def cast_vote(post_id: PostPath, user: CurrentUser, use_cases: UseCases) -> None:
    await use_cases.votes.cast(PostId(post_id), user)


@protected.delete(
    "",
    scope=Scope.POSTS_WRITE,
    status_code=204,
    response_class=Response,
    summary="Take a vote back",
    description="Idempotent: it succeeds without a vote, too.",
)
@raises(VoteService.withdraw)
async def withdraw_vote(post_id: PostPath, user: CurrentUser, use_cases: UseCases) -> None:
    await use_cases.votes.withdraw(PostId(post_id), user)
