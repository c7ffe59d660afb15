/* What stage 2 is told and what it tells, once for C and once for Python: build.py hands this file to cffi.
 *
 * The file of orders is a list of 64-bit numbers in the machine's byte order: its size in bytes, the descriptor that
 * reports go to, then the orders. An order is
 *
 *     kind << 32 | how many numbers, size of the label << 32 | size of the data, the numbers, the label, the data
 *
 * with label and data padded to eight bytes. Stage 2 looks at the whole list before it obeys the first order. If an
 * order fails, its label goes back in the report, so that stage 2 knows nothing of properties and sentences. Only CALL,
 * CALL_EACH and WRITE may be without a label: then they may fail. */

/* kind             numbers                               data */
enum order_kind {
    ORDER_CALL = 0x6f726401, /* call, which arguments are offsets in data, up to six arguments; whatever they point to */
    ORDER_CALL_EACH, /* bits, call, which argument is each bit's number, up to six arguments; EINVAL ends it */
    ORDER_WRITE,     /* folder, where the text begins     path NUL text; a path of no bytes is the descriptor itself */
    ORDER_ENTER,     /*                                   a folder's path NUL */
    ORDER_INSIDE,    /* is the working directory below the root? */
    ORDER_FIND,      /*                                   paths of the program, each with NUL */
    ORDER_FILTER,    /* flags                             a program of seccomp(2), which later orders load */
    ORDER_EARLY,     /* effective, permitted, inheritable capabilities, to be had if the filter can be loaded now */
    ORDER_BIRTH,     /* go on as a child in the PID namespace that is joined */
    ORDER_LISTEN_PID, /* our pid into $LISTEN_PID */
    ORDER_WAIT,      /* socket that start connects to, descriptor held until then and after */
    ORDER_STATE,     /* where our pid belongs, or -1      the state for hooks */
    ORDER_HOOK,      /* timeout in seconds, how many arguments, how many variables; path, arguments, variables, each NUL */
    ORDER_GOING,     /* say that the program is next */
    ORDER_LOAD,      /* the filter, unless it is loaded */
    ORDER_GIVE,      /* the filter's listener, if it has one, to who reads the reports; go on when he says so */
    ORDER_EXECUTE,   /* the program that was found */
    ORDER_END
};

/* What a report is about: stage 2 waits for start, it made a process of this number, it executes the program; an order
 * failed with an errno; a hook ended with a wait status; a filter's listener comes along, and stage 2 waits for a byte. */
enum report_kind { REPORT_READY, REPORT_BORN, REPORT_GOING, REPORT_FAILED, REPORT_ENDED, REPORT_LISTENER };

/* bytes: struct report without its text, a label at most, what a report quotes of a hook */
enum { REPORT_HEAD = 20, LONGEST_LABEL = 1024, LAST_WORDS = 1024 };

/* Calls that Python orders by number. */
static const long NR_capset = SYS_capset;
static const long NR_close = SYS_close;
static const long NR_ioctl = SYS_ioctl;
static const long NR_personality = SYS_personality;
static const long NR_prctl = SYS_prctl;
static const long NR_prlimit64 = SYS_prlimit64;
static const long NR_sched_setaffinity = SYS_sched_setaffinity;
static const long NR_set_mempolicy = SYS_set_mempolicy;
static const long NR_setgroups = SYS_setgroups;
static const long NR_setresgid = SYS_setresgid;
static const long NR_setresuid = SYS_setresuid;
static const long NR_setsid = SYS_setsid;
static const long NR_umask = SYS_umask;
static const long REQUEST_TIOCSCTTY = TIOCSCTTY; /* of ioctl */
