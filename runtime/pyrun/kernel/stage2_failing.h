/* Part of stage2.c: how it ends when something fails. */

/* What `start` says of the failure, onto our stderr: there an engine's user looks, and to the engine this is a
 * container that ran and ended, which it cleans up as any other. `run` says it itself, and answers nothing. */
static void repeat_answer(void)
{
    struct iovec answer = {report.text, sizeof report.text};
    long size;
    while ((size = guarded ? secretly(SYS_readv, reports_to, (long)&answer, 1, 0)
                           : sys(SYS_recvfrom, reports_to, report.text, sizeof report.text, 0, 0, 0)) > 0) {
        struct iovec part = {report.text, (unsigned long)size};
        if (guarded)
            secretly(SYS_writev, 2, (long)&part, 1, 0);
        else
            sys(SYS_write, 2, report.text, size);
    }
}

/* Tell which order failed by its label, and what a hook has said. */
static void tell_label(enum report_kind kind, const struct order *order, uint64_t number, long error)
{
    report.size = report.said = 0;
    for (uint64_t i = 0; order && i < label_size(order); i++)
        report.text[report.size++] = label_of(order)[i];
    for (; report.said < said_size; report.said++)
        report.text[report.size++] = said[report.said];
    tell(kind, number, error);
}

static _Noreturn void fail(const struct order *order, uint64_t number, long error)
{
    tell_label(REPORT_FAILED, order, number, error);
    if (started)
        repeat_answer();
    leave(started ? 255 : 1);
}

/* The current order fails with a negative result, unless it may. */
static void must(long result, uint64_t number)
{
    if (result < 0 && label_size(current))
        fail(current, number, -result);
}
