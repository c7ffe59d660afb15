/* The part of Python's memory that is in the snapshot, in rows by how commands use it.
 *
 * A command is so short that getting a page of memory costs more than using it: each page of the snapshot that is
 * written to is a fault and a copy. Of the megabytes that the snapshot holds, a command writes to some thousand
 * objects, mostly to their reference counts. So these lie together:
 *
 *     cold | heavy reads <--|--> reads | ... | <-- heavy | busy data | interpreter's state | hot -->
 *
 * Hot is what most commands write to, heavy what create, run and exec do besides. From there it's one step to what is
 * only read, in rows of its own; cold is the rest. rows_resume() gets the pages of what is written to in one piece.
 *
 * What belongs where is known by number: the build allocates the same blocks in the same order each time, so its second
 * run is told what the first one found (layout.py). Before each block are its size and the number of its allocation.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "snapshot.h"

enum { UNIT = 16, HEADER = 8, PAGE = 4096, REUSED = 1024, FREE = -1 };
enum { COLD, HEAVY_READ, READ, HEAVY, HOT, ROWS }; /* layout.py knows these numbers */
enum { COLD_SIZE = 6 << 20, ROW_SIZE = 1 << 20 };

struct header {
    uint32_t size;
    int32_t number;
};

#define SECTION(name) __attribute__((aligned(UNIT), section(".bss.pyrun_" name))) /* link.py puts them in order */
static char cold[COLD_SIZE] SECTION("cold"), reads[2 * ROW_SIZE] SECTION("cold");
static void *returned[ROWS][REUSED] SECTION("cold"); /* by row and units: a free block, in which the next one stands */
static char heavy[ROW_SIZE] SECTION("heavy");
static char hot[ROW_SIZE] SECTION("hot");
extern char pyrun_busy_start[], pyrun_state_start[], pyrun_state_end[];

static char *ends[ROWS] = {cold + HEADER, reads + ROW_SIZE + HEADER, reads + ROW_SIZE + HEADER,
                           heavy + ROW_SIZE - HEADER, hot + HEADER};
static int32_t count;                 /* of allocations */
static int32_t known;                 /* of how many the row is known */
static const unsigned char *row_of_number;

static int is_in(const void *block, const char *area, size_t size)
{
    return (uintptr_t)block - (uintptr_t)area < size;
}

static struct header *header_of(void *block)
{
    return (struct header *)((char *)block - HEADER);
}

static size_t units_for(size_t size)
{
    return (size + HEADER + UNIT - 1) / UNIT;
}

static int row_of(const void *block)
{
    if (is_in(block, hot, ROW_SIZE))
        return HOT;
    if (is_in(block, heavy, ROW_SIZE))
        return HEAVY;
    if (is_in(block, reads, sizeof reads))
        return is_in(block, reads, ROW_SIZE + HEADER) ? HEAVY_READ : READ;
    return COLD;
}

int rows_have(const void *block)
{
    return row_of(block) != COLD || is_in(block, cold, COLD_SIZE);
}

size_t rows_size(void *block)
{
    return header_of(block)->size;
}

static char *take_from(int row, size_t units)
{
    if (units < REUSED && returned[row][units]) {
        char *block = returned[row][units];
        memcpy(&returned[row][units], block, sizeof(void *));
        return block;
    }
    static char *const limits[ROWS] = {cold + COLD_SIZE, reads, reads + sizeof reads, heavy, hot + ROW_SIZE};
    int downwards = row == HEAVY || row == HEAVY_READ;
    size_t bytes = units * UNIT;
    if (bytes > (size_t)(downwards ? ends[row] - limits[row] : limits[row] - ends[row]))
        snapshot_refuse("a row in rows.c is too small");
    char *start = downwards ? ends[row] - bytes : ends[row];
    ends[row] = downwards ? start : start + bytes;
    return start + HEADER;
}

static void *take(int row, size_t size)
{
    if (size > COLD_SIZE)
        return NULL;
    void *block = take_from(row, units_for(size));
    *header_of(block) = (struct header){(uint32_t)size, count++};
    return block;
}

void *rows_malloc(size_t size)
{
    return take(count < known ? row_of_number[count] : COLD, size);
}

void *rows_malloc_hot(size_t size)
{
    return take(HOT, size);
}

void rows_free(void *block)
{
    size_t units = units_for(header_of(block)->size);
    header_of(block)->number = FREE;
    if (units >= REUSED)
        return;
    void **last = &returned[row_of(block)][units];
    memcpy(block, last, sizeof(void *));
    *last = block;
}

void rows_begin(void)
{
    struct stat told;
    if (fstat(STDIN_FILENO, &told) || !S_ISREG(told.st_mode) || told.st_size == 0)
        return;
    row_of_number = mmap(NULL, (size_t)told.st_size, PROT_READ, MAP_PRIVATE, STDIN_FILENO, 0);
    if (row_of_number == MAP_FAILED)
        snapshot_refuse("the rows can't be read");
    known = (int32_t)told.st_size;
}

void rows_take(void)
{
    char *const bounds[] = {pyrun_busy_start, pyrun_state_start, pyrun_state_end, cold + HEADER,
                            ends[COLD],       ends[HEAVY_READ],  ends[READ],      ends[HEAVY],
                            heavy + ROW_SIZE - HEADER, hot + HEADER, ends[HOT]};
    dprintf(STDOUT_FILENO, "rows");
    for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++)
        dprintf(STDOUT_FILENO, " %p", bounds[i]);
    dprintf(STDOUT_FILENO, "\n");
    row_of_number = NULL;
}

/* Put anonymous memory in the place of the file's pages. If it can't be had, each page is copied when it's written to.
 */
static void copy(char *start, char *end)
{
    size_t size = (size_t)(end - start);
    void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (pages == MAP_FAILED)
        return;
    memcpy(pages, start, size);
    if (mremap(pages, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, start) == MAP_FAILED)
        munmap(pages, size);
}

static char *page_of(char *at)
{
    return at - (uintptr_t)at % PAGE;
}

void rows_resume(int all)
{
    copy(page_of(all ? ends[HEAVY] : pyrun_busy_start), page_of(ends[HOT] + PAGE - 1));
}
