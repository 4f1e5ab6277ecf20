"""What builds the documentation as a site, and looks at it: make docs, make docs-browser."""
