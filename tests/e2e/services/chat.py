"""A chat service as users write them, with nothing of ours in it; the path says how the answer ends."""

import asyncio
import random

from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from starlette.middleware.gzip import GZipMiddleware

app = FastAPI()
app.add_middleware(GZipMiddleware)


def event(n, finish=None):
    reason = "null" if finish is None else f'"{finish}"'
    return (
        f'data: {{"id":"c","object":"chat.completion.chunk","model":"m","choices":'
        f'[{{"index":0,"delta":{{"content":"word {n}"}},"finish_reason":{reason}}}]}}\n\n'
    )


@app.get("/v1/{ending}")
async def chat(ending: str, chunks: int = 8, pause: float = 0.002):
    async def generate():
        for n in range(chunks):
            yield event(n)
            await asyncio.sleep(pause)
            if ending == "raises" and n == chunks // 2:
                raise ValueError("by the path's wish")
        if ending == "unfinished":
            return
        if ending == "in_band_error":
            yield 'data: {"error":{"message":"overloaded"}}\n\n'
        else:
            yield event(chunks, "stop")
        yield "data: [DONE]\n\n"

    if ending == "fails":
        raise RuntimeError("before the headers, by the path's wish")
    return StreamingResponse(generate(), media_type="text/event-stream")


@app.get("/cut/{seed}")
async def cut(seed: int):
    """Some bytes, cut at random, under a random content type."""
    rng = random.Random(seed)
    media_type = rng.choice(["text/event-stream", "application/x-ndjson", "text/plain", "application/octet-stream"])

    async def generate():
        for _ in range(rng.randrange(1, 30)):
            yield rng.choice(
                [rng.randbytes(rng.randrange(1, 3000)), b": ping\n\n", event(1).encode(), b"\n", b"data: \r"]
            )
        if seed % 3 == 0:
            raise ValueError("every third one breaks")

    return StreamingResponse(generate(), media_type=media_type, headers={"x-seed": str(seed)})


@app.get("/plain")
async def plain():
    return {"hello": "world"}
