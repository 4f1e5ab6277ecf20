"""Listening sockets, and the servers they belong to."""
