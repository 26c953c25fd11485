"""The contract for machines and people: ``/openapi.json``, ``/docs`` (Swagger UI), ``/redoc``.

Scripts and styles are those that ``fastapi-offline`` carries. The pages' policy keeps browsers from
fetching anything else: they work without the internet and send nothing there.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from fastapi import APIRouter, FastAPI
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.staticfiles import StaticFiles

from modelyard.api.contract.declare import JsonObject
from modelyard.api.contract.document import openapi_document

DOCUMENT = "/openapi.json"
_ASSETS = "/docs/assets"
_POLICY = {
    "Content-Security-Policy": "default-src 'none'; connect-src 'self'; "
    "script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; worker-src blob:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}


def add_pages(app: FastAPI, routers: Sequence[APIRouter]) -> None:
    """Serve the contract of ``routers`` from ``app``."""

    @cache
    def document() -> JsonObject:
        return openapi_document(routers)

    async def openapi() -> JSONResponse:
        return JSONResponse(document())

    async def swagger() -> HTMLResponse:
        page = get_swagger_ui_html(
            openapi_url=DOCUMENT,
            title="Modelyard API",
            swagger_js_url=f"{_ASSETS}/swagger-ui-bundle.js",
            swagger_css_url=f"{_ASSETS}/swagger-ui.css",
            swagger_favicon_url=f"{_ASSETS}/favicon.png",
        )
        return _guarded(page)

    async def redoc() -> HTMLResponse:
        page = get_redoc_html(
            openapi_url=DOCUMENT,
            title="Modelyard API",
            redoc_js_url=f"{_ASSETS}/redoc.standalone.js",
            redoc_favicon_url=f"{_ASSETS}/favicon.png",
            with_google_fonts=False,
        )
        return _guarded(page)

    for path, answer in ((DOCUMENT, openapi), ("/docs", swagger), ("/redoc", redoc)):
        app.add_api_route(path, answer, include_in_schema=False, response_model=None)
    folder = files("fastapi_offline") / "static"
    app.mount(_ASSETS, StaticFiles(directory=str(folder)), name="docs-assets")


def _guarded(page: HTMLResponse) -> HTMLResponse:
    page.headers.update(_POLICY)
    return page
