"""fastapi-users as its documentation sets it up: SQLAlchemy's async session, the JWT strategy.

The full example on asyncpg. `GET /users/me` is the library's own router; the post routes stand on
`current_active_user` and `get_async_session`, with the owner loaded in the post's query.
"""

import os
import uuid
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, status
from fastapi_users import BaseUserManager, FastAPIUsers, UUIDIDMixin, schemas
from fastapi_users.authentication import AuthenticationBackend, BearerTransport, JWTStrategy
from fastapi_users.db import SQLAlchemyBaseUserTableUUID, SQLAlchemyUserDatabase
from pydantic import BaseModel, ConfigDict
from sqlalchemy import ForeignKey, func, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, joinedload, mapped_column, relationship

SECRET = os.environ["SECRET_KEY"]
DATABASE_URL = os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://")


class Base(DeclarativeBase):
    pass


class User(SQLAlchemyBaseUserTableUUID, Base):
    name: Mapped[str]


class Post(Base):
    __tablename__ = "posts"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    content: Mapped[str]
    published: Mapped[bool] = mapped_column(server_default="true")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    owner_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))
    owner: Mapped[User] = relationship()


class UserRead(schemas.BaseUser[uuid.UUID]):
    name: str


class UserUpdate(schemas.BaseUserUpdate):
    name: str | None = None


class Owner(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    id: uuid.UUID
    name: str


class PostCreate(BaseModel):
    title: str
    content: str
    published: bool = True


class PostRead(PostCreate):
    model_config = ConfigDict(from_attributes=True)
    id: int
    created_at: datetime
    owner_id: uuid.UUID
    owner: Owner


engine = create_async_engine(DATABASE_URL)
async_session_maker = async_sessionmaker(engine, expire_on_commit=False)


async def get_async_session() -> AsyncIterator[AsyncSession]:
    async with async_session_maker() as session:
        yield session


DbSession = Annotated[AsyncSession, Depends(get_async_session)]


async def get_user_db(
    session: DbSession,
) -> AsyncIterator[SQLAlchemyUserDatabase[User, uuid.UUID]]:
    yield SQLAlchemyUserDatabase(session, User)


class UserManager(UUIDIDMixin, BaseUserManager[User, uuid.UUID]):
    reset_password_token_secret = SECRET
    verification_token_secret = SECRET


async def get_user_manager(
    user_db: Annotated[SQLAlchemyUserDatabase[User, uuid.UUID], Depends(get_user_db)],
) -> AsyncIterator[UserManager]:
    yield UserManager(user_db)


def get_jwt_strategy() -> JWTStrategy[User, uuid.UUID]:
    return JWTStrategy(secret=SECRET, lifetime_seconds=3600)


auth_backend = AuthenticationBackend(
    name="jwt",
    transport=BearerTransport(tokenUrl="auth/jwt/login"),
    get_strategy=get_jwt_strategy,
)
fastapi_users = FastAPIUsers[User, uuid.UUID](get_user_manager, [auth_backend])
current_active_user = fastapi_users.current_user(active=True)
CurrentUser = Annotated[User, Depends(current_active_user)]

app = FastAPI()
app.include_router(fastapi_users.get_users_router(UserRead, UserUpdate), prefix="/users")


@app.get("/posts", response_model=list[PostRead])
async def get_posts(session: DbSession, user: CurrentUser, limit: int = 10) -> Sequence[Post]:
    newest = select(Post).options(joinedload(Post.owner)).order_by(Post.id.desc())
    return (await session.scalars(newest.limit(limit))).all()


@app.get("/posts/{id}", response_model=PostRead)
async def get_post(id: int, session: DbSession, user: CurrentUser) -> Post:
    statement = select(Post).options(joinedload(Post.owner)).where(Post.id == id)
    post = await session.scalar(statement)
    if post is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, f"Post with id: {id} was not found")
    return post


@app.post("/posts", status_code=status.HTTP_201_CREATED, response_model=PostRead)
async def create_post(draft: PostCreate, session: DbSession, user: CurrentUser) -> Post:
    post = Post(owner=user, **draft.model_dump())
    session.add(post)
    await session.commit()
    return post


@app.put("/posts/{id}", response_model=PostRead)
async def replace_post(id: int, draft: PostCreate, session: DbSession, user: CurrentUser) -> Post:
    post = await session.get(Post, id)
    if post is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, f"Post with id: {id} was not found")
    if post.owner_id != user.id:
        raise HTTPException(status.HTTP_403_FORBIDDEN, "Not the owner")
    post.title, post.content, post.published = draft.title, draft.content, draft.published
    post.owner = user
    await session.commit()
    return post
