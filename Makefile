# make example   sets everything up and starts the aiohttp example
# make test      sets everything up and runs every check: lint, types, tests in both editions on each Python there is
# make check     the same on one Python: make check PYTHON=python3.13
# make develop   the environment to work in, .venv/3.13 and so on: make develop PYTHON=python3.13
# make compat    asyncio's own tests on edgeloop, in both editions on each Python there is
# make projects  other projects' test suites on edgeloop: make projects WHICH="aiohttp trio" PYTHON=python3.13
# make weather   every system call and allocation of the scenarios in tests/weather fails once; re-entry; the whole suite in weather
# make differential  random programs do on edgeloop what they do on asyncio: make differential EXAMPLES=20000 SEED=7, of each kind
# make soak      everything at once on one loop for an hour, in each edition: nothing may grow; ten minutes: make soak SOAK=600
# make simulate  a million runs on a simulated kernel, which is compared with Linux first: make simulate SCHEDULES=20000 SEED=7
# make crowd     what a connection costs at 1,000, 5,000 and 19,000 of them, on edgeloop, asyncio and uvloop if it is installed
# make sanitize  the tests on a build that AddressSanitizer and UndefinedBehaviorSanitizer watch; what CI runs: make sanitize WHAT=short
# make leaks     scenarios are played until they leave no object, no reference and no memory behind
# make memcheck  the same scenarios under valgrind
# make tlsfuzzer tlsfuzzer's scripts against a TLS server on edgeloop, half an hour or more; some: make tlsfuzzer WHAT="test-ccs test-sig-algs"
# make coverage  which lines and branches of the pure edition no test reaches
# make linetrace the same of the compiled edition, by lines, on Python 3.12
# make mutants   what share of the changes of a line their tests notice; a sample in ten minutes: make mutants WHAT="--minutes 8 core/schedule"
# make bench     every loop compared in every cell, three quarters of an hour, with a page and charts; some: make bench WHAT="echo streams"
# make docs      the documentation as a site, in build/site; make docs-browser looks at every page of it in Chromium
# make wheels    the source distribution and a wheel for each Python and platform, in dist: make wheels WHAT="--platform x86_64-gnu"
# make newcomer  as root: installs edgeloop in a bare Debian system, as wheel and from a clone, and runs what the pages show, after make wheels
#
# What these run stands in noxfile.py. Some Pythons instead of each: make test VERSIONS="3.12 3.13".

PYTHON ?= python3
VERSIONS ?=
WHAT ?=
WHICH ?= all
EXAMPLES ?= 2000
SOAK ?= 3600
SCHEDULES ?= 1000000
SEED ?=

NOX := .venv/nox/bin/nox
# of PYTHON: 3.13
VERSION = $(or $(filter 3.%,$(patsubst python%,%,$(notdir $(PYTHON)))),$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])'))
# of a session: its name, or with the Pythons that are asked for
on = $(if $(VERSIONS),$(VERSIONS:%=$1-%),$1)

.PHONY: example develop test check compat projects weather differential soak simulate crowd sanitize leaks memcheck tlsfuzzer coverage linetrace mutants wheels newcomer docs docs-browser bench clean

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

differential: $(NOX)
	$(if $(SEED),DIFFERENTIAL_SEED=$(SEED)) $(NOX) -s differential-$(VERSION) -- $(EXAMPLES)

soak: $(NOX)
	$(NOX) -s soak-$(VERSION) -- $(SOAK)

simulate: $(NOX)
	$(NOX) -s simulate-$(VERSION) -- --schedules $(SCHEDULES) $(SEED:%=--seed %)

crowd: $(NOX)
	$(NOX) -s crowd-$(VERSION)

sanitize: $(NOX)
	$(NOX) -s sanitize-$(VERSION) -- $(WHAT)

leaks: $(NOX)
	$(NOX) -s leaks-$(VERSION)

tlsfuzzer: $(NOX)
	$(NOX) -s tlsfuzzer -- $(WHAT)

memcheck coverage mutants: $(NOX)
	$(NOX) -s $@-$(VERSION) -- $(WHAT)

linetrace: $(NOX)
	$(NOX) -s $@-3.12 -- $(WHAT)

bench: $(NOX)
	$(NOX) -s benchmarks-$(VERSION) -- $(or $(WHAT),--write)

docs docs-browser: $(NOX)
	$(NOX) -s $@ -- $(WHAT)

wheels: $(NOX)
	$(NOX) -s wheels -- $(WHAT)

newcomer: $(NOX)
	$(NOX) -s newcomer -- $(WHAT)

$(NOX):
	python3 -m venv .venv/nox
	.venv/nox/bin/python -m pip install -q --disable-pip-version-check "nox>=2026.2.9"

clean:
	rm -rf .venv build dist *.egg-info
	find edgeloop -name '*.so' -delete
