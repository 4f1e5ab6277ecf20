"""Builds the compiled edition: one shared object, made by Cython from the very .py files the pure edition runs.

With ``EDGELOOP_PURE=1`` in the environment, without a C compiler, or on PyPy the package installs as the pure edition. With
``EDGELOOP_DEBUG=1`` the shared object keeps its symbols and has debug information, for gdb, perf and valgrind. With
``EDGELOOP_SANITIZE=address,undefined`` it is watched by gcc's sanitizers, and needs an interpreter linked with them. With
``EDGELOOP_LINETRACE=1`` it tells a tracer of each line; what was generated without that is to be removed before.
Everything that is not about the shared object stands in pyproject.toml.
"""

from __future__ import annotations

import hashlib
import os
import re
import runpy
import shlex
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

if not sys.platform.startswith("linux"):
    sys.exit(f"edgeloop needs Linux, for epoll; this is {sys.platform}")

# Before it, the code that Cython makes lets go of an attribute's old value first, and what runs then finds it there.
OLDEST_CYTHON = (3, 3, 1)

PACKAGE = Path("edgeloop")
GENERATED = Path("build/cython")  # C files: the same ones for each Python
OBJECTS = Path("build/objects")

CHOICE: dict[str, Any] = runpy.run_path(str(PACKAGE / "_choice.py"))
VERSION: str = runpy.run_path(str(PACKAGE / "_version.py"))["__version__"]

# Functions that Cython would put into each module. Without its memory views, which no module uses, and which are large.
SHARED_CODE = "edgeloop._cyutility"
UNSHARED_FEATURES = ["MemoryView"]

# The padding that aligns the targets of jumps is a thirtieth of the code. Without it fewer instructions are executed.
OPTIMISATION = ["-O2", "-fno-align-jumps", "-fno-align-loops", "-fno-align-labels", "-fno-tree-vectorize"]
# What runs for each callback. There -O3 takes up to 2 % fewer instructions than -O2, for 12 KB.
WORTH_O3 = (
    *(f"edgeloop/core/{module}." for module in ("channel", "gathering", "handles", "reactor")),
    *(f"edgeloop/core/{module}." for module in ("schedule", "scheduling", "timer_heap")),
    *("edgeloop/kernel/interpreter.", "edgeloop/watching/figures."),
)
# What runs once for each connection, beside a call that costs far more, or for those who ask. -Os makes it a third smaller.
# Count before you add to these: tls/transport and its neighbours would take 8 % more instructions for a message.
WORTH_OS = (
    *("edgeloop/core/observer.", "edgeloop/core/wheel.", "edgeloop/kernel/pulse.", "edgeloop/kernel/pipes."),
    "edgeloop/kernel/segments.",
    *("edgeloop/loop/registration.", "edgeloop/serving/", "edgeloop/transports/pipe.", "edgeloop/transports/rates."),
    *(f"edgeloop/transports/tls/{module}." for module in ("engine", "libssl", "outgoing", "protocol")),
)

# What Python finds in the shared object first. The other modules' initialisers stand beside it. It has no state, and can be
# asked in any interpreter; the others can't be loaded but in one.
LIST_OF_MODULES = """\
#include <Python.h>

static int add_constants(PyObject *module) {
    int in_main = PyInterpreterState_Get() == PyInterpreterState_Main();
    return PyModule_AddIntConstant(module, "IN_MAIN_INTERPRETER", in_main) < 0
        || PyModule_AddStringConstant(module, "VERSION", "@VERSION@") < 0
        || PyModule_AddStringConstant(module, "MODULES", "@MODULES@") < 0 ? -1 : 0;
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, add_constants},
#if PY_VERSION_HEX >= 0x030C0000
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
    {0, NULL},
};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "edgeloop._compiled", .m_slots = slots};

PyMODINIT_FUNC PyInit__compiled(void) {
    return PyModuleDef_Init(&definition);
}
"""


def source_of(module: str) -> Path:
    """Return the .pyx of ``module``, or else its .py."""
    stem = Path(module.replace(".", "/"))
    pyx = stem.with_suffix(".pyx")
    return pyx if pyx.exists() else stem.with_suffix(".py")


def headers_of(source: Path) -> set[Path]:
    """Return the .pxd files of this package that ``source`` depends on.

    Cython looks after most of them. It doesn't see those that are taken whole, as in ``from edgeloop cimport kernel``.
    """
    found: set[Path] = set()
    unread = [source, source.with_suffix(".pxd")]
    while unread:
        file = unread.pop()
        if file in found or not file.exists():
            continue
        if file.suffix == ".pxd":
            found.add(file)
        for package, names in re.findall(r"^\s*from\s+([\w.]+)\s+cimport\s+(\([^)]*\)|.*)", file.read_text(), re.M):
            stem = Path(package.replace(".", "/"))
            unread.append(stem.with_suffix(".pxd"))
            unread.extend(stem / f"{name}.pxd" for name in re.findall(r"\w+", names))
    return found


