"""CORS whose refusals are problems as all others are."""

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.errors import problem_response
from api.request_context import SCOPE_KEY, RequestContext

# Authorization travels in a header that scripts set, so no credentials (cookies) are ever allowed.
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
HEADERS = ("Authorization", "Content-Type", "If-Match", "If-None-Match", "Idempotency-Key")
EXPOSED = (
    "ETag",
    "Link",
    "Location",
    "Retry-After",
    "RateLimit",
    "RateLimit-Policy",
    "X-Request-ID",
)


class Cors(CORSMiddleware):
    def preflight_response(self, request_headers: Headers) -> Response:
        response = super().preflight_response(request_headers)
        if response.status_code < 400:
            return response
        return _Refusal(headers={"Vary": response.headers["Vary"]})


class _Refusal(Response):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange: RequestContext = scope[SCOPE_KEY]
        response = problem_response(
            400,
            "cors_refused",
            "The origin, the method or a header is not allowed here",
            exchange.request_id,
            headers=self.headers,
        )
        await response(scope, receive, send)
