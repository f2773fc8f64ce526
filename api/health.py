"""Health probes: liveness and readiness."""

from typing import Literal

from fastapi import Request
from pydantic import BaseModel

from api.dependencies import ServicePorts
from api.request_context import is_draining
from api.routing import public_router
from application.errors import raises
from domain.errors import Unavailable

public = public_router("operations", prefix="/health")


class NotReady(Unavailable):
    """`detail` names what is down."""


class HealthView(BaseModel):
    status: Literal["ok"] = "ok"


@public.get("/live", summary="Is the process alive?")
async def is_live() -> HealthView:
    return HealthView()


@public.get("/ready", summary="Can it serve?")
@raises(NotReady)
async def is_ready(ports: ServicePorts, request: Request) -> HealthView:
    if is_draining(request.scope):
        raise NotReady("Not ready: draining")
    down = await ports.queries.ready()
    if down:
        raise NotReady(f"Not ready: {', '.join(down)}")
    return HealthView()
