from edgeloop.transports.tls.engine cimport Engine


cpdef Engine engine_of(sslobj, incoming, outgoing)
