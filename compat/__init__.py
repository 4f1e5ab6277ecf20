"""Other people's test suites, run on edgeloop and on the standard loop, and compared test by test."""
