/* Start-up done at build time. */
#include <stddef.h>

/* snapshot.c */
void snapshot_begin(void);              /* before anything of Python is called */
void snapshot_take(int marked);         /* write the snapshot to stdout and exit; marked: it is looked at, not used */
void snapshot_resume(int heavy);        /* instead of starting the interpreter; heavy: for create, run or exec */
void snapshot_refuse(const char *why);  /* end the program */

/* Python's memory: heap.c */
void heap_begin(void);
void heap_end(void);                    /* what is allocated from here on is no part of the snapshot */
void heap_take(void);
int heap_is_taken(void);
void heap_resume(int heavy);
void *snapshot_malloc(size_t size);
void snapshot_free(void *block);
void *snapshot_calloc(size_t number, size_t size);
void *snapshot_realloc(void *block, size_t size);

/* The part of it that is in the snapshot: rows.c */
void rows_begin(void);                  /* take the numbers of rows from stdin, if it is a file */
void *rows_malloc(size_t size);
void *rows_malloc_hot(size_t size);     /* in the row that all commands write to, whatever is known of it */
void rows_free(void *block);
int rows_have(const void *block);
size_t rows_size(void *block);
void rows_take(void);                   /* say on stdout where they begin and end */
void rows_resume(int all);              /* get the pages that are written to; all: those of heavy commands, too */
