/* What Python calls instead of malloc and its kin, which link.py renames to snapshot_malloc and so on.
 *
 * While the binary is built, memory comes from the rows of rows.c. What a command allocates later is new memory, whose
 * first pages are got in one piece: objects lie in slabs of one size each, as Python's own allocator has them, but that
 * one takes 16 KiB for each size, four times of what a command needs. What finds no room comes from the C library.
 */
#define _GNU_SOURCE
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include "snapshot.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

enum { UNIT = 16, PAGE = 4096, SLAB = 2048, SMALL = 512, SIZES = SMALL / UNIT + 1 };
enum { FIRST_SIZE = 32 << 10, SLABS_SIZE = 768 << 10, MORE_SIZE = 512 << 10 };
enum { PAGES = 24, HEAVY_PAGES = 64 }; /* that a command writes to for sure */

void *system_malloc(size_t size);
void *system_realloc(void *block, size_t size);
void system_free(void *block);

static int taken; /* the snapshot: from here on it is a command that runs */
static int ended; /* what is allocated from here on is no part of the snapshot that is taken */

/* A command's memory. It is no part of the snapshot, and 0 at first. */
static struct {
    void *returned[SIZES]; /* by units: a free slot, in which the next one stands */
    char *unused[SIZES];   /* by units: the rest of a slab */
    char *slab;            /* the next one */
    char *large, *limit;   /* where the next large block begins, and what it may not reach */
    char first[FIRST_SIZE] __attribute__((aligned(PAGE)));
    char slabs[SLABS_SIZE] __attribute__((aligned(PAGE)));
    char more[MORE_SIZE];
} fresh __attribute__((aligned(PAGE), section(".bss.pyrun_fresh")));

static int is_in(const void *block, const char *area, size_t size)
{
    return (uintptr_t)block - (uintptr_t)area < size;
}

/* Small blocks: slots of slabs, which begin with the number of units that each of their slots has. */

static char *new_slab(size_t units)
{
    if (!fresh.slab)
        fresh.slab = fresh.slabs;
    if (fresh.slab == fresh.slabs + SLABS_SIZE)
        return NULL;
    char *slab = fresh.slab;
    fresh.slab += SLAB;
    memcpy(slab, &units, sizeof units);
    return slab + UNIT;
}

static void *small_malloc(size_t units)
{
    void *slot = fresh.returned[units];
    if (slot) {
        memcpy(&fresh.returned[units], slot, sizeof(void *));
        return slot;
    }
    char *unused = fresh.unused[units];
    if (!unused && !(unused = new_slab(units)))
        return NULL;
    size_t next = (uintptr_t)unused % SLAB + units * UNIT;
    fresh.unused[units] = next + units * UNIT <= SLAB ? unused + units * UNIT : NULL;
    return unused;
}

static int is_small(const void *block)
{
    return is_in(block, fresh.slabs, SLABS_SIZE);
}

static size_t small_units(const void *block)
{
    size_t units;
    memcpy(&units, (const char *)block - (uintptr_t)block % SLAB, sizeof units);
    return units;
}

static void small_free(void *block)
{
    void **last = &fresh.returned[small_units(block)];
    memcpy(block, last, sizeof(void *));
    *last = block;
}

/* Large blocks: behind their size, one after the other. Only the last one's memory is used again. */

static int is_large(const void *block)
{
    return is_in(block, fresh.first, FIRST_SIZE) || is_in(block, fresh.more, MORE_SIZE);
}

static size_t *large_size(void *block)
{
    return (size_t *)block - 1;
}

static size_t large_bytes(size_t size)
{
    return (size + sizeof size + UNIT - 1) / UNIT * UNIT;
}

static int have_room(size_t bytes)
{
    if (!fresh.large)
        fresh.large = fresh.first + UNIT - sizeof(size_t), fresh.limit = fresh.first + FIRST_SIZE;
    if (bytes > (size_t)(fresh.limit - fresh.large) && fresh.limit == fresh.first + FIRST_SIZE)
        fresh.large = fresh.more + UNIT - sizeof(size_t), fresh.limit = fresh.more + MORE_SIZE;
    return bytes <= (size_t)(fresh.limit - fresh.large);
}

