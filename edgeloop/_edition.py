"""Which edition runs: decided here, before anything else of the package is imported.

The compiled modules lie side by side as ``reactor.py`` and, compiled, ``reactor.cpython-*.so``, and the import system prefers
the latter. The pure edition is had by a finder for this package's folders that knows source files only. It runs where
``EDGELOOP_PURE`` asks for it; where it runs because there is no other, a RuntimeWarning says why and what helps.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import sys
import sysconfig
import warnings
from pathlib import Path

from . import _pure

COMPILED_MODULES = (
    "kernel.calls",
    "kernel.interpreter",
    "kernel.epoll",
    "kernel.sockets",
    "kernel.pipes",
    "kernel.datagrams",
    "core.timer_heap",
    "core.handles",
    "core.reactor",
    "core.schedule",
    "loop.tasks",
    "loop.watch",
    "transports.base",
    "transports.flow",
    "transports.stream",
    "transports.pipe",
    "transports.datagram",
    "transports.tls.state",
    "transports.tls.engine",
    "transports.tls.libssl",
    "transports.tls.openssl",
    "transports.tls.records",
    "transports.tls.writing",
    "transports.tls.reading",
    "transports.tls.transport",
    "transports.tls.protocol",
    "serving.listener",
    "streams.cores",
)

HOME = Path(__file__).parent

# Of the import system, and needed to decide: they stay when an import of the compiled edition has failed.
_KEPT = {__name__, _pure.__name__}


def _is_compiled(module: str, home: Path = HOME) -> bool:
    stem = module.replace(".", "/")
    return any((home / (stem + suffix)).exists() for suffix in importlib.machinery.EXTENSION_SUFFIXES)


def _find_sources_only() -> None:
    for folder in {HOME, *((HOME / module.replace(".", "/")).parent for module in COMPILED_MODULES)}:
        sys.path_importer_cache[str(folder)] = importlib.machinery.FileFinder(
            str(folder),
            (importlib.machinery.SourceFileLoader, importlib.machinery.SOURCE_SUFFIXES),
            (importlib.machinery.SourcelessFileLoader, importlib.machinery.BYTECODE_SUFFIXES),
        )


def _in_subinterpreter() -> bool:
    try:
        if sys.version_info >= (3, 13):
            import _interpreters as interpreters
        else:
            import _xxsubinterpreters as interpreters  # type: ignore[import-not-found]
    except ImportError:  # a build without them
        return False
    return bool(interpreters.get_current() != interpreters.get_main())


def _hidden_installation() -> Path | None:
    """Return the folder of a compiled edgeloop further down sys.path, None if there is none."""
    for entry in sys.path:
        home = Path(entry or ".") / "edgeloop"
        if home.exists() and not home.samefile(HOME) and all(_is_compiled(module, home) for module in COMPILED_MODULES):
            return home
    return None


def _why_not_compiled() -> str | None:
    """Return what is missing, None if all modules are compiled. All or none: they call their neighbours through C."""
    missing = [module for module in COMPILED_MODULES if not _is_compiled(module)]
    if not missing:
        return None
    if len(missing) < len(COMPILED_MODULES):
        return f"{len(missing)} of its {len(COMPILED_MODULES)} modules are not compiled, {missing[0]} is one"
    if others := sorted(HOME.glob(f"{COMPILED_MODULES[0]}.*.so".replace(".", "/", 1))):
        return f"it is compiled for another Python ({others[0].name}), not for this one ({_tag()})"
    return f"nothing is compiled in {HOME}"


def _tag() -> str:
    return str(sysconfig.get_config_var("SOABI"))


def _remedy() -> str:
    if (hidden := _hidden_installation()) is not None:
        return (
            f"{HOME} hides the compiled edgeloop in {hidden}, because it comes first on sys.path: "
            "start Python in another folder or with -P"
        )
    if (HOME.parent / "setup.py").exists():
        return f"compile it: {sys.executable} -m pip install -e {HOME.parent} (with a C compiler)"
    return (
        "install a C compiler and Python's headers (Debian: gcc and python3-dev), then "
        f"{sys.executable} -m pip install --force-reinstall --no-cache-dir edgeloop, from where you had it"
    )


def _import_compiled() -> str | None:
    """Import the modules. Return why that failed, None if they are there; after a failure nothing of them is left."""
    package = sys.modules[__package__]
    try:
        for name in ("loop", "streams"):  # these two import every module, in an order that works
            importlib.import_module(f"{__package__}.{name}")
    except Exception as exc:  # an ImportError, or what Cython raises where two modules don't fit together
        for name in [name for name in sys.modules if name.startswith(f"{__package__}.") and name not in _KEPT]:
            del sys.modules[name]
            vars(package).pop(name.rpartition(".")[2], None)
        return f"the compiled one can't be imported ({type(exc).__name__}: {exc})"
    return None


def _choose() -> tuple[str, str]:
    """Return the edition and, if it is pure and nobody asked for that, the reason and the remedy."""
    if _pure.is_asked_for():
        return "pure", ""
    if _in_subinterpreter():
        # The first interpreter that imported it would be the only one that can: Cython's modules have one state.
        return (
            "pure",
            "the compiled one can't be loaded in a subinterpreter: use a process, or a thread of the main one",
        )
    reason = _why_not_compiled() or _import_compiled()
    return ("compiled", "") if reason is None else ("pure", f"{reason}; {_remedy()}")


EDITION, _unasked = _choose()

if EDITION == "pure":
    _find_sources_only()
if _unasked:
    warnings.warn(
        f"edgeloop runs as its pure edition, which needs more CPU time: {_unasked}. "
        "EDGELOOP_PURE=1 in the environment says that this is wanted.",
        RuntimeWarning,
        stacklevel=3,  # whoever imports the package
    )
