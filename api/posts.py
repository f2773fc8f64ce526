"""Posts of the current user and of others."""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter

from api.dependencies import CurrentUser, UseCases
from api.etags import ETAG, Conditions, Preconditions, etag
from api.idempotency import REPLAYED, IdempotencyKey
from api.ids import Id
from api.pages import LINK, PageQuery, link_next, position
from api.routing import protected_router
from application.errors import raises
from application.ports.queries import PostDetails, PostList, Sort
from application.posts import PostService
from application.services import Services
from domain.fields import field_paths, maker
from domain.posts import CONTENT_MAX, TITLE_MAX, PostChanged, PostContent, PostId, PostPatch
from domain.scopes import Scope
from domain.search import QUERY_MAX, terms_of
from domain.users import User, UserId

protected = protected_router("posts")

# No NUL, which PostgreSQL's text type cannot store, and in a title something besides whitespace.
_TITLE = r"^[^\u0000]*[^\s\u0000\u0085][^\u0000]*$"
_CONTENT = r"^[^\u0000]*$"

Title = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=TITLE_MAX, pattern=_TITLE),
    Field(examples=["Hello"]),
]
Content = Annotated[
    str,
    StringConstraints(min_length=1, max_length=CONTENT_MAX, pattern=_CONTENT),
    Field(examples=["First post."]),
]
PostPath = Annotated[Id, Path(description="The post's id")]


def _without_defaults(schema: dict[str, Any]) -> None:
    for member in schema["properties"].values():
        member.pop("default", None)


