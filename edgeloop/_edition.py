"""Which edition runs: decided here, before anything else of the package is imported.

The compiled modules are in one shared object, ``_compiled.cpython-*.so``, and come from there by a finder that stands before
Python's own. The pure edition is what Python finds without it: the .py files. It runs where ``EDGELOOP_PURE`` asks for it;
where it runs because there is no other, a RuntimeWarning says why and what helps.

An import of the package loads the shared object, and none of its modules: ``load`` does, when the first of them is needed.
"""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Sequence
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, ModuleSpec
from types import ModuleType

from . import _choice
from ._version import __version__

HOME = os.path.dirname(__file__)
SHARED_OBJECT = f"{__package__}._compiled"
SHARED_CODE = f"{__package__}._cyutility"  # Cython's own, not made from a source of this package

# Of the import system, and needed to decide: they stay when an import of the compiled edition has failed.
_KEPT = {__name__, _choice.__name__, f"{__package__}._version"}


class CompiledFinder:
    """Finds the compiled modules. Python looks for ``PyInit_`` and the last part of the name in the file it is given."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.modules = {SHARED_OBJECT}

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in self.modules:
            return None
        spec = ModuleSpec(name, ExtensionFileLoader(name, self.file), origin=self.file)
        spec.has_location = True
        return spec


def _shared_object(home: str = HOME) -> str | None:
    """Return the shared object for this Python in the folder ``home``, None if there is none.

    It is not looked for on the path: where a checkout is installed, Python would find that one's.
    """
    files = (os.path.join(home, f"_compiled{suffix}") for suffix in EXTENSION_SUFFIXES)
    return next(filter(os.path.exists, files), None)


def _hidden_installation() -> str | None:
    """Return the folder of a compiled edgeloop further down sys.path, None if there is none."""
    for entry in sys.path:
        home = os.path.join(entry or ".", "edgeloop")
        if os.path.exists(home) and not os.path.samefile(home, HOME) and _shared_object(home):
            return home
    return None


def _why_there_is_none() -> str:
    files = sorted(name for name in os.listdir(HOME) if name.startswith("_compiled.") and name.endswith(".so"))
    if files:
        return f"it is compiled for another Python ({files[0]}), not for this one ({EXTENSION_SUFFIXES[0]})"
    return f"nothing is compiled in {HOME}"


def _why_it_does_not_fit(modules: set[str], version: str) -> str | None:
    """Return how ``modules`` differ from those that are to be compiled here, None if they don't.

    All or none: they call their neighbours through C. A wheel brings no .pxd and no .pyx, and is of one piece if it is of one
    version.
    """
    if version != __version__:
        return f"its shared object is that of edgeloop {version}, and this is {__version__}"
    if not os.path.exists(os.path.join(HOME, "__init__.pxd")):
        return None
    sources = {f"{__package__}.{module}" for module in _choice.compiled_modules(HOME)}
    if missing := sorted(sources - modules):
        return f"{len(missing)} of its {len(sources)} modules are not compiled, {missing[0]} is one"
    if left := sorted(modules - sources - {SHARED_OBJECT, SHARED_CODE}):
        return f"{left[0]} is compiled, but no longer among what there is to compile"
    return None


def _remedy() -> str:
    if (hidden := _hidden_installation()) is not None:
        return (
            f"{HOME} hides the compiled edgeloop in {hidden}, because it comes first on sys.path: "
            "start Python in another folder or with -P"
        )
    root = os.path.dirname(HOME)
    if os.path.exists(os.path.join(root, "setup.py")):
        return f"compile it: {sys.executable} -m pip install -e {root} (with a C compiler)"
    return (
        "install a C compiler and Python's headers (Debian: gcc and python3-dev), then "
        f"{sys.executable} -m pip install --force-reinstall --no-cache-dir edgeloop, from where you had it"
    )


def _why_not_compiled(finder: CompiledFinder) -> str | None:
    """Return why the compiled edition can't run, None if it can: its modules are found then."""
    sys.meta_path.insert(0, finder)
    try:
        shared_object = importlib.import_module(SHARED_OBJECT)
    except ImportError as exc:
        return _fall_back(finder, exc)
    if not shared_object.IN_MAIN_INTERPRETER:
        # The first interpreter that imported it would be the only one that can: Cython's modules have one state.
        reason = "the compiled one can't be loaded in a subinterpreter: use a process, or a thread of the main one"
    else:
        finder.modules.update(shared_object.MODULES.split())
        version = vars(shared_object).get("VERSION", "0.1.0")  # which had none
        if (difference := _why_it_does_not_fit(finder.modules, version)) is None:
            return None
        reason = f"{difference}; {_remedy()}"
    _forget(finder)
    return reason


def _fall_back(finder: CompiledFinder, exc: Exception) -> str:
    _forget(finder)
    return f"the compiled one can't be imported ({type(exc).__name__}: {exc}); {_remedy()}"


def _forget(finder: CompiledFinder) -> None:
    """Leave nothing of the compiled edition behind."""
    package = sys.modules[str(__package__)]
    sys.meta_path.remove(finder)
    for name in [name for name in sys.modules if name.startswith(f"{__package__}.") and name not in _KEPT]:
        del sys.modules[name]
        vars(package).pop(name.rpartition(".")[2], None)


def _sentence(reason: str) -> str:
    return (
        f"edgeloop runs as its pure edition, which needs more CPU time: {reason}. "
        "EDGELOOP_PURE=1 in the environment says that this is wanted."
    )


def load() -> None:
    """Import the modules of the edition. If the compiled ones can't be imported, the pure ones are, with a warning."""
    global EDITION, _finder
    if _finder is not None and _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)  # pytest, for one, puts back what was there before a test
    try:
        _import_all()
    except Exception as exc:  # an ImportError, or what Cython raises where two modules don't fit together
        if _finder is None:
            raise
        reason = _fall_back(_finder, exc)
        EDITION, _finder = "pure", None
        warnings.warn(_sentence(reason), RuntimeWarning, stacklevel=3)  # whoever uses the package
        _import_all()


def _import_all() -> None:
    for name in ("loop.event_loop", "policy", "streams"):  # they import all others, in an order that works
        importlib.import_module(f"{__package__}.{name}")


def _choose() -> tuple[CompiledFinder | None, str]:
    """Return the finder of the compiled modules; if there is none and nobody asked for that, the reason and the remedy."""
    if _choice.is_pure_asked_for():
        return None, ""
    if (file := _shared_object()) is None:
        return None, f"{_why_there_is_none()}; {_remedy()}"
    finder = CompiledFinder(file)
    reason = _why_not_compiled(finder)
    return (finder, "") if reason is None else (None, reason)


_finder, _unasked = _choose()
EDITION = "pure" if _finder is None else "compiled"

if _unasked:
    warnings.warn(_sentence(_unasked), RuntimeWarning, stacklevel=3)  # whoever imports the package
