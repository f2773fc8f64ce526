"""The usual way, as the lessons teach it: FastAPI with a sync SQLAlchemy session per request.

`def` routes in the thread pool, `get_db` as a `yield` dependency, psycopg2, python-jose, an ORM
query for the user, pydantic response models. One kindness: the owners of a list come with it
(`joinedload`), where the lessons ask once per post. A deactivated user is not refused: the lessons
don't.
"""

import os
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, status
from fastapi.security import OAuth2PasswordBearer
from jose import JWTError, jwt
from pydantic import BaseModel, ConfigDict
from sqlalchemy import ForeignKey, create_engine, func
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    joinedload,
    mapped_column,
    relationship,
    sessionmaker,
)

engine = create_engine(os.environ["DATABASE_URL"])
SessionLocal = sessionmaker(autocommit=False, autoflush=False, bind=engine)
oauth2_scheme = OAuth2PasswordBearer(tokenUrl="login")


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    password: Mapped[str]
    is_active: Mapped[bool] = mapped_column(server_default="true")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Post(Base):
    __tablename__ = "posts"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    content: Mapped[str]
    published: Mapped[bool] = mapped_column(server_default="true")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    owner_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    owner: Mapped[User] = relationship()


class UserOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    id: int
    email: str
    name: str
    is_active: bool
    created_at: datetime


class Owner(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    id: int
    name: str


class PostCreate(BaseModel):
    title: str
    content: str
    published: bool = True


class PostOut(PostCreate):
    model_config = ConfigDict(from_attributes=True)
    id: int
    created_at: datetime
    owner_id: int
    owner: Owner


def get_db() -> Iterator[Session]:
    db = SessionLocal()
    try:
        yield db
    finally:
        db.close()


Db = Annotated[Session, Depends(get_db)]


def get_current_user(token: Annotated[str, Depends(oauth2_scheme)], db: Db) -> User:
    refused = HTTPException(
        status_code=status.HTTP_401_UNAUTHORIZED,
        detail="Could not validate credentials",
        headers={"WWW-Authenticate": "Bearer"},
    )
    try:
        payload = jwt.decode(token, os.environ["SECRET_KEY"], algorithms=["HS256"])
    except JWTError:
        raise refused from None
    user = db.query(User).filter(User.id == payload.get("user_id")).first()
    if user is None:
        raise refused
    return user


CurrentUser = Annotated[User, Depends(get_current_user)]
app = FastAPI()


@app.get("/users/me", response_model=UserOut)
def me(current_user: CurrentUser) -> User:
    return current_user


@app.get("/posts", response_model=list[PostOut])
def get_posts(db: Db, current_user: CurrentUser, limit: int = 10, skip: int = 0) -> list[Post]:
    newest = db.query(Post).options(joinedload(Post.owner)).order_by(Post.id.desc())
    return newest.limit(limit).offset(skip).all()


@app.get("/posts/{id}", response_model=PostOut)
def get_post(id: int, db: Db, current_user: CurrentUser) -> Post:
    post = db.query(Post).filter(Post.id == id).first()
    if post is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, f"Post with id: {id} was not found")
    return post


@app.post("/posts", status_code=status.HTTP_201_CREATED, response_model=PostOut)
def create_post(post: PostCreate, db: Db, current_user: CurrentUser) -> Post:
    new_post = Post(owner_id=current_user.id, **post.model_dump())
    db.add(new_post)
    db.commit()
    db.refresh(new_post)
    return new_post


@app.put("/posts/{id}", response_model=PostOut)
def replace_post(id: int, post: PostCreate, db: Db, current_user: CurrentUser) -> Post:
    query = db.query(Post).filter(Post.id == id)
    found = query.first()
    if found is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, f"Post with id: {id} was not found")
    if found.owner_id != current_user.id:
        raise HTTPException(status.HTTP_403_FORBIDDEN, "Not authorized to perform this action")
    query.update(post.model_dump(), synchronize_session=False)
    db.commit()
    return query.first()
