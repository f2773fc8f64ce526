from dataclasses import asdict, dataclass

import pytest

from application.ports.queries import AuditEntry
from domain.events import Event, EventId
from domain.posts import Post
from domain.users import Role, User, UserId
from infrastructure.database.driver.mapping import Mapping
from infrastructure.database.driver.sqlite import DIALECT
from infrastructure.database.events import EVENT
from infrastructure.database.posts import POST, PostRow
from infrastructure.database.users import UserRow
from tests.factories import PostFactory, UserFactory
from tests.fakes.clock import NOON

USER = Mapping(UserRow, User)
POST_STORED: Post = PostFactory.build()
HAPPENED = AuditEntry(
    id=EventId(7),
    event=Event.of("post_edited", "post:3", actor_id=UserId(1), at=NOON, title=True),
    request_id=None,
    ip="192.0.2.1",
)


@pytest.mark.parametrize(
    ("mapping", "entity"),
    [(POST, POST_STORED), (USER, UserFactory.build(role=Role.MODERATOR)), (EVENT, HAPPENED)],
    ids=["post", "user", "event"],
)
def test_an_entity_is_rebuilt_from_its_columns(mapping: Mapping[object], entity: User) -> None:
    values = mapping.values(entity)

    again = mapping.of([*(values[column.name] for column in mapping.columns), "of another table"])

    assert type(again) is type(entity)
    assert asdict(again) == asdict(entity)


def test_an_enum_is_made_from_its_value() -> None:
    user: User = UserFactory.build()
    values = USER.values(user) | {"role": "admin"}

    assert USER.of(list(values.values())).role is Role.ADMIN


@dataclass(slots=True, kw_only=True, eq=False)
class PostWithMore(Post):
    homeless: str


def test_a_field_without_a_column_is_refused_in_one_line() -> None:
    with pytest.raises(TypeError, match=r"^PostRow has no column for PostWithMore\.homeless$"):
        Mapping(PostRow, PostWithMore)


def test_an_update_keeps_key_and_owner_and_expects_the_previous_version() -> None:
    changed, _, where = str(POST.update.compile(dialect=DIALECT)).partition(" WHERE ")

    assert {"title=?", "version=?"} <= set(changed.partition("SET ")[2].split(", "))
    assert "id=?" not in changed
    assert where == "posts.id = ? AND posts.version = ? - ? RETURNING id"


def test_an_insert_leaves_other_columns_with_a_default_to_the_database() -> None:
    for statement in (POST.insert, POST.insert_numbered):
        columns = str(statement.compile(dialect=DIALECT)).partition("(")[2].partition(")")[0]
        assert {"title", "owner_id", "version"} <= set(columns.split(", "))
        assert "votes" not in columns
        assert ("id" in columns.split(", ")) is (statement is POST.insert_numbered)


def test_an_insert_takes_other_columns_without_a_default() -> None:
    sql = str(USER.insert.compile(dialect=DIALECT))

    assert "email_key" in sql
    assert "password_hash" in sql
