"""Watching a loop: what holds it up."""
