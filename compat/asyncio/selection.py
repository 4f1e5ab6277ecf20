"""Which classes of ``test.test_asyncio`` say something about a loop, and what is left out, each with its reason.

Left out is only what never runs the loop under test, whatever the default loop is: tests that construct one of the
standard library's own loop, transport or watcher classes by name, and second and third runs of tests that are run
already (a loop that has no selector argument would see the same test three times).
"""

from __future__ import annotations

SUITE = "test.test_asyncio"

_SELECTOR = "tests asyncio.selector_events' classes over mock sockets and a mock selector"
_WINDOWS = "Windows only"
_PROACTOR = "needs the proactor loop (Windows only)"
_SAME = "the tests of EPollEventLoopTests with another selector; a loop without a selector argument runs them once"
_WATCHER = "tests a child watcher class on its own"
_SAME_WATCHER = "the tests of SubprocessPidfdWatcherTests with another watcher; a foreign loop uses none of them"
_PIPE = "constructs the standard library's pipe transport over a mock loop"

#: Modules left out, and why.
MODULES = {
    "test_proactor_events": _PROACTOR,
    "test_selector_events": _SELECTOR,
    "test_windows_events": _WINDOWS,
    "test_windows_utils": _WINDOWS,
}

#: Classes left out, and why.
CLASSES = {
    "test_base_events.BaseEventTests": "calls private functions of asyncio.base_events, no loop",
    "test_base_events.BaseLoopSockSendfileTests": "constructs BaseSelectorEventLoop, because that one has no sendfile",
    "test_base_events.TestSelectorUtils": "calls private functions of asyncio.base_events, no loop",
    "test_buffered_proto.BufferedProtocolProactorTests": _PROACTOR,
    "test_events.PollEventLoopTests": _SAME,
    "test_events.SelectEventLoopTests": _SAME,
    "test_sendfile.PollEventLoopTests": _SAME,
    "test_sendfile.SelectEventLoopTests": _SAME,
    "test_server.ProactorStartServerTests": _PROACTOR,
    "test_sock_lowlevel.PollEventLoopTests": _SAME,
    "test_sock_lowlevel.SelectEventLoopTests": _SAME,
    "test_sslproto.ProactorStartTLSTests": _PROACTOR,
    "test_sslproto.SslProtoHandshakeTests": "constructs asyncio.sslproto.SSLProtocol over a mock transport",
    "test_subprocess.MultiLoopChildWatcherTests": _WATCHER,
    "test_subprocess.SubprocessFastWatcherTests": _SAME_WATCHER,
    "test_subprocess.SubprocessMultiLoopWatcherTests": _SAME_WATCHER,
    "test_subprocess.SubprocessSafeWatcherTests": _SAME_WATCHER,
    "test_subprocess.SubprocessThreadedWatcherTests": _SAME_WATCHER,
    "test_subprocess.SubprocessTransportTests": "constructs a subclass of asyncio.base_subprocess' transport",
    "test_unix_events.AbstractChildWatcherTests": _WATCHER,
    "test_unix_events.BaseChildWatcherTests": _WATCHER,
    "test_unix_events.FastChildWatcherTests": _WATCHER,
    "test_unix_events.MultiLoopChildWatcherTests": _WATCHER,
    "test_unix_events.PidfdChildWatcherTests": _WATCHER,
    "test_unix_events.SafeChildWatcherTests": _WATCHER,
    "test_unix_events.UnixReadPipeTransportTests": _PIPE,
    "test_unix_events.UnixWritePipeTransportTests": _PIPE,
}


def left_out(module: str, cls: str = "") -> str | None:
    """Why ``module`` (a name such as ``test_events``), or class ``cls`` of it, does not take part; None if it does."""
    return MODULES.get(module) or CLASSES.get(f"{module}.{cls}")
