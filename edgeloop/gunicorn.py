"""gunicorn's asynchronous workers on edgeloop.

    gunicorn --worker-class edgeloop.gunicorn.AiohttpWorker app:app   # needs aiohttp
    gunicorn --worker-class edgeloop.gunicorn.UvicornWorker app:app   # needs uvicorn-worker
    gunicorn --worker-class edgeloop.gunicorn.ASGIWorker app:app      # gunicorn's own, since gunicorn 24

Each is the worker class of that package (``aiohttp.worker.GunicornWebWorker``, ``uvicorn_worker.UvicornWorker``,
``gunicorn.workers.gasgi.ASGIWorker``) with its loop replaced, and can be derived from like it. A class is made when it is
asked for, since edgeloop itself needs none of the packages; ImportError where the package is missing.

https://docs.gunicorn.org/en/stable/settings.html#worker-class
"""

from __future__ import annotations

import functools
from typing import Any

from . import policy

# In all of them the loop is made after the fork, in the worker: the master has none that a child could inherit.


@functools.cache
def _aiohttp_worker() -> type[Any]:
    from aiohttp.worker import GunicornWebWorker

    class AiohttpWorker(GunicornWebWorker):
        """aiohttp's worker, for ``aiohttp.web`` applications and coroutine functions that return one."""

        def init_process(self) -> None:
            policy.make_default()  # it asks asyncio for a new loop
            super().init_process()

    return AiohttpWorker


@functools.cache
def _uvicorn_worker() -> type[Any]:
    from uvicorn_worker import UvicornWorker as Base  # type: ignore[import-untyped]

    class UvicornWorker(Base):  # type: ignore[misc]  # the package has no types
        """uvicorn's worker, for ASGI applications."""

        CONFIG_KWARGS = {**Base.CONFIG_KWARGS, "loop": "edgeloop:new_event_loop"}  # noqa: RUF012

    return UvicornWorker


@functools.cache
def _asgi_worker() -> type[Any]:
    from gunicorn.workers.gasgi import ASGIWorker as Base  # type: ignore[import-untyped]

    class ASGIWorker(Base):  # type: ignore[misc]  # the package has no types
        """gunicorn's own worker for ASGI applications; it takes the place of its setting ``asgi_loop``."""

        def init_process(self) -> None:
            policy.make_default()
            self.cfg.set("asgi_loop", "asyncio")  # the choice that asks asyncio for a new loop
            super().init_process()

    return ASGIWorker


_WORKERS = {"AiohttpWorker": _aiohttp_worker, "UvicornWorker": _uvicorn_worker, "ASGIWorker": _asgi_worker}


def __getattr__(name: str) -> Any:
    try:
        make = _WORKERS[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    worker = make()
    worker.__module__ = __name__
    worker.__qualname__ = name
    return worker
