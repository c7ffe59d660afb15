/* The modules of the interpreter that a static binary holds: what it starts with, and what hot modules import.
 *
 * The first table takes the place of that in libpython's config.o, which names every module that this build of Python
 * has: the linker then leaves those out, and with them zlib, expat and all that a runtime must not be able to load.
 *
 * The second takes the place of frozen.o and deepfreeze.o, which hold a part of the standard library. All that is
 * needed of it is the import system, here as bytecode, so that its objects lie in the heap and can be put in order
 * (heap.c); there they are part of 900 KB of data.
 */
#include <Python.h>
#include "build_facts.h"

PyMODINIT_FUNC PyMarshal_Init(void);
PyMODINIT_FUNC PyInit__imp(void);
PyMODINIT_FUNC PyInit__io(void);
PyMODINIT_FUNC PyInit__operator(void);
PyMODINIT_FUNC PyInit__thread(void);
PyMODINIT_FUNC PyInit__weakref(void);
PyMODINIT_FUNC PyInit_errno(void);
PyMODINIT_FUNC PyInit_posix(void);
PyMODINIT_FUNC PyInit_time(void);
PyMODINIT_FUNC _PyWarnings_Init(void);

struct _inittab _PyImport_Inittab[] = {
    {"builtins", NULL}, /* these two are made by hand, before there are imports */
    {"sys", NULL},
    {"_imp", PyInit__imp},
    {"_io", PyInit__io},
    {"_operator", PyInit__operator},
    {"_thread", PyInit__thread},
    {"_warnings", _PyWarnings_Init},
    {"_weakref", PyInit__weakref},
    {"errno", PyInit_errno},
    {"marshal", PyMarshal_Init},
    {"posix", PyInit_posix},
    {"time", PyInit_time},
    {NULL, NULL},
};

extern const unsigned char frozen_code[]; /* data.S, made by build.py */

#define FROZEN(module, offset, length, package) \
    {.name = module, .code = frozen_code + (offset), .size = (length), .is_package = (package)},
static const struct _frozen bootstrap[] = {BOOTSTRAP_MODULES{.name = NULL}};
static const struct _frozen nothing[] = {{.name = NULL}};
static const char *const no_alias[2] = {NULL, NULL}; /* name and original name */

const struct _frozen *_PyImport_FrozenBootstrap = bootstrap;
const struct _frozen *_PyImport_FrozenStdlib = nothing;
const struct _frozen *_PyImport_FrozenTest = nothing;
const struct _frozen *PyImport_FrozenModules = NULL; /* pyrun.c's */
const void *_PyImport_FrozenAliases = no_alias;

#if PY_VERSION_HEX < 0x030d0000 /* what else deepfreeze.o defines, where there is one */
unsigned int _Py_next_func_version = 1;
int _Py_Deepfreeze_Init(void);
void _Py_Deepfreeze_Fini(void);

int _Py_Deepfreeze_Init(void)
{
    return 0;
}

void _Py_Deepfreeze_Fini(void)
{
}
#endif
