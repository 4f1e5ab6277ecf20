# make example   sets everything up and starts the aiohttp example
# make test      sets everything up and runs every check: lint, types, tests in both editions on each Python there is
# make check     the same on one Python: make check PYTHON=python3.13
# make develop   the environment to work in, .venv/3.13 and so on: make develop PYTHON=python3.13
# make compat    asyncio's own tests on edgeloop, in both editions on each Python there is
# make projects  other projects' test suites on edgeloop: make projects WHICH="aiohttp trio" PYTHON=python3.13
# make weather   every system call and allocation of the scenarios in tests/weather fails once; re-entry; the whole suite in weather
# make bench     every loop compared in every cell, three quarters of an hour, with a page and charts; some: make bench WHAT="echo streams"
#
# What these run stands in noxfile.py. Some Pythons instead of each: make test VERSIONS="3.12 3.13".

PYTHON ?= python3
VERSIONS ?=
WHAT ?=
WHICH ?= all

NOX := .venv/nox/bin/nox
# of PYTHON: 3.13
VERSION = $(or $(filter 3.%,$(patsubst python%,%,$(notdir $(PYTHON)))),$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])'))
# of a session: its name, or with the Pythons that are asked for
on = $(if $(VERSIONS),$(VERSIONS:%=$1-%),$1)

.PHONY: example develop test check compat projects weather bench clean

example: develop
	.venv/$(VERSION)/bin/python examples/aiohttp_app.py

develop: $(NOX)
	$(NOX) -s develop-$(VERSION)

test: $(NOX)
	$(NOX) --stop-on-first-error -s lint types once $(call on,tests)

check: $(NOX)
	$(NOX) --stop-on-first-error -s lint types once tests-$(VERSION)

compat: $(NOX)
	$(NOX) -s $(call on,compat)

projects: $(NOX)
	$(NOX) -s projects-$(VERSION) -- $(WHICH)

weather: $(NOX)
	$(NOX) -s weather-$(VERSION)

bench: $(NOX)
	$(NOX) -s benchmarks-$(VERSION) -- $(or $(WHAT),--write)

$(NOX):
	python3 -m venv .venv/nox
	.venv/nox/bin/python -m pip install -q --disable-pip-version-check "nox>=2026.2.9"

clean:
	rm -rf .venv build dist *.egg-info
	find edgeloop -name '*.so' -delete
