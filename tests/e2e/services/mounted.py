"""The same service mounted in another one, behind a BaseHTTPMiddleware and GZip."""

import chat
from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware

app = FastAPI()
app.mount("/tenants/{tenant}", chat.app)
app.add_middleware(GZipMiddleware)


@app.middleware("http")
async def between(request, call_next):
    return await call_next(request)
