"""Probes: whether the process lives, and whether it can serve."""

from typing import Literal

from pydantic import BaseModel

from api.dependencies import UseCases
from api.errors import documented
from api.routes import router
from domain.errors import Unavailable

public = router("operations", prefix="/health")


class NotReady(Unavailable):
    """Names what is down."""


class HealthView(BaseModel):
    status: Literal["ok"] = "ok"


@public.get("/live", summary="Is the process alive?")
async def is_live() -> HealthView:
    return HealthView()


@public.get("/ready", summary="Can it serve?", responses=documented(503))
async def is_ready(use_cases: UseCases) -> HealthView:
    down = await use_cases.what_is_down()
    if down:
        raise NotReady(f"Not ready: {', '.join(down)}")
    return HealthView()
