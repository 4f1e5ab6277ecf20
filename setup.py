"""Builds the compiled edition: the compiled modules, by Cython, from the very .py files the pure edition runs.

With ``EDGELOOP_PURE=1`` in the environment, or without a C compiler, the package installs as the pure edition.
Everything that is not about the extension modules stands in pyproject.toml.
"""

from __future__ import annotations

import os
import re
import runpy
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

if not sys.platform.startswith("linux"):
    sys.exit(f"edgeloop needs Linux, for epoll; this is {sys.platform}")

# Before it, the code that Cython makes lets go of an attribute's old value first, and what runs then finds it there.
OLDEST_CYTHON = (3, 3, 1)

# Compiled modules only: what works once per connection or once per loop stays plain Python.
COMPILED = (
    "kernel/calls.pyx",
    "kernel/interpreter.pyx",
    "kernel/epoll.pyx",
    "kernel/sockets.pyx",
    "kernel/pipes.pyx",
    "kernel/datagrams.pyx",
    "core/timer_heap.pyx",
    "core/handles.py",
    "core/reactor.py",
    "core/schedule.py",
    "loop/tasks.py",
    "loop/watch.py",
    "transports/base.py",
    "transports/flow.py",
    "transports/stream.py",
    "transports/pipe.py",
    "transports/datagram.py",
    "transports/tls/state.py",
    "transports/tls/engine.py",
    "transports/tls/libssl.pyx",
    "transports/tls/openssl.pyx",
    "transports/tls/records.py",
    "transports/tls/writing.py",
    "transports/tls/reading.py",
    "transports/tls/transport.py",
    "transports/tls/protocol.py",
    "serving/listener.py",
    "streams/cores.py",
)


class BuildIfThereIsACompiler(build_ext):
    """Builds the extension modules, as many at a time as there are cores, or says why there are none."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.parallel = self.parallel or len(os.sched_getaffinity(0))

    def run(self) -> None:
        try:
            super().run()
        except Exception as exc:  # the classes of setuptools' compile errors have moved from release to release
            print(f"warning: edgeloop will run as its pure edition, it could not be compiled: {exc}", file=sys.stderr)
            self.extensions = []  # or the wheel would look for what they should have become


def kernel_headers_changed() -> bool:
    """Whether a header of the kernel package is younger than a C file made with it.

    Cython looks after the other headers. It doesn't see those that are taken whole: ``from edgeloop.kernel cimport calls``.
    """
    headers = [header.stat().st_mtime for header in Path("edgeloop").glob("kernel/*.pxd")]
    made = [source.stat().st_mtime for source in Path("build/cython").rglob("*.c")]
    return bool(made) and max(headers) > min(made)


def extensions() -> list[Extension]:
    """The extension modules, one for each compiled module."""
    try:
        if runpy.run_path("edgeloop/_pure.py")["is_asked_for"]():
            return []
    except ValueError as exc:
        sys.exit(str(exc))
    from Cython import __version__ as cython
    from Cython.Build import cythonize

    if tuple(int(part) for part in re.findall(r"\d+", cython)[:3]) < OLDEST_CYTHON:
        needed = ".".join(map(str, OLDEST_CYTHON))
        sys.exit(
            f"edgeloop needs Cython {needed} to be compiled, or it would use objects after their end; this is {cython}"
        )

    modules = [
        Extension(
            "edgeloop." + str(Path(source).with_suffix("")).replace("/", "."),
            [f"edgeloop/{source}"],
            extra_compile_args=["-fvisibility=hidden"],
        )
        for source in COMPILED
    ]
    return cythonize(  # type: ignore[no-any-return]
        modules,
        build_dir="build/cython",
        force=kernel_headers_changed(),
        compiler_directives={
            "language_level": 3,
            "annotation_typing": False,  # C types come from the .pxd files alone
            "nonecheck": True,  # an object that was never initialised raises, where C would crash
            "initializedcheck": False,
            "binding": True,
        },
    )


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildIfThereIsACompiler})
