"""The ceiling: FastAPI with no authentication and no database.

Its answers are constant and go through pydantic response models.
"""

from datetime import UTC, datetime

from fastapi import FastAPI
from pydantic import BaseModel


class User(BaseModel):
    id: int
    email: str
    name: str
    is_active: bool
    created_at: datetime


class Owner(BaseModel):
    id: int
    name: str


class PostDraft(BaseModel):
    title: str
    content: str
    published: bool = True


class Post(PostDraft):
    id: int
    created_at: datetime
    owner_id: int
    owner: Owner


NOW = datetime.now(UTC)
USER = User(id=1, email="user1@example.com", name="User 1", is_active=True, created_at=NOW)
POST = Post(
    id=1,
    title="Post 1",
    content="A constant post. " * 12,
    created_at=NOW,
    owner_id=1,
    owner=Owner(id=1, name="User 1"),
)

app = FastAPI()


@app.get("/users/me")
async def me() -> User:
    return USER


@app.get("/posts")
async def get_posts(limit: int = 10) -> list[Post]:
    return [POST] * limit


@app.get("/posts/{id}")
async def get_post(id: int) -> Post:
    return POST


@app.post("/posts", status_code=201)
async def create_post(draft: PostDraft) -> Post:
    return POST


@app.put("/posts/{id}")
async def replace_post(id: int, draft: PostDraft) -> Post:
    return POST
