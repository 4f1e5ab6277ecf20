"""``python -m edgeloop script.py [args]``, and ``-m module``, ``-c`` and ``-`` like it: any asyncio program, untouched.

The program finds ``sys.argv``, ``sys.path`` and ``__main__`` as plain Python would have set them, its tracebacks begin
with its own frames, and edgeloop is the default of asyncio.run, asyncio.Runner and asyncio.new_event_loop.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import io
import os
import sys
from types import TracebackType
from typing import NoReturn

from . import EDITION, __version__, stdlib
from .policy import expect, make_default, parse_threshold, watch_all

SUBCOMMANDS = ("ps", "top")

USAGE = """\
usage: python -m edgeloop script.py [args]
       python -m edgeloop -m module [args]
       python -m edgeloop -c code [args]
       python -m edgeloop - [args]          (the program comes on standard input)
       python -m edgeloop top [PID]         (the loops of this machine; top --help)
       python -m edgeloop ps [PID]          (the same, once)
       python -m edgeloop --version

Runs a Python program with edgeloop as the loop that asyncio makes: asyncio.run, asyncio.Runner and
asyncio.new_event_loop. If it ran on another loop all the same, one line at the end says so.

--watch SECONDS before the program reports what blocks a loop for longer: docs/watchdog.md.
"""


def main() -> None:
    """Run the program that the command line names, in the module ``__main__``."""
    args = sys.argv[1:]
    if args and args[0].partition("=")[0] == "--watch":
        args = _begin_watch(args)
    if args and args[0] in ("-h", "--help"):
        print(USAGE, end="")
    elif args and args[0] in ("-V", "--version"):
        print(f"edgeloop {__version__} ({EDITION})")
    elif not args:
        _refuse("which program?")
    elif args[0] in SUBCOMMANDS:
        _run_subcommand(args[0], args[1:])
    elif args[0] in ("-m", "-c") and len(args) == 1:
        _refuse(f"argument expected for the {args[0]} option")
    elif args[0].startswith("-") and args[0] not in ("-m", "-c", "-"):
        _refuse(f"unknown option {args[0]}; Python's own stand before -m edgeloop, the program's after its name")
    else:
        make_default()
        expect(_say, lambda: True)
        try:
            if args[0] == "-m":
                _run_module(args[1], args[2:])
            elif args[0] == "-c":
                _run_text(args[1], "<string>", ["-c", *args[2:]])
            elif args[0] == "-":
                _run_text(sys.stdin.read(), "<stdin>", args)
            else:
                _run_script(args[0], args[1:])
        except (Exception, KeyboardInterrupt):
            _hide_our_frames()
            raise


def _begin_watch(args: list[str]) -> list[str]:
    """Watch the program's loops. Return the arguments that follow."""
    option, given, text = args[0].partition("=")
    rest = args[1:]
    if not given:
        if not rest:
            _refuse(f"argument expected for the {option} option")
        text, *rest = rest
    try:
        watch_all(parse_threshold(text, option))
    except ValueError as exc:
        _refuse(str(exc))
    return rest


def _run_subcommand(name: str, args: list[str]) -> NoReturn:
    """Run a command of our own. A program's file of this name is run as ``./top``."""
    command = importlib.import_module(f".watching.{name}", __package__)
    sys.exit(command.main(args))


def _refuse(reason: str) -> NoReturn:
    print(f"python -m edgeloop: {reason}\n{USAGE}", end="", file=sys.stderr)
    sys.exit(2)


def _say(line: str) -> None:
    print(f"python -m edgeloop: {line}", file=sys.stderr, flush=True)


def _run_module(name: str, args: list[str]) -> None:
    sys.argv[:] = ["-m", *args]  # runpy puts the module's file in the first place
    _empty_main()
    stdlib.module_runner()(name, True)


def _run_script(path: str, args: list[str]) -> None:
    sys.argv[:] = [path, *args]
    if os.path.isdir(path) or path.endswith((".zip", ".pyz")):
        _set_path(os.path.abspath(path))
        _empty_main()
        stdlib.module_runner()("__main__", False)
        return
    try:
        with io.open_code(path) as file:
            source = file.read()
    except OSError as exc:
        reason = f"[Errno {exc.errno}] {exc.strerror}"
        print(f"{sys.executable}: can't open file {os.path.abspath(path)!r}: {reason}", file=sys.stderr)
        sys.exit(2)
    _set_path(os.path.dirname(os.path.realpath(path)))
    module = _empty_main()
    absolute = os.path.join(os.getcwd(), path)
    module["__file__"] = absolute
    module["__loader__"] = importlib.machinery.SourceFileLoader("__main__", absolute)
    module["__spec__"] = module["__package__"] = module["__doc__"] = None
    if "__cached__" in module:
        module["__cached__"] = None
    exec(compile(source, absolute, "exec", dont_inherit=True), module)


def _run_text(source: str, name: str, argv: list[str]) -> None:
    sys.argv[:] = argv
    if not sys.flags.safe_path:
        sys.path[0] = ""
    module = _empty_main()
    for attribute in ("__file__", "__cached__"):
        module.pop(attribute, None)
    module["__loader__"] = importlib.machinery.BuiltinImporter
    module["__spec__"] = module["__package__"] = module["__doc__"] = None
    exec(compile(source, name, "exec", dont_inherit=True), module)


def _set_path(first: str) -> None:
    # "python -m edgeloop" has put the current directory first; with -P, nothing.
    if sys.flags.safe_path:
        if (
            os.path.abspath(sys.argv[0]) == first
        ):  # a folder or archive that is the program itself is on the path all the same
            sys.path.insert(0, first)
    else:
        sys.path[0] = first


def _empty_main() -> dict[str, object]:
    # The names that every __main__ has stay; ours are removed.
    names = sys.modules["__main__"].__dict__
    for name in [name for name in names if not (name.startswith("__") and name.endswith("__"))]:
        del names[name]
    return names


def _hide_our_frames() -> None:
    hook = sys.excepthook  # the program's own, if it set one

    def show(kind: type[BaseException], exc: BaseException, trace: TracebackType | None) -> None:
        rest = trace
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == __file__:
                rest = trace.tb_next
            trace = trace.tb_next
        hook(kind, exc.with_traceback(rest), rest)

    sys.excepthook = show
