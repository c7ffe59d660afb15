/* The modules of the interpreter that a static binary holds: what it starts with, and what hot modules import.
 *
 * This takes the place of the table in libpython's config.o, which names every module that this build of Python has:
 * the linker then leaves those out, and with them zlib, expat and all that a runtime must not be able to load.
 */
#include <Python.h>

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
