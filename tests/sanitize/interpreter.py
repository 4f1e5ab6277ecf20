"""Puts an interpreter that is linked with sanitizers in an environment's bin/python: ``interpreter.py PYTHON SANITIZERS``.

The runtime of AddressSanitizer has to be the first library of a process. LD_PRELOAD would do that too, but tests start
interpreters with environments of their own, and preload a library of their own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")


def command(output: Path, sanitizers: str) -> list[str]:
    """Return the command that makes it, of the running interpreter's library."""
    values = {
        name: str(sysconfig.get_config_var(name) or "") for name in ("LIBDIR", "LDVERSION", "LIBPL", "LIBS", "SYSLIBS")
    }
    libraries = [f"-L{values['LIBDIR']}", f"-L{values['LIBPL']}", f"-Wl,-rpath,{values['LIBDIR']}"]
    libraries += [f"-lpython{values['LDVERSION']}", *values["LIBS"].split(), *values["SYSLIBS"].split()]
    watching = [f"-fsanitize={sanitizers}", "-fno-omit-frame-pointer", "-g", "-O1"]
    include = f"-I{sysconfig.get_paths()['include']}"
    return ["gcc", *watching, include, str(SOURCE), "-o", str(output), "-rdynamic", *libraries]


def main() -> None:
    python, sanitizers = Path(sys.argv[1]), sys.argv[2]
    if not python.is_symlink() and python.stat().st_mtime > SOURCE.stat().st_mtime:
        return
    unfinished = python.with_name("python.unfinished")
    subprocess.run(command(unfinished, sanitizers), check=True)
    os.replace(unfinished, python)  # this process goes on with the one it has


if __name__ == "__main__":
    main()
