"""TLS: between a stream transport below and an application protocol above."""
