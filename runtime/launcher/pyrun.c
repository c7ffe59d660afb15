/* The program pyrun: starts the interpreter that is linked into it, half initialised and isolated, and calls
 * pyrun.main.main(arguments) of the modules that are frozen into it. All else is Python.
 *
 * Half initialised means: builtins, posix and frozen modules, but no import from disk, no io, site or encodings, and
 * no environment variable read (PEP 432's core phase, PyConfig._init_main). That takes half the time of
 * `python -I -S`, and nothing outside of this file can ever be imported.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "snapshot.h"
#include "build_facts.h" /* made by build.py: names of the frozen modules, VERSION, COMMIT, PYTHON */

extern const unsigned char frozen_code[], stage2_start[], stage2_end[]; /* data.S, made by build.py */
PyMODINIT_FUNC PyInit__cffi_backend(void);
PyMODINIT_FUNC PyInit__pyrun_kernel(void);
PyMODINIT_FUNC PyInit__speedups(void);

#define FROZEN(module, offset, length, package) \
    {.name = module, .code = frozen_code + (offset), .size = (length), .is_package = (package)},
static const struct _frozen modules[] = {FROZEN_MODULES{.name = NULL}};

static int add_facts(PyObject *module)
{
    PyObject *stage2 =
        PyMemoryView_FromMemory((char *)(uintptr_t)stage2_start, stage2_end - stage2_start, PyBUF_READ);
    int failed = PyModule_AddObjectRef(module, "STAGE2", stage2) < 0 ||
                 PyModule_AddStringConstant(module, "VERSION", VERSION) < 0 ||
                 PyModule_AddStringConstant(module, "COMMIT", COMMIT) < 0 ||
                 PyModule_AddStringConstant(module, "PYTHON", PYTHON) < 0;
    Py_XDECREF(stage2);
    return failed ? -1 : 0;
}

static PyObject *init_build(void)
{
    static PyModuleDef_Slot slots[] = {{Py_mod_exec, (void *)(uintptr_t)add_facts}, {0, NULL}};
    static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "_pyrun_build",
                                            .m_doc = "Facts of the build: STAGE2, VERSION, COMMIT, PYTHON.",
                                            .m_slots = slots};
    return PyModuleDef_Init(&definition);
}

static void die(PyStatus status)
{
    fprintf(stderr, "pyrun: internal error: the interpreter does not start: %s\n",
            status.err_msg ? status.err_msg : "no reason given");
    _exit(1);
}

static void start_interpreter(void)
{
    PyPreConfig before;
    PyPreConfig_InitIsolatedConfig(&before);
    before.utf8_mode = 1;
    PyStatus status = Py_PreInitialize(&before);
    if (PyStatus_Exception(status))
        die(status);

    PyImport_AppendInittab("_pyrun_build", init_build);
    PyImport_AppendInittab("_cffi_backend", PyInit__cffi_backend);
    PyImport_AppendInittab("_pyrun_kernel", PyInit__pyrun_kernel);
    PyImport_AppendInittab("_pyrun_json", PyInit__speedups);
    PyImport_FrozenModules = modules;

    PyConfig config;
    PyConfig_InitIsolatedConfig(&config);
    config._init_main = 0;
    config.use_hash_seed = 1; /* the same start every time; the only dictionaries an attacker fills are his own */
    config.install_signal_handlers = 0;
    config.site_import = 0;
    config.write_bytecode = 0;
    config.pathconfig_warnings = 0;
    config.code_debug_ranges = 0;
    config.module_search_paths_set = 1; /* empty; and all paths are given, so that none is looked for */
    wchar_t nowhere[] = L"";
    wchar_t self[] = L"pyrun";
    config.program_name = config.executable = config.base_executable = self;
    config.prefix = config.base_prefix = config.exec_prefix = config.base_exec_prefix = nowhere;
    config.stdlib_dir = config.platlibdir = nowhere;
    status = Py_InitializeFromConfig(&config);
    if (PyStatus_Exception(status))
        die(status);
    PyGC_Disable(); /* a command ends before a cycle's memory could matter */
}

static PyObject *list_of_arguments(int argc, char **argv)
{
    PyObject *list = PyList_New(argc > 0 ? argc - 1 : 0);
    for (int i = 1; list && i < argc; i++) {
        PyObject *text = PyUnicode_DecodeUTF8(argv[i], (Py_ssize_t)strlen(argv[i]), "surrogateescape");
        if (!text)
            Py_CLEAR(list);
        else
            PyList_SET_ITEM(list, i - 1, text);
    }
    return list;
}

/* An exception that main let through: one line for whoever reports it. */
static int internal_error(void)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (value && PyErr_GivenExceptionMatches(type, PyExc_SystemExit)) {
        PyObject *code = PyObject_GetAttrString(value, "code");
        int status = code == Py_None ? 0 : code && PyLong_Check(code) ? (int)PyLong_AsLong(code) : 1;
        return status;
    }
    PyObject *text = value ? PyObject_Repr(value) : NULL;
    const char *words = text ? PyUnicode_AsUTF8(text) : NULL;
    fprintf(stderr, "pyrun: internal error: %s", words ? words : "unknown");
    for (PyTracebackObject *at = (PyTracebackObject *)traceback; at; at = at->tb_next) {
        PyCodeObject *code = PyFrame_GetCode(at->tb_frame);
        int line = at->tb_lineno >= 0 ? at->tb_lineno : PyCode_Addr2Line(code, at->tb_lasti);
        fprintf(stderr, "; %s:%d", PyUnicode_AsUTF8(code->co_filename), line);
    }
    fputc('\n', stderr);
    return 1;
}

