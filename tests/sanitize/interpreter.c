/* An interpreter that is linked with AddressSanitizer, so that its runtime comes first without LD_PRELOAD: the tests preload
   a library of their own, and start interpreters with environments of their own. */

#include <Python.h>
#include <stdlib.h>

/* CPython frees nothing of what it holds at its end. The limit of a quarantined block is for the machines of CI. */
const char *__asan_default_options(void) {
    return "detect_leaks=0:verify_asan_link_order=0:allocator_may_return_null=1:quarantine_size_mb=64:malloc_context_size=12:"
           "abort_on_error=1";
}

const char *__ubsan_default_options(void) { return "print_stacktrace=1"; }

int main(int count, char **arguments) {
    setenv("PYTHONMALLOC", "malloc", 0); /* each object is a block of its own, which the sanitizer watches */
    return Py_BytesMain(count, arguments);
}
