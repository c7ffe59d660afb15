/* Part of stage2.c: how it ends when something fails. */

/* What `start` says of the failure, onto our stderr: there an engine's user looks, and to the engine this is a
 * container that ran and ended, which it cleans up as any other. `run` says it itself, and answers nothing. */
static void repeat_answer(void)
{
    long size;
    while ((size = sys(SYS_recvfrom, reports_to, report.text, sizeof report.text, 0, 0, 0)) > 0)
        sys(SYS_write, 2, report.text, size);
}

static void must(long result, enum about about, uint64_t index)
{
    if (result < 0) {
        tell(about, index, -result);
        if (started)
            repeat_answer();
        leave(started ? 255 : 1);
    }
}