static void *large_malloc(size_t size)
{
    if (size > MORE_SIZE || !have_room(large_bytes(size)))
        return system_malloc(size);
    void *block = fresh.large + sizeof(size_t);
    fresh.large += large_bytes(size);
    *large_size(block) = size;
    return block;
}

static int is_last(void *block)
{
    return is_large(block) && (char *)large_size(block) + large_bytes(*large_size(block)) == fresh.large;
}

static int grow_last(void *block, size_t size)
{
    if (size > MORE_SIZE || !is_last(block))
        return 0;
    size_t bytes = large_bytes(size) - large_bytes(*large_size(block));
    if (!have_room(bytes) || !is_last(block))
        return 0;
    fresh.large += bytes;
    *large_size(block) = size;
    return 1;
}

/* Any block. */

void *snapshot_malloc(size_t size)
{
    return taken ? large_malloc(size) : ended ? system_malloc(size) : rows_malloc(size);
}

void snapshot_free(void *block)
{
    if (is_last(block))
        fresh.large = (char *)large_size(block);
    else if (!rows_have(block) && !is_large(block))
        system_free(block);
    else if (!taken)
        rows_free(block);
}

void *snapshot_calloc(size_t number, size_t size)
{
    size_t total;
    void *block = __builtin_mul_overflow(number, size, &total) ? NULL : snapshot_malloc(total);
    return block ? memset(block, 0, total) : NULL;
}

void *snapshot_realloc(void *block, size_t size)
{
    if (!block)
        return snapshot_malloc(size);
    if (!rows_have(block) && !is_large(block))
        return system_realloc(block, size ? size : 1); /* of 0 it would be a free, and no memory */
    size_t old = is_large(block) ? *large_size(block) : rows_size(block);
    if (size <= old || grow_last(block, size))
        return block;
    void *larger = snapshot_malloc(size);
    if (larger) {
        memcpy(larger, block, old);
        snapshot_free(block);
    }
    return larger;
}

static void *object_malloc(void *context, size_t size)
{
    (void)context;
    void *block = taken && size <= SMALL ? small_malloc(size ? (size + UNIT - 1) / UNIT : 1) : NULL;
    return block ? block : snapshot_malloc(size);
}

static void object_free(void *context, void *block)
{
    (void)context;
    if (is_small(block))
        small_free(block);
    else
        snapshot_free(block);
}

static void *object_calloc(void *context, size_t number, size_t size)
{
    size_t total;
    void *block = __builtin_mul_overflow(number, size, &total) ? NULL : object_malloc(context, total);
    return block ? memset(block, 0, total) : NULL;
}

static void *object_realloc(void *context, void *block, size_t size)
{
    if (!block)
        return object_malloc(context, size);
    if (!is_small(block))
        return snapshot_realloc(block, size);
    size_t old = small_units(block) * UNIT;
    if (size <= old)
        return block;
    void *larger = object_malloc(context, size);
    if (larger) {
        memcpy(larger, block, old);
        small_free(block);
    }
    return larger;
}

/* Nothing but the stack of Python's frames asks for an arena, as objects don't come from Python's allocator. */

static void *arena_alloc(void *context, size_t size)
{
    (void)context;
    return taken || ended ? snapshot_malloc(size) : rows_malloc_hot(size);
}

static void arena_free(void *context, void *block, size_t size)
{
    (void)context;
    (void)size;
    snapshot_free(block);
}

void heap_begin(void)
{
    PyMemAllocatorEx objects = {NULL, object_malloc, object_calloc, object_realloc, object_free};
    PyMem_SetAllocator(PYMEM_DOMAIN_MEM, &objects);
    PyMem_SetAllocator(PYMEM_DOMAIN_OBJ, &objects);
    PyObjectArenaAllocator arenas = {NULL, arena_alloc, arena_free};
    PyObject_SetArenaAllocator(&arenas);
    rows_begin();
}

void heap_end(void)
{
    ended = 1;
}

void heap_take(void)
{
    rows_take();
    taken = 1;
}

int heap_is_taken(void)
{
    return taken;
}

void heap_resume(int heavy)
{
    rows_resume(heavy);
    madvise(&fresh, (size_t)(heavy ? HEAVY_PAGES : PAGES) * PAGE, MADV_POPULATE_WRITE); /* or one by one */
}
