/* One allocation of the loop's fails: of the interpreter's memory (PyMem_*, PyObject_*), or of malloc(3) by edgeloop itself.
 *
 * All allocations of the thread that armed it are counted, but only one that edgeloop made can fail: its compiled code, or C
 * code that it calls, or a Python function of its own. What a scenario, asyncio or the interpreter allocates for itself
 * would try those. The interpreter's headers aren't needed: its functions are looked up in the process.
 */
#include "failing_calls.h"
#include <execinfo.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_DEPTH 16 /* of the C frames between an allocation and the code that it is for */

typedef struct { /* PyMemAllocatorEx */
    void *context;
    void *(*malloc)(void *, size_t);
    void *(*calloc)(void *, size_t, size_t);
    void *(*realloc)(void *, void *, size_t);
    void (*free)(void *, void *);
} Allocator;

enum { FIRST_DOMAIN = 1, DOMAINS = 3 }; /* PYMEM_DOMAIN_MEM and _OBJ; _RAW is for what has no interpreter */

static Allocator real[DOMAINS];
static __thread int counting __attribute__((tls_model("initial-exec"))); /* only in the thread that armed it */
static long count, fail_from, failed;
static int traceback_fd = -1, traceback_signal;
static char package[512], interpreter_loop[] = "_PyEval_EvalFrameDefault", where[4096];

/* What does not survive it itself, and can't be mended here (numbers are of CPython 3.13.0's runs in the pure edition):
 *
 * - _asyncio: tasks and futures forget what they were about when call_soon() raises (Frame: Task.__step, Future.set_result).
 * - PyFunction_NewWithQualName: the interpreter gives up a reference that it does not own. (Frame: MAKE_FUNCTION.)
 * - _socket's sock_accept, called by kernel/sockets.py, accept: it has the new descriptor, and does not close it where there is
 *   no memory for the peer's address. (Allocations 36 to 42 of the run of test_a_connection_that_there_is_no_memory_for_...)
 */
static int in_socket_module;

static int is_spared(const Dl_info *found) {
    return (found->dli_fname && strstr(found->dli_fname, "/_asyncio."))
           || (found->dli_sname && !strcmp(found->dli_sname, "PyFunction_NewWithQualName"));
}

static int leaks_descriptor(const char *file) {
    static const char function[] = " in accept";
    const char *end = strchr(file, '\n');
    return in_socket_module && end && end - file > (long)strlen(function)
           && !strncmp(end - strlen(function), function, strlen(function));
}

/* What called for memory: 1 the package's compiled code, 2 the interpreter's evaluation of a Python function, 0 another. */
static int caller(void) {
    void *frames[MAX_DEPTH];
    int i, n = backtrace(frames, MAX_DEPTH), from = 0;
    in_socket_module = 0;
    for (i = 0; i < n; i++) {
        Dl_info found;
        if (!dladdr(frames[i], &found)) continue;
        if (is_spared(&found)) return 0;
        if (found.dli_fname && strstr(found.dli_fname, "/_socket.")) in_socket_module = 1;
        if (found.dli_fname && !strncmp(found.dli_fname, package, strlen(package))) from = 1;
        if (found.dli_sname && !strcmp(found.dli_sname, interpreter_loop)) return from ? from : 2;
    }
    return from;
}

static sigjmp_buf unreadable;
static void give_up(int number) { siglongjmp(unreadable, number); }

/* faulthandler's handler of the signal writes the Python frames, the innermost first, and allocates nothing for that. It may
 * find one that is only half made, and crash. */
static void write_frames(void) {
    struct sigaction ours = {.sa_handler = give_up}, theirs;
    sigaction(SIGSEGV, &ours, &theirs);
    if (!sigsetjmp(unreadable, 1)) raise(traceback_signal);
    sigaction(SIGSEGV, &theirs, NULL);
}

