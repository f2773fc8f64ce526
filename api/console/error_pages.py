"""Pages of errors that no page of the console shows itself."""

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from api.console.rendering import is_of_console, page
from api.errors import on_http_exception, phrase
from api.request_context import request_context

_DETAILS = {
    404: "There is no such page.",
    405: "There is nothing to see at this address. It takes forms of other pages.",
    413: "That is too long for a form.",
}


def refused(request: Request, status: int, detail: str | None = None) -> Response:
    """The page of an error of the framework; `detail`: what it says besides the status."""
    title = phrase(status)
    request_context(request).error = title.lower().replace(" ", "_")
    detail = detail or _DETAILS.get(status, "")
    return page(request, "refused.html", status=status, title=title, detail=detail)


def add_error_pages(app: FastAPI) -> None:
    """Answer with a page, below `/console`, where no route does. The API's handlers are set."""

    async def answer(request: Request, error: HTTPException) -> Response:
        of_api = await on_http_exception(request, error)
        if not is_of_console(request):
            return of_api
        of_page = refused(request, of_api.status_code)
        if allow := of_api.headers.get("Allow"):
            of_page.headers["Allow"] = allow
        return of_page

    app.exception_handler(HTTPException)(answer)


def with_failure_pages(of_api: ASGIApp) -> ASGIApp:
    """The answer to a request that failed on our side: a page in the console, else `of_api`."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        if not is_of_console(request):
            await of_api(scope, receive, send)
            return
        context = request_context(request)
        is_stopped = context.error == "stopped"
        failed = page(
            request,
            "refused.html",
            status=503 if is_stopped else 500,
            headers={"Retry-After": "1"} if is_stopped else {},
            title="Something went wrong on our side",
            detail="Try again in a moment. If it happens again, tell whoever runs this service the"
            f" number of the request: {context.request_id}",
        )
        await failed(scope, receive, send)

    return answer
