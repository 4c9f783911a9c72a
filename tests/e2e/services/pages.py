"""Ordinary answers as users write them, no stream among them; PAGES chooses the framework."""

import asyncio
import os

BIG = {"rows": [{"n": n, "text": "x" * 180} for n in range(1000)]}


def fastapi():
    from fastapi import FastAPI
    from starlette.middleware.gzip import GZipMiddleware

    app = FastAPI()
    app.add_middleware(GZipMiddleware)

    @app.middleware("http")
    async def between(request, call_next):
        return await call_next(request)

    @app.get("/small")
    async def small():
        return {"hello": "world"}

    @app.get("/big")
    async def big():
        return BIG

    @app.get("/slow")
    def slow():
        return BIG

    return app


def django():
    import django
    from django.conf import settings
    from django.http import HttpResponse, JsonResponse
    from django.urls import path

    async def small(request):
        return JsonResponse({"hello": "world"})

    def big(request):
        return HttpResponse("<html>" + "x" * 200_000)

    async def slow(request):
        await asyncio.sleep(0.1)
        return HttpResponse("<html>" + "x" * 200_000)

    if not settings.configured:  # contrib's instrumentation does
        settings.configure()
    settings.ALLOWED_HOSTS, settings.SECRET_KEY, settings.LOGGING_CONFIG = ["*"], "x", None
    settings.MIDDLEWARE = [*(settings.MIDDLEWARE or ()), "django.middleware.gzip.GZipMiddleware"]
    urls = [path("small", small), path("big", big), path("slow", slow)]
    settings.ROOT_URLCONF = type("urls", (), {"urlpatterns": urls})
    django.setup()
    from django.core.handlers.asgi import ASGIHandler

    return ASGIHandler()


app = {"fastapi": fastapi, "django": django}[os.environ["PAGES"]]()