static int in_function_of_package(void) {
    char *file;
    real_syscall(SYS_ftruncate, traceback_fd, 0, 0, 0, 0, 0);
    real_syscall(SYS_lseek, traceback_fd, 0, SEEK_SET, 0, 0, 0);
    write_frames();
    long size = real_syscall(SYS_pread64, traceback_fd, (long)where, sizeof(where) - 1, 0, 0, 0);
    where[size > 0 ? size : 0] = 0;
    file = strstr(where, "File \"");
    return file && !strncmp(file + 6, package, strlen(package)) && !strstr(where, " in call_soon\n")
           && !leaks_descriptor(file);
}

/* On stderr, for a run that crashes or hangs has no other way to say what has failed. */
static void explain(void) {
    void *frames[MAX_DEPTH];
    char number[64];
    int n = backtrace(frames, MAX_DEPTH), size = snprintf(number, sizeof(number), "allocation %ld fails\n", count);
    real_syscall(SYS_write, 2, (long)number, size, 0, 0, 0);
    real_syscall(SYS_write, 2, (long)where, strlen(where), 0, 0, 0);
    backtrace_symbols_fd(frames, n, 2);
}

static int fails(void) {
    int found;
    if (!counting) return 0;
    count++;
    if (!fail_from || failed || count < fail_from) return 0;
    counting = 0; /* what is done here counts not */
    found = caller();
    if (in_function_of_package() ? found : found == 1) {
        failed = count;
        explain();
    }
    counting = 1;
    return failed == count;
}

static void *failing_malloc(void *domain, size_t size) {
    Allocator *allocator = &real[(size_t)domain];
    return fails() ? NULL : allocator->malloc(allocator->context, size);
}

static void *failing_calloc(void *domain, size_t n, size_t size) {
    Allocator *allocator = &real[(size_t)domain];
    return fails() ? NULL : allocator->calloc(allocator->context, n, size);
}

static void *failing_realloc(void *domain, void *memory, size_t size) {
    Allocator *allocator = &real[(size_t)domain];
    return fails() ? NULL : allocator->realloc(allocator->context, memory, size);
}

static void failing_free(void *domain, void *memory) {
    Allocator *allocator = &real[(size_t)domain];
    allocator->free(allocator->context, memory);
}

API void allocations_prepare(const char *of, int fd, int number) {
    void *frames[1];
    void (*get)(int, Allocator *) = dlsym(RTLD_DEFAULT, "PyMem_GetAllocator");
    void (*set)(int, Allocator *) = dlsym(RTLD_DEFAULT, "PyMem_SetAllocator");
    size_t domain;
    strncpy(package, of, sizeof(package) - 1);
    traceback_fd = fd;
    traceback_signal = number;
    backtrace(frames, 1); /* it loads a library the first time */
    for (domain = FIRST_DOMAIN; domain < DOMAINS; domain++) {
        Allocator ours = {(void *)domain, failing_malloc, failing_calloc, failing_realloc, failing_free};
        get(domain, &real[domain]);
        set(domain, &ours);
    }
}

API void allocations_arm(long from) {
    count = failed = 0;
    where[0] = 0;
    fail_from = from;
    counting = 1;
}

API long allocations_disarm(void) { counting = 0; return count; }
API void allocations_pause(int paused) { counting = !paused; }
API long allocations_failed(void) { return failed; }
API const char *allocations_where(void) { return failed ? where : ""; }

/* The package's own: Cython's modules call these directly. AddressSanitizer has them itself, and would end the process. */
#ifndef SANITIZED
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);

static int called_from_package(void *address) {
    Dl_info found;
    return dladdr(address, &found) && found.dli_fname && !strncmp(found.dli_fname, package, strlen(package));
}

static int package_fails(void *address) { return counting && called_from_package(address) && fails(); }

API void *malloc(size_t size) { return package_fails(__builtin_return_address(0)) ? NULL : __libc_malloc(size); }
API void *calloc(size_t n, size_t size) { return package_fails(__builtin_return_address(0)) ? NULL : __libc_calloc(n, size); }
API void *realloc(void *memory, size_t size) {
    return package_fails(__builtin_return_address(0)) ? NULL : __libc_realloc(memory, size);
}
#endif
