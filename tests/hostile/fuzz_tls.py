"""Has tlsfuzzer's scripts talk to a TLS server on edgeloop: ``python fuzz_tls.py [--record] TLSFUZZER [SCRIPT ...]``.

A script is many conversations. One that fails on edgeloop is held with asyncio's own loop too, on the same OpenSSL: what
fails there as well is OpenSSL's answer, or not what this context offers. What fails on edgeloop alone is a fault.

What is expected stands in fuzz_tls.json: with the OpenSSL of the record no script may have fewer conversations that pass.
--record writes it. The scripts draw some of their conversations at random: they get the same seed each time.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import json
import os
import re
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme

import edgeloop

HERE = Path(__file__).parent
RECORD = HERE / "fuzz_tls.json"
SECONDS = 900  # for a script
SEEDED = "import random, runpy, sys; random.seed(1); del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__')"
COUNTS = re.compile(r"^TOTAL: (\d+)\nSKIP: \d+\nPASS: (\d+)\nXFAIL: (\d+)\nFAIL: (\d+)\nXPASS: (\d+)", re.MULTILINE)


@dataclass(frozen=True)
class Result:
    """What a script has said of its conversations. ``failed``: their names; a script that fell over has none."""

    passed: int
    failed: list[str]
    fell: str


@dataclass(frozen=True)
class Server:
    """A server that runs, and where it writes what it has to complain of."""

    port: int
    process: subprocess.Popen[str]
    complaints: Path

    def wrong(self) -> list[str]:
        """What is wrong with it: it has ended, or said something."""
        ended = (
            [f"the server has ended with status {self.process.returncode}"] if self.process.poll() is not None else []
        )
        said = self.complaints.read_text()
        return ended + ([f"the server says: {said[-3000:]}"] if said else [])


@contextlib.contextmanager
def served(loop: str, what: str, folder: Path) -> Iterator[Server]:
    """A server on this loop, of a page or an echo, as long as it is needed."""
    complaints = folder / f"{loop}-{what}.txt"
    program = [
        sys.executable,
        "-W",
        "ignore::DeprecationWarning",
        str(HERE / "fuzzed_server.py"),
    ]  # of old versions of TLS
    command = [*program, loop, what, str(folder / "cert.pem"), str(folder / "key.pem")]
    with complaints.open("w") as errors, subprocess.Popen(command, stdout=-1, stderr=errors, text=True) as process:
        assert process.stdout is not None
        try:
            yield Server(int(process.stdout.readline()), process, complaints)
        finally:
            process.kill()


def converse(tlsfuzzer: Path, server: Server, script: str, *arguments: str) -> Result:
    """Run a script, or only those of its conversations that are named."""
    command = [
        sys.executable,
        "-c",
        SEEDED,
        f"scripts/{script}.py",
        "-h",
        "localhost",
        "-p",
        str(server.port),
        *arguments,
    ]
    paths = [str(tlsfuzzer), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONHASHSEED": "1"}
    try:
        done = subprocess.run(
            command, cwd=tlsfuzzer, env=environment, capture_output=True, text=True, errors="replace", timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        return Result(0, [], f"not done after {SECONDS} seconds")
    counts = COUNTS.search(done.stdout)
    if counts is None:
        return Result(0, [], (done.stderr or done.stdout)[-500:])
    _, passed, expected, _, _ = map(int, counts.groups())
    names = done.stdout[counts.end() :].partition("FAILED:\n")[2]
    failed = [str(ast.literal_eval(line.strip())) for line in names.splitlines() if line.startswith("\t'")]
    failed += [str(ast.literal_eval(line.strip())) for line in names.splitlines() if line.startswith('\t"')]
    return Result(passed + expected, failed, "")


def only_on_edgeloop(tlsfuzzer: Path, edge: Server, other: Server, script: str, failed: list[str]) -> list[str]:
    """Of the conversations that failed on edgeloop those that don't on asyncio's loop, and fail again."""
    apart = set(failed) - set(converse(tlsfuzzer, other, script, *sorted(set(failed))).failed)
    return sorted(apart & set(converse(tlsfuzzer, edge, script, *sorted(apart)).failed)) if apart else []


def make_certificate(folder: Path) -> None:
    """Make one with an RSA key, which the scripts expect."""
    made = trustme.CA(key_type=trustme.KeyType.RSA).issue_cert("localhost", key_type=trustme.KeyType.RSA)
    made.private_key_pem.write_to_path(folder / "key.pem")
    made.cert_chain_pems[0].write_to_path(folder / "cert.pem")


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("tlsfuzzer", type=Path)
    parser.add_argument("scripts", nargs="*")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--jobs", type=int, default=4)
    options = parser.parse_intermixed_args(arguments)
    tlsfuzzer: Path = options.tlsfuzzer.absolute()
    record: dict[str, Any] = json.loads(RECORD.read_text())
    scripts: dict[str, Any] = record["scripts"]
    same = record["openssl"] == ssl.OPENSSL_VERSION
    wrong: list[str] = []
    print(f"edgeloop ({edgeloop.EDITION}), {ssl.OPENSSL_VERSION}; the record is of {record['openssl']}", flush=True)

    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        make_certificate(folder)
        servers = {
            what: [stack.enter_context(served(loop, what, folder)) for loop in ("edgeloop", "asyncio")]
            for what in ("page", "echo")
        }
        pool = stack.enter_context(ThreadPoolExecutor(options.jobs))

        def run(script: str) -> tuple[str, Result, list[str]]:
            edge, other = servers["echo" if scripts[script].get("echo") else "page"]
            result = converse(tlsfuzzer, edge, script, *scripts[script].get("arguments", ()))
            failed = result.failed and only_on_edgeloop(tlsfuzzer, edge, other, script, result.failed)
            return script, result, failed

        for script, result, alone in pool.map(run, options.scripts or scripts):
            expected = scripts[script]
            print(f"{script}: {result.passed} pass, {len(result.failed)} fail {result.fell}".strip(), flush=True)
            if result.fell:
                wrong.append(f"{script}: {result.fell}")
            if alone:
                wrong.append(f"{script}: on edgeloop alone fail {alone}")
                print(wrong[-1], flush=True)
            if same and not options.record and result.passed < expected.get("pass", 0):
                wrong.append(f"{script}: {result.passed} pass, {expected['pass']} are expected")
            if options.record:
                expected["pass"], expected["fail"] = result.passed, len(result.failed)
        wrong += [what for edge, _ in servers.values() for what in edge.wrong()]
    if options.record:
        record["openssl"] = ssl.OPENSSL_VERSION
        RECORD.write_text(json.dumps(record, indent=1) + "\n")
    for what in wrong:
        print(what)
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main(sys.argv[1:])
