from edgeloop.transports.tls_engine cimport Engine


cpdef Engine engine_of(sslobj, incoming, outgoing)
