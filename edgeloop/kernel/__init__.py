"""The only code that makes a turn's system calls, knows errno values or touches the interpreter's C.

A module with a ``.pyx`` beside its ``.py`` has two editions of one interface: the same names, arguments, return values and
exceptions. The ``.pyx`` is compiled, the ``.py`` is what the pure edition runs. For all of them:

- A call does not block, whatever flags the descriptor has. ``Poller.wait`` alone sleeps. sockets.py and pipes.py
  name the exceptions.
- "It would block" (EAGAIN) is a return value, which each function documents: None, -1, False or an empty list.
- EINTR runs Python's signal handlers and repeats the call. If a handler raises, so does the call.
- Every other errno is raised as OSError, unless the module names it.
- The caller owns the descriptor and passes a number that is open. Nothing here closes it, but for ``calls.close``.
- Any thread may call, one at a time for each descriptor. The compiled functions hold the GIL unless they say otherwise.
"""
