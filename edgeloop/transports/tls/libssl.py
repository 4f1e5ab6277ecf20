"""Nothing, in the pure edition: it leaves OpenSSL to the ssl module. ``libssl.pyx`` is the compiled edition's."""
