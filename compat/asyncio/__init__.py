"""CPython's own ``test.test_asyncio``, run on a named loop: ``python -m compat.asyncio --help``."""
