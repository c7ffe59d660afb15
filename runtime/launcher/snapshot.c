/* Start-up that was done at build time.
 *
 * The linked program first runs twice on the machine that builds it, the first time to find out how its memory is best
 * laid out (rows.c). It starts the interpreter, imports all frozen modules, and writes all of its memory that belongs to
 * Python to stdout (snapshot_take). link.py puts these bytes into the executable, in the place of what they were before.
 * From then on the program begins with the interpreter already started (snapshot_resume). No pointer needs mending, as a
 * static, position-dependent executable has its data, and so Python's memory, always at the same addresses.
 *
 * What is Python's memory: link.py joins libpython and our objects to one object file and gives all its .data and .bss
 * one section of their own, `pyrun_data`. The C library's data isn't in it: that starts afresh in each process. In the
 * same step malloc and its kin, where Python calls them, become snapshot_malloc and so on (heap.c), and system_malloc
 * becomes the C library's malloc. The rest of what connects Python with the process that it was started in is the
 * thread: its identity is made the same in every process (there is but one thread), and its thread-specific values are
 * set again here.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "snapshot.h"

enum { MAX_KEYS = 8 };

extern char __start_pyrun_data[], __stop_pyrun_data[]; /* made by the linker */
int system_key_create(pthread_key_t *key, void (*destructor)(void *));
int system_setspecific(pthread_key_t key, const void *value);

static size_t outside; /* bytes in use in the C library's heap before the interpreter started */
static PyThreadState *thread;
static struct {
    pthread_key_t key;
    void (*destructor)(void *);
    const void *value;
} keys[MAX_KEYS];
static unsigned key_count;

int snapshot_key_create(pthread_key_t *key, void (*destructor)(void *))
{
    if (heap_is_taken())
        return system_key_create(key, destructor);
    if (key_count == MAX_KEYS)
        snapshot_refuse("MAX_KEYS in snapshot.c is too small");
    int error = system_key_create(key, destructor);
    keys[key_count].destructor = destructor;
    keys[key_count++].key = *key;
    return error;
}

int snapshot_setspecific(pthread_key_t key, const void *value)
{
    for (unsigned i = 0; !heap_is_taken() && i < key_count; i++)
        if (keys[i].key == key)
            keys[i].value = value;
    return system_setspecific(key, value);
}

pthread_t snapshot_self(void)
{
    return 1;
}

void snapshot_refuse(const char *why)
{
    fprintf(stderr, "pyrun: internal error: %s\n", why);
    _exit(1);
}

void snapshot_begin(void)
{
    time_t now = 0;
    localtime(&now); /* the C library keeps the time zone, which the time module asks for */
    outside = mallinfo2().uordblks;
    heap_begin();
}

void snapshot_take(int marked)
{
    thread = PyEval_SaveThread();
    if (!marked && mallinfo2().uordblks != outside)
        snapshot_refuse("something keeps memory that would not be in the snapshot");
    heap_take();
    for (char *at = __start_pyrun_data; at < __stop_pyrun_data;) {
        ssize_t written = write(STDOUT_FILENO, at, __stop_pyrun_data - at);
        if (written < 0)
            snapshot_refuse("the snapshot can't be written");
        at += written;
    }
    _exit(0);
}

void snapshot_resume(int heavy)
{
    heap_resume(heavy);
    for (unsigned i = 0; i < key_count; i++) {
        pthread_key_t key;
        if (system_key_create(&key, keys[i].destructor) || key != keys[i].key ||
            (keys[i].value && system_setspecific(key, keys[i].value)))
            snapshot_refuse("this C library numbers thread-specific values in another way");
    }
    PyEval_RestoreThread(thread);
}
