"""CORS. Refused preflight requests get a problem, as all errors do."""

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.errors import problem_response
from api.request_context import SCOPE_KEY, RequestContext

# Scripts send tokens in the header Authorization, so credentials (cookies) are never allowed.
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
        return response if response.status_code < 400 else _Refusal()


class _Refusal(Response):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context: RequestContext = scope[SCOPE_KEY]
        context.error = "cors_refused"
        response = problem_response(
            400,
            context.error,
            "The origin, the method or a header is not allowed here",
            context.request_id,
            headers={"Vary": "Origin"},
        )
        await response(scope, receive, send)