def remove_outdated(c_file: Path, source: Path) -> None:
    """Remove the C file that Cython would keep, if a header is younger, or this file with its directives."""
    decisive = {Path(__file__), *headers_of(source)}
    if c_file.exists() and any(file.stat().st_mtime > c_file.stat().st_mtime for file in decisive):
        c_file.unlink()


def free_what_there_is(c_file: Path) -> None:
    """Have except clauses free the traceback only if there is one.

    Cython's code takes for granted that it could make one. Where there was no memory for it, the process crashed at the end of
    the clause.
    """

    def with_a_look(function: re.Match[str]) -> str:
        code = function[0]
        for traceback in set(re.findall(r"__Pyx_GetException\(&\w+, &\w+, &(\w+)\)", code)):
            code = code.replace(f"__Pyx_DECREF({traceback});", f"__Pyx_XDECREF({traceback});")
        return code

    before = c_file.read_text(encoding="utf-8")
    after = re.sub(r"^static [^\n]*\{\n.*?^\}\n", with_a_look, before, flags=re.M | re.S)
    if after != before:
        c_file.write_text(after, encoding="utf-8")


def generate(modules: list[str]) -> list[str]:
    """Return the C files of ``modules``, of the code that they share, and of their list."""
    from Cython.Build import cythonize

    sources = {module: source_of(module) for module in modules}
    for source in sources.values():
        remove_outdated(GENERATED / source.with_suffix(".c"), source)
    wanted = [Extension(module, [str(source)]) for module, source in sources.items()]
    made: list[Extension] = cythonize(
        [*wanted, Extension(SHARED_CODE, [])],
        build_dir=str(GENERATED),
        shared_utility_qualified_name=SHARED_CODE,
        shared_utility_features_disabled=UNSHARED_FEATURES,
        compiler_directives={
            "language_level": 3,
            "annotation_typing": False,  # C types come from the .pxd files alone
            "nonecheck": True,  # an object that was never initialised raises, where C would crash
            "initializedcheck": False,
            "binding": True,
            "auto_pickle": False,  # nobody pickles a transport, and what would do so is a sixth of the code
            "linetrace": CHOICE["says_yes"]("EDGELOOP_LINETRACE"),
        },
    )
    c_files = [c_file for extension in made for c_file in extension.sources]
    for c_file in c_files:
        free_what_there_is(Path(c_file))
    list_of_modules = GENERATED / PACKAGE / "_compiled.c"
    text = LIST_OF_MODULES.replace("@MODULES@", " ".join([*modules, SHARED_CODE])).replace("@VERSION@", VERSION)
    if not list_of_modules.exists() or list_of_modules.read_text() != text:
        list_of_modules.write_text(text)
    return [str(list_of_modules), *c_files]


def check_names(modules: list[str]) -> None:
    """Raise SystemExit if two modules end alike: PyInit_ and the last part of its name is all Python looks for."""
    ends: dict[str, str] = {}
    for module in modules:
        end = module.rpartition(".")[2]
        if end in ends:
            sys.exit(f"{ends[end]} and {module} can't both be compiled: their names end alike, and they share a file")
        ends[end] = module


def compiler() -> str:
    """Return the program that setuptools is going to call."""
    command = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    return next(iter(shlex.split(command)), "cc")


def say_pure(reason: object) -> None:
    print(f"warning: edgeloop will run as its pure edition, it could not be compiled: {reason}", file=sys.stderr)