class PostBody(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    title: Title
    content: Content
    published: bool = True

    def to_content(self) -> PostContent:
        return PostContent(**vars(self))


class PostReplacementBody(PostBody):
    model_config = ConfigDict(json_schema_extra=_without_defaults)

    published: bool = Field(True, description="Left out: as it was")

    def to_patch(self) -> PostPatch:
        return PostPatch({name: getattr(self, name) for name in self.model_fields_set})


class PostPatchBody(BaseModel):
    """A merge patch (RFC 7396): what is left out stays as it is. Nothing of a post can be null."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra=_without_defaults)

    # Their defaults are never seen: what was not sent is not looked at.
    title: Title = ""
    content: Content = ""
    published: bool = True

    def to_patch(self) -> PostPatch:
        return PostPatch({name: getattr(self, name) for name in self.model_fields_set})


@dataclass(slots=True, kw_only=True)
class OwnerView:
    id: Annotated[int, Field(examples=[1])]
    name: Annotated[str | None, Field(examples=["Anna"])]


# A dataclass, and not a model: a list makes twenty of them, and what we say needs no checking.
@dataclass(slots=True, kw_only=True)
class PostView:
    id: Annotated[int, Field(examples=[7])]
    title: Annotated[str, Field(examples=["Hello"])]
    content: Annotated[str, Field(examples=["First post."])]
    published: bool
    created_at: datetime
    updated_at: datetime
    version: Annotated[int, Field(description="Counts the edits, from 1", examples=[1])]
    owner_id: Annotated[int, Field(examples=[1])]
    owner: OwnerView
    votes: Annotated[int, Field(examples=[0])]
    voted: Annotated[bool, Field(description="Whether the current user voted for it")]

    @staticmethod
    def of(details: PostDetails) -> "PostView":
        return _VIEW_OF(details)


_PATHS = field_paths(PostDetails)
_VIEW_OF = maker(
    PostView,
    {field.name: f"it.{_PATHS[field.name]}" for field in fields(PostView) if field.name != "owner"}
    | {"owner": "OwnerView(id=it.post.owner_id, name=it.owner_name)"},
    OwnerView=OwnerView,
)


class PostsQuery(PageQuery):
    q: str | None = Field(
        None,
        description="Only posts with these words in title or content: `red fox` both, "
        '`"red fox"` side by side, `fo*` beginning so. Case and punctuation do not count, nor '
        f"what is behind the first {QUERY_MAX} characters; without a word in it, it finds all.",
        examples=["red fox"],
    )
    owner_id: Id | None = Field(None, description="Only posts of this user")
    published: bool | None = Field(None, description="Only posts, or only drafts")
    sort: Literal["newest", "oldest", "top"] = Field("newest", description="`top`: by votes")

    def to_list(self, viewer: User, after: tuple[int, ...] | None) -> PostList:
        return PostList(
            viewer=viewer,
            limit=self.limit,
            after=after,
            sort=Sort(self.sort),
            owner_id=None if self.owner_id is None else UserId(self.owner_id),
            published=self.published,
            terms=() if self.q is None else terms_of(self.q),
        )


_POST = TypeAdapter(PostView)
_LOCATION = {
    "Location": {
        "description": "The new post's path",
        "schema": {"type": "string"},
        "example": "/posts/7",
    }
}
_LINKED: dict[int | str, dict[str, Any]] = {200: {"headers": LINK}}
_TAGGED: dict[int | str, dict[str, Any]] = {200: {"headers": ETAG}}
_MERGE_PATCH = {
    "application/merge-patch+json": {"schema": {"$ref": "#/components/schemas/PostPatchBody"}}
}
_CREATED: dict[int | str, dict[str, Any]] = {
    201: {
        "headers": _LOCATION | ETAG | REPLAYED,
        "links": {
            operation: {
                "operationId": operation,
                "parameters": {"post_id": "$response.body#/id"},
            }
            for operation in ("read_post", "change_post", "delete_post", "cast_vote")
        },
    }
}


@protected.get(
    "/posts",
    scope=Scope.POSTS_READ,
    summary="List posts",
    description="A page ends early once it has about 1 MiB of content: follow `Link`.",
    responses=_LINKED,
)
@raises(PostService.list)
async def list_posts(
    query: Annotated[PostsQuery, Query()],
    request: Request,
    response: Response,
    user: CurrentUser,
    use_cases: UseCases,
) -> list[PostView]:
    page = await use_cases.posts.list(query.to_list(user, position(query, request)))
    link_next(page, query, request, response)
    return [PostView.of(seen) for seen in page.items]


@protected.post(
    "/posts",
    scope=Scope.POSTS_WRITE,
    status_code=201,
    response_model=PostView,
    summary="Write a post",
    responses=_CREATED,
)
@raises(PostService.write, PostService.write_once)
async def create_post(
    body: PostBody,
    request: Request,
    user: CurrentUser,
    use_cases: UseCases,
    key: IdempotencyKey,
) -> Response:
    if key is None:
        seen, replayed = await use_cases.posts.write(body.to_content(), user), False
    else:
        seen, replayed = await use_cases.posts.write_once(body.to_content(), user, key)
    answer, headers = _represented(seen)
    if replayed:
        headers["Idempotency-Replayed"] = "true"
    headers["Location"] = f"{request.scope.get('root_path', '')}/posts/{seen.post.id}"
    return Response(answer, 201, headers, "application/json")


@protected.get(
    "/posts/{post_id}",
    scope=Scope.POSTS_READ,
    response_model=PostView,
    summary="One post",
    responses=_TAGGED | {304: {"description": "Not Modified", "headers": ETAG}},
)
@raises(PostService.read, PostChanged)
async def read_post(
    post_id: PostPath, user: CurrentUser, use_cases: UseCases, conditions: Conditions
) -> Response:
    details = await use_cases.posts.read(PostId(post_id), user)
    body, headers = _represented(details)
    if not conditions.accept(details.post.version):
        raise PostChanged
    if conditions.exclude(headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(body, 200, headers, "application/json")


@protected.put(
    "/posts/{post_id}",
    scope=Scope.POSTS_WRITE,
    response_model=PostView,
    summary="Replace a post",
    responses=_TAGGED,
)
@raises(PostService.edit)
async def replace_post(
    post_id: PostPath,
    body: PostReplacementBody,
    user: CurrentUser,
    use_cases: UseCases,
    conditions: Conditions,
) -> Response:
    versions = await _expected_versions(PostId(post_id), conditions, user, use_cases)
    return _answer(await use_cases.posts.edit(PostId(post_id), body.to_patch(), user, versions))


@protected.patch(
    "/posts/{post_id}",
    scope=Scope.POSTS_WRITE,
    response_model=PostView,
    summary="Change a post",
    description="`{}` changes nothing, and `version` stays.",
    responses=_TAGGED,
    openapi_extra={"requestBody": {"content": _MERGE_PATCH}},
)
@raises(PostService.edit)
async def change_post(
    post_id: PostPath,
    body: PostPatchBody,
    user: CurrentUser,
    use_cases: UseCases,
    conditions: Conditions,
) -> Response:
    versions = await _expected_versions(PostId(post_id), conditions, user, use_cases)
    return _answer(await use_cases.posts.edit(PostId(post_id), body.to_patch(), user, versions))


@protected.delete(
    "/posts/{post_id}",
    scope=Scope.POSTS_WRITE,
    status_code=204,
    response_class=Response,
    summary="Delete a post",
)
@raises(PostService.delete)
async def delete_post(
    post_id: PostPath, user: CurrentUser, use_cases: UseCases, conditions: Conditions
) -> None:
    versions = await _expected_versions(PostId(post_id), conditions, user, use_cases)
    await use_cases.posts.delete(PostId(post_id), user, versions)


async def _expected_versions(
    post_id: PostId, conditions: Preconditions, user: User, use_cases: Services
) -> frozenset[int] | None:
    """The versions that a change may be applied to; None: any.

    If-None-Match is compared with what the client would read now. A change is then applied to that
    version or to none, so that another change in between is a 412 as well.
    """
    if not conditions.tags:
        return conditions.versions
    details = await use_cases.posts.read(post_id, user)
    _, headers = _represented(details)
    if conditions.exclude(headers["ETag"]) or not conditions.accept(details.post.version):
        return frozenset()
    return frozenset({details.post.version})


def _represented(seen: PostDetails) -> tuple[bytes, dict[str, str]]:
    """The post's body, made here because its tag is a digest of it, and the tag's header."""
    body = _POST.serializer.to_json(PostView.of(seen))
    return body, {"ETag": etag(seen.post.version, body)}


def _answer(seen: PostDetails) -> Response:
    body, headers = _represented(seen)
    return Response(body, 200, headers, "application/json")