#ifdef PYRUN_TRACE_IMPORTS
/* For tests, in a binary of their own: the names of all loaded modules and of all functions that were called, also in
 * processes that were born, a line each, to descriptor 9. */
static struct {
    size_t used;
    char text[1 << 20];
} *calls;

static int note_call(PyObject *seen, PyFrameObject *frame, int what, PyObject *Py_UNUSED(argument))
{
    if (what != PyTrace_CALL)
        return 0;
    PyCodeObject *code = PyFrame_GetCode(frame);
    if (!PySet_Contains(seen, (PyObject *)code) && !PySet_Add(seen, (PyObject *)code)) {
        char line[512];
        int length = snprintf(line, sizeof line, "%s %s\n", PyUnicode_AsUTF8(code->co_filename),
                              PyUnicode_AsUTF8(code->co_qualname));
        size_t at = __atomic_fetch_add(&calls->used, (size_t)length, __ATOMIC_RELAXED);
        if (at + (size_t)length < sizeof calls->text)
            memcpy(calls->text + at, line, (size_t)length);
    }
    Py_DECREF(code);
    return 0;
}

static void begin_trace(void)
{
    calls = mmap(NULL, sizeof *calls, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (calls != MAP_FAILED)
        PyEval_SetProfile(note_call, PySet_New(NULL));
}

static void end_trace(void)
{
    PyObject *key, *value;
    Py_ssize_t position = 0;
    while (PyDict_Next(PyImport_GetModuleDict(), &position, &key, &value))
        dprintf(9, "%s\n", PyUnicode_AsUTF8(key));
    dprintf(9, "%s", calls->text);
}
#else
static void begin_trace(void) {}
static void end_trace(void) {}
#endif

#ifdef PYRUN_SNAPSHOT
/* Run the Python program of a file, which may use what is built in. */
static void run_script(const char *path)
{
    struct stat told;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    char *text = file < 0 || fstat(file, &told) ? NULL : calloc(1, (size_t)told.st_size + 1);
    if (!text || read(file, text, (size_t)told.st_size) != told.st_size)
        die(PyStatus_Error("the script can't be read"));
    PyObject *code = Py_CompileString(text, path, Py_file_input);
    PyObject *names = Py_BuildValue("{s:O,s:s}", "__builtins__", PyEval_GetBuiltins(), "__name__", "__main__");
    if (!code || !names || !PyEval_EvalCode(code, names, names))
        _exit(internal_error());
}

/* Build time: import all that is frozen, run a script if one is given, and become the data of the binary. */
static void prepare(const char *script)
{
    for (const struct _frozen *module = modules; module->name; module++)
        if (!PyImport_ImportModule(module->name))
            _exit(internal_error());
    PyGC_Collect();
    PyType_ClearCache(); /* a look-up would release the names that were looked up at build time, all over the place */
    if (script) {
        heap_end();
        run_script(script);
    }
    snapshot_take(!!script);
}

/* posix.environ is this process's environment, not the builder's (who had none, see build.py). */
static void renew_environment(void)
{
    PyObject *posix = PyImport_ImportModule("posix");
    PyObject *known = posix ? PyObject_GetAttrString(posix, "environ") : NULL;
    for (char **variable = environ; known && *variable; variable++) {
        const char *equals = strchr(*variable, '=');
        PyObject *name = equals ? PyBytes_FromStringAndSize(*variable, equals - *variable) : NULL;
        PyObject *value = name ? PyBytes_FromString(equals + 1) : NULL;
        if (value)
            PyDict_SetDefault(known, name, value);
        Py_XDECREF(name);
        Py_XDECREF(value);
    }
    if (PyErr_Occurred())
        _exit(internal_error());
}

/* Whether it looks like a command that makes processes. A wrong guess costs time, nothing else. */
static int is_heavy(char **argv)
{
    for (; *argv; argv++)
        if (!strcmp(*argv, "create") || !strcmp(*argv, "run") || !strcmp(*argv, "exec"))
            return 1;
    return 0;
}

static void begin(char **argv)
{
    if (!heap_is_taken()) {
        snapshot_begin();
        start_interpreter();
        prepare(argv[1]);
    }
    snapshot_resume(is_heavy(argv));
    renew_environment();
}
#else
static void begin(char **Py_UNUSED(argv))
{
    start_interpreter();
}
#endif

int main(int argc, char **argv)
{
    begin(argv);
    signal(SIGPIPE, SIG_IGN); /* a reader that has gone is an error of write, which may be none, as an interpreter has it */
    begin_trace();
    PyObject *arguments = list_of_arguments(argc, argv);
    PyObject *module = arguments ? PyImport_ImportModule("pyrun.main") : NULL;
    PyObject *result = module ? PyObject_CallMethod(module, "main", "O", arguments) : NULL;
    int status = result ? (int)PyLong_AsLong(result) : internal_error();
    if (PyErr_Occurred())
        status = internal_error();
    end_trace();
    _exit(status); /* nothing is buffered, and what is in memory can be left to the kernel */
}
