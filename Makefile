# make example   sets everything up and starts the aiohttp example
# make test      sets everything up and runs every check: lint, types, tests in both editions on each Python there is
# make check     the same on one Python: make check PYTHON=python3.13
# make compat    asyncio's own tests on edgeloop, in both editions on each Python there is
# make projects  other projects' test suites on edgeloop: make projects WHICH="aiohttp trio" PYTHON=python3.13
# make weather   every system call of the scenarios in tests/weather fails once, in each way it can; re-entry, 200 seeds
# make bench     every loop compared in every cell, three quarters of an hour, with a page and charts; some: make bench WHAT="echo streams"

PYTHON ?= python3
VERSIONS ?= 3.11 3.12 3.13 3.14 3.15
WHAT ?=
WHICH ?= all

.PHONY: example test check compat projects weather bench clean

example: .venv/default/ready
	.venv/default/bin/python examples/aiohttp_app.py

test:
	.ci/test $(VERSIONS)

check:
	.ci/test $(PYTHON)

compat:
	.ci/compat $(VERSIONS)

projects:
	.ci/projects $(PYTHON) $(WHICH)

weather: .venv/default/ready
	WEATHER=whole .venv/default/bin/python -m pytest -q -n auto tests/weather
	WEATHER=whole EDGELOOP_PURE=1 .venv/default/bin/python -m pytest -q -n auto tests/weather

bench:
	"$$(.ci/pythons $(PYTHON))" -m benchmarks --peers $(or $(WHAT),--write)

# pip builds the extension modules beside their sources; a change of one of those builds them again.
.venv/default/ready: pyproject.toml setup.py $(wildcard edgeloop/*.p* edgeloop/*/*.p* edgeloop/*/*/*.p*)
	.ci/environment .venv/default $(PYTHON)
	touch $@

clean:
	rm -rf .venv build dist *.egg-info edgeloop/*.so edgeloop/*/*.so edgeloop/*/*/*.so