class BuildIfThereIsACompiler(build_ext):
    """Builds the shared object, as many C files at a time as there are cores, or says why there is none.

    What has not changed since the last build is not compiled again.
    """

    def run(self) -> None:
        if not self.extensions:
            return
        if shutil.which(compiler()) is None:  # seen before Cython has worked for a minute
            say_pure(f"there is no {compiler()} here")
            self.extensions = []  # or the wheel would look for what they should have become
        else:
            self.build_shared_object()
        if self.inplace:
            for leftover in left_by_former_builds():
                leftover.unlink()

    def build_shared_object(self) -> None:
        (self.compiled,) = self.extensions
        modules = [f"{PACKAGE}.{module}" for module in CHOICE["compiled_modules"](PACKAGE)]
        check_names(modules)
        self.c_files = generate(modules)
        try:
            super().run()
        except Exception as exc:  # the classes of setuptools' compile errors have moved from release to release
            say_pure(exc)
            self.extensions = []

    def build_extension(self, ext: Extension) -> None:
        def compile_one(c_file: str) -> str:
            arguments = list(ext.extra_compile_args)
            if "-O2" in arguments:
                arguments += ["-O3" for name in WORTH_O3 if name in c_file]
                arguments += ["-Os" for name in WORTH_OS if name in c_file]
            command = " ".join([*self.compiler.compiler_so, *arguments])
            folder = OBJECTS / f"{sys.implementation.cache_tag}-{hashlib.sha256(command.encode()).hexdigest()[:12]}"
            object_file = str(self.compiler.object_filenames([c_file], output_dir=str(folder))[0])
            object_path = Path(object_file)
            if not object_path.exists() or object_path.stat().st_mtime < Path(c_file).stat().st_mtime:
                self.compiler.compile(
                    [c_file],
                    output_dir=str(folder),
                    include_dirs=ext.include_dirs,
                    extra_postargs=arguments,
                )
            return object_file

        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            ext.extra_objects = list(pool.map(compile_one, self.c_files))
        self.force = True  # it may have been linked from other objects last, those of other flags
        super().build_extension(ext)


def left_by_former_builds() -> Iterator[Path]:
    """Yield what each module had of its own, once. Python would prefer it to the .py file, in the pure edition too."""
    return (file for file in PACKAGE.rglob("*.so") if not file.name.startswith("_compiled."))


def flags() -> tuple[list[str], list[str]]:
    """Return those for the compiler and those for the linker."""
    sanitizers = os.environ.get("EDGELOOP_SANITIZE", "")
    if sanitizers:
        # -O1 and the frame pointers keep the stacks of reports true. What is found ends the process, or a test would pass.
        watching = [f"-fsanitize={sanitizers}"]
        return [*watching, "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-O1", "-g"], watching
    if CHOICE["says_yes"]("EDGELOOP_LINETRACE"):
        return ["-DCYTHON_TRACE=1", "-O1", "-g0"], []
    optimisation = [] if "-O" in os.environ.get("CFLAGS", "") else OPTIMISATION
    if CHOICE["says_yes"]("EDGELOOP_DEBUG"):
        debugging, stripping = ["-g"], list[str]()
    else:
        debugging, stripping = ["-g0"], ["-Wl,--strip-all"]
    compiling = [*optimisation, *debugging, "-fvisibility=hidden", "-ffunction-sections", "-fdata-sections"]
    # What every linker knows: where one refuses, the pure edition is built. zig's, which links the wheels, takes few.
    return compiling, ["-Wl,--gc-sections", *stripping]


def extensions() -> list[Extension]:
    """The shared object that all compiled modules are in, or nothing for the pure edition."""
    try:
        if CHOICE["is_pure_asked_for"]():
            return []
        compiling, linking = flags()
    except ValueError as exc:
        sys.exit(str(exc))
    from Cython import __version__ as cython

    if tuple(int(part) for part in re.findall(r"\d+", cython)[:3]) < OLDEST_CYTHON:
        needed = ".".join(map(str, OLDEST_CYTHON))
        sys.exit(
            f"edgeloop needs Cython {needed} to be compiled, or it would use objects after their end; this is {cython}"
        )
    return [Extension("edgeloop._compiled", [], extra_compile_args=compiling, extra_link_args=linking)]


def description_and_urls() -> tuple[str, dict[str, str]]:
    """Return README and the project's addresses, as the package index shows them.

    ``EDGELOOP_REPOSITORY=https://github.com/owner/name`` in the environment of a release's build makes README's links, which
    are relative in the repository, lead to that version's files there. Without it they stay, and there are no addresses.
    """
    text = Path("README.md").read_text()
    repository = os.environ.get("EDGELOOP_REPOSITORY", "").rstrip("/")
    if not repository:
        return text, {}

    def absolute(found: re.Match[str]) -> str:
        kind = "raw" if found[2].endswith(".svg") else "blob"
        return f"{found[1]}{repository}/{kind}/v{VERSION}/{found[2]}"

    text = re.sub(r"""(\]\(|src="|srcset=")(?![a-z]+:|#)([^)"\s]+)""", absolute, text)
    places = {"Documentation": "docs/guides.md", "Changelog": "CHANGELOG.md"}
    urls = {name: f"{repository}/blob/v{VERSION}/{path}" for name, path in places.items()}
    return text, {"Homepage": repository, **urls, "Issues": f"{repository}/issues"}


DESCRIPTION, URLS = description_and_urls()

setup(
    ext_modules=extensions(),
    cmdclass={"build_ext": BuildIfThereIsACompiler},
    long_description=DESCRIPTION,
    long_description_content_type="text/markdown",
    project_urls=URLS,
)
