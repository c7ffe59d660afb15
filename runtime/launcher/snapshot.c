/* Start-up that was done at build time.
 *
 * The linked program first runs once, on the machine that builds it: it starts the interpreter, imports all frozen
 * modules, and writes all of its memory that belongs to Python to stdout (snapshot_take). build.py puts these bytes
 * into the executable, in the place of what they were before. From then on the program begins with the interpreter
 * already started (snapshot_resume). No pointer needs mending, as a static, position-dependent executable has its
 * data, and so this file's heap, always at the same addresses.
 *
 * What is Python's memory: build.py joins libpython and our objects to one object file and gives all its .data and
 * .bss one section of their own, `pyrun_data`. The C library's data isn't in it: that starts afresh in each process.
 * In the same step malloc and its kin, where Python calls them, become snapshot_malloc and so on, which take memory
 * from `heap` below; and system_malloc becomes the C library's malloc. The rest of what connects Python with the
 * process that it was started in is the thread: its identity is made the same in every process (there is but one
 * thread), and its thread-specific values are set again here.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "snapshot.h"

enum { HEAP_SIZE = 6 << 20, UNIT = 16, ARENA_ALIGNMENT = 16384, MAX_KEYS = 8 };

extern char __start_pyrun_data[], __stop_pyrun_data[]; /* made by the linker */
void *system_malloc(size_t size);
void *system_realloc(void *block, size_t size);
void system_free(void *block);
int system_key_create(pthread_key_t *key, void (*destructor)(void *));
int system_setspecific(pthread_key_t key, const void *value);

static char heap[HEAP_SIZE] __attribute__((aligned(16384)));
static size_t used;
static size_t touched; /* the most that was ever used: behind it all bytes are 0 */
static int taken;
static size_t outside; /* bytes in use in the C library's heap before the interpreter started */
static PyThreadState *thread;
static struct {
    pthread_key_t key;
    void (*destructor)(void *);
    const void *value;
} keys[MAX_KEYS];
static unsigned key_count;

static void refuse(const char *why)
{
    fprintf(stderr, "pyrun: internal error: %s\n", why);
    _exit(1);
}

/* A block is its size, in a unit of its own, and the bytes. Memory is given back only by the last block: what
 * comes and goes is small, and Python's own allocator, whose arenas lie here too, keeps it. */
static size_t *size_of(void *block)
{
    return (size_t *)((char *)block - UNIT);
}

static int is_ours(const void *block)
{
    return (uintptr_t)block - (uintptr_t)heap < HEAP_SIZE;
}

static void use(size_t size)
{
    used += size;
    if (used > touched)
        touched = used;
}

void *snapshot_malloc(size_t size)
{
    size_t whole = (size + UNIT - 1) / UNIT * UNIT;
    if (whole < size || whole + UNIT > HEAP_SIZE - used) {
        if (!taken)
            refuse("HEAP_SIZE in snapshot.c is too small");
        return system_malloc(size);
    }
    void *block = heap + used + UNIT;
    *size_of(block) = whole;
    use(UNIT + whole);
    return block;
}

static int is_last(void *block)
{
    return (char *)block + *size_of(block) == heap + used;
}

void snapshot_free(void *block)
{
    if (!is_ours(block))
        system_free(block);
    else if (is_last(block))
        used -= UNIT + *size_of(block);
}

void *snapshot_calloc(size_t count, size_t size)
{
    size_t total, dirty = touched;
    if (__builtin_mul_overflow(count, size, &total))
        return NULL;
    char *block = snapshot_malloc(total);
    if (block && !is_ours(block))
        memset(block, 0, total);
    else if (block && block < heap + dirty)
        memset(block, 0, Py_MIN(total, (size_t)(heap + dirty - block)));
    return block;
}

void *snapshot_realloc(void *block, size_t size)
{
    if (!block)
        return snapshot_malloc(size);
    if (!is_ours(block))
        return system_realloc(block, size);
    size_t old = *size_of(block);
    if (size <= old)
        return block;
    if (is_last(block) && size <= heap + HEAP_SIZE - (char *)block - (size_t)UNIT) {
        *size_of(block) = (size + UNIT - 1) / UNIT * UNIT;
        use(*size_of(block) - old);
        return block;
    }
    void *larger = snapshot_malloc(size);
    if (larger) {
        memcpy(larger, block, old);
        snapshot_free(block);
    }
    return larger;
}

static void *arena_alloc(void *context, size_t size)
{
    (void)context;
    size_t start = (used + UNIT + ARENA_ALIGNMENT - 1) / ARENA_ALIGNMENT * ARENA_ALIGNMENT;
    if (size < ARENA_ALIGNMENT || start + size > HEAP_SIZE)
        return snapshot_malloc(size);
    used = start - UNIT;
    return snapshot_malloc(size);
}

static void arena_free(void *context, void *block, size_t size)
{
    (void)context;
    (void)size;
    snapshot_free(block);
}

int snapshot_key_create(pthread_key_t *key, void (*destructor)(void *))
{
    if (taken)
        return system_key_create(key, destructor);
    if (key_count == MAX_KEYS)
        refuse("MAX_KEYS in snapshot.c is too small");
    int error = system_key_create(key, destructor);
    keys[key_count].destructor = destructor;
    keys[key_count++].key = *key;
    return error;
}

int snapshot_setspecific(pthread_key_t key, const void *value)
{
    for (unsigned i = 0; !taken && i < key_count; i++)
        if (keys[i].key == key)
            keys[i].value = value;
    return system_setspecific(key, value);
}

pthread_t snapshot_self(void)
{
    return 1;
}

int snapshot_is_taken(void)
{
    return taken;
}

void snapshot_begin(void)
{
    time_t now = 0;
    localtime(&now); /* the C library keeps the time zone, which the time module asks for */
    outside = mallinfo2().uordblks;
    PyObjectArenaAllocator allocator = {.alloc = arena_alloc, .free = arena_free};
    PyObject_SetArenaAllocator(&allocator);
}

void snapshot_take(void)
{
    thread = PyEval_SaveThread();
    if (mallinfo2().uordblks != outside)
        refuse("something keeps memory that would not be in the snapshot");
    taken = 1;
    for (char *at = __start_pyrun_data; at < __stop_pyrun_data;) {
        ssize_t written = write(STDOUT_FILENO, at, __stop_pyrun_data - at);
        if (written < 0)
            refuse("the snapshot can't be written");
        at += written;
    }
    _exit(0);
}

void snapshot_resume(void)
{
    for (unsigned i = 0; i < key_count; i++) {
        pthread_key_t key;
        if (system_key_create(&key, keys[i].destructor) || key != keys[i].key ||
            (keys[i].value && system_setspecific(key, keys[i].value)))
            refuse("this C library numbers thread-specific values in another way");
    }
    PyEval_RestoreThread(thread);
}
