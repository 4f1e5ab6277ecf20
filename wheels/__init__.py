"""Builds the wheels of a release from its source distribution, for every platform on one machine, and checks them.

``python -m wheels``, in the environment of requirements.txt, builds and checks.
``python -m wheels.trees`` installs what was built in bare systems, and has smoke_test.py serve and ask there.
"""
