/* What runs before main, in a static binary, in the place of the C library's __libc_start_main; or nothing.
 *
 * The C library asks the processor some forty questions at each start, to choose the best of its memcpy and to know the
 * sizes of caches. Each question (the instruction CPUID) takes a nanosecond or so on a real machine; in a virtual one
 * it goes to the host, for 1 to 10 us each: up to half of the time that a small command takes. A command moves too
 * little memory for the answers to matter, so nothing is asked, and the plain versions of everything are taken, which
 * each x86-64 processor has. Nor are GLIBC_TUNABLES read.
 *
 * The steps are the C library's own, in its order; their names are known to archives only. Another version may have
 * others, so that each one is allowed here by its number after a look at it: the rest has the library's own start.
 */
#include <features.h>

#if defined(__x86_64__) && defined(__GLIBC__) && __GLIBC__ == 2 && (__GLIBC_MINOR__ == 36 || __GLIBC_MINOR__ == 41)
#include <elf.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

extern char **environ;
extern void *__libc_stack_end;
extern int __libc_enable_secure;
extern uintptr_t *_dl_random; /* 16 random bytes from the kernel */
extern const Elf64_Rela __rela_iplt_start[] __attribute__((weak)), __rela_iplt_end[] __attribute__((weak));
extern void (*__preinit_array_start[])(int, char **, char **), (*__preinit_array_end[])(int, char **, char **);
extern void (*__init_array_start[])(int, char **, char **), (*__init_array_end[])(int, char **, char **);
void _dl_aux_init(Elf64_auxv_t *auxiliary);
void _dl_relocate_static_pie(void);
void __libc_setup_tls(void);
void __libc_early_init(_Bool initial);
void __libc_init_first(int argc, char **argv, char **environment);
void __libc_check_standard_fds(void);
void _init(void);
int __libc_start_main(int (*main)(int, char **, char **), int argc, char **argv, void (*init)(void), void (*fini)(void),
                      void (*rtld_fini)(void), void *stack_end);

/* What the library's own start sets by the sizes of caches: its defaults. */
long __x86_data_cache_size_half = 32 * 1024 / 2;
long __x86_data_cache_size = 32 * 1024;
long __x86_shared_cache_size_half = 1024 * 1024 / 2;
long __x86_shared_cache_size = 1024 * 1024;
long __x86_shared_non_temporal_threshold = 1024 * 1024 * 3 / 4;
long __x86_rep_movsb_threshold = 2048;
long __x86_rep_stosb_threshold = 2048;
long __x86_rep_movsb_stop_threshold = 1024 * 1024 * 3 / 4;
int __x86_string_control;
#if __GLIBC_MINOR__ == 41
long __x86_memset_non_temporal_threshold = 1024 * 1024 * 3 / 4;
unsigned long _dl_x86_features_tlsdesc_state_size; /* of shared libraries */
#endif

/* The addresses of functions that have several versions, which each tell what to take. */
static void choose_versions(void)
{
    for (const Elf64_Rela *each = __rela_iplt_start; each < __rela_iplt_end; each++)
        *(uintptr_t *)each->r_offset = ((uintptr_t(*)(void))each->r_addend)();
}

__attribute__((no_stack_protector)) int __libc_start_main(int (*main)(int, char **, char **), int argc, char **argv,
                                                          void (*init)(void), void (*fini)(void),
                                                          void (*rtld_fini)(void), void *stack_end)
{
    (void)init, (void)fini, (void)rtld_fini; /* a static program has none of its own */
    environ = argv + argc + 1;
    __libc_stack_end = stack_end;
    char **end = environ;
    while (*end)
        end++;
    _dl_aux_init((Elf64_auxv_t *)(end + 1));
    _dl_relocate_static_pie();
    choose_versions();
    __libc_setup_tls();
    __asm__ volatile("movq %0, %%fs:0x28" : : "r"(_dl_random[0] & ~(uintptr_t)0xff)); /* for stack protectors */
    __asm__ volatile("movq %0, %%fs:0x30" : : "r"(_dl_random[1]));                    /* guards saved pointers */
    __libc_early_init(1);
    __libc_init_first(argc, argv, environ);
    if (__libc_enable_secure)
        __libc_check_standard_fds();
    for (size_t i = 0; i < (size_t)(__preinit_array_end - __preinit_array_start); i++)
        __preinit_array_start[i](argc, argv, environ);
    _init();
    for (size_t i = 0; i < (size_t)(__init_array_end - __init_array_start); i++)
        __init_array_start[i](argc, argv, environ);
    exit(main(argc, argv, environ));
}
#else
typedef int nothing_here;
#endif
