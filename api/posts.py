"""Posts of the current user and of others."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from api.dependencies import CurrentUser, UseCases
from api.errors import documented
from api.pages import Cursors
from application.ports.queries import PostList, SeenPost
from domain.pages import LIMIT_DEFAULT, LIMIT_MAX
from domain.posts import CONTENT_MAX, TITLE_MAX, PostDraft, PostId
from domain.users import User, UserId

protected = APIRouter(tags=["posts"], generate_unique_id_function=lambda route: route.name)

ID_MAX = 2**63 - 1

Title = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=TITLE_MAX),
    Field(examples=["Hello"]),
]
Content = Annotated[
    str, StringConstraints(min_length=1, max_length=CONTENT_MAX), Field(examples=["First post."])
]
PostPath = Annotated[int, Path(ge=1, le=ID_MAX, description="The post's id")]


class PostBody(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    title: Title
    content: Content
    published: bool = True

    def to_draft(self) -> PostDraft:
        published = self.published if "published" in self.model_fields_set else None
        return PostDraft(title=self.title, content=self.content, published=published)


class OwnerView(BaseModel):
    id: int = Field(examples=[1])
    name: str | None = Field(examples=["Anna"])


class PostView(BaseModel):
    id: int = Field(examples=[7])
    title: str = Field(examples=["Hello"])
    content: str = Field(examples=["First post."])
    published: bool
    created_at: datetime
    updated_at: datetime
    version: int = Field(description="Counts the edits, from 1", examples=[1])
    owner_id: int = Field(examples=[1])
    owner: OwnerView
    votes: int = Field(examples=[0])
    voted: bool = Field(description="Whether the current user voted for it")

    @classmethod
    def of(cls, seen: SeenPost) -> "PostView":
        post = seen.post
        return cls(
            id=post.id,
            title=post.title,
            content=post.content,
            published=post.published,
            created_at=post.created_at,
            updated_at=post.updated_at,
            version=post.version,
            owner_id=post.owner_id,
            owner=OwnerView(id=post.owner_id, name=seen.owner_name),
            votes=seen.votes,
            voted=seen.voted,
        )


class PostsQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    limit: int = Field(LIMIT_DEFAULT, ge=1, le=LIMIT_MAX)
    after: str | None = Field(None, max_length=200, description="Cursor from a `Link` header")
    owner_id: int | None = Field(None, ge=1, le=ID_MAX)
    published: bool | None = None

    def to_list(self, viewer: User, cursors: Cursors) -> PostList:
        return PostList(
            viewer=viewer,
            limit=self.limit,
            after=None if self.after is None else cursors.read(self.after, self.binding),
            owner_id=None if self.owner_id is None else UserId(self.owner_id),
            published=self.published,
        )

    @property
    def binding(self) -> str:
        """What a cursor belongs to: everything but the page's own size and place."""
        return self.model_dump_json(exclude={"limit", "after"})


@protected.get("/posts", summary="List posts", responses=documented(400, 401, 422, 503))
async def list_posts(
    query: Annotated[PostsQuery, Query()],
    request: Request,
    response: Response,
    user: CurrentUser,
    use_cases: UseCases,
) -> list[PostView]:
    cursors: Cursors = request.app.state.cursors
    page = await use_cases.posts.list(query.to_list(user, cursors))
    if page.next is not None:
        after = cursors.write(page.next, query.binding)
        url = request.url.include_query_params(after=after)
        response.headers["Link"] = f'<{url}>; rel="next"'
    return [PostView.of(seen) for seen in page.items]


@protected.post(
    "/posts",
    status_code=201,
    summary="Write a post",
    responses=documented(401, 409, 415, 422, 429, 503),
)
async def create_post(
    body: PostBody, request: Request, response: Response, user: CurrentUser, use_cases: UseCases
) -> PostView:
    seen = await use_cases.posts.write(body.to_draft(), user)
    response.headers["Location"] = f"{request.scope.get('root_path', '')}/posts/{seen.post.id}"
    return PostView.of(seen)


@protected.get("/posts/{post_id}", summary="One post", responses=documented(401, 404, 422, 503))
async def read_post(post_id: PostPath, user: CurrentUser, use_cases: UseCases) -> PostView:
    return PostView.of(await use_cases.posts.read(PostId(post_id), user))


@protected.put(
    "/posts/{post_id}",
    summary="Replace a post",
    responses=documented(401, 403, 404, 415, 422, 429, 503),
)
async def replace_post(
    post_id: PostPath, body: PostBody, user: CurrentUser, use_cases: UseCases
) -> PostView:
    return PostView.of(await use_cases.posts.edit(PostId(post_id), body.to_draft(), user))


@protected.delete(
    "/posts/{post_id}",
    status_code=204,
    response_class=Response,
    summary="Delete a post",
    responses=documented(401, 403, 404, 422, 429, 503),
)
async def delete_post(post_id: PostPath, user: CurrentUser, use_cases: UseCases) -> None:
    await use_cases.posts.delete(PostId(post_id), user)
