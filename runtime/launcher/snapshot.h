/* Start-up done at build time; see snapshot.c. */
int snapshot_is_taken(void);
void snapshot_begin(void);  /* before anything of Python is called */
void snapshot_take(void);   /* writes the snapshot to stdout and exits */
void snapshot_resume(void); /* instead of starting the interpreter */
