/* ptx_device_system.h - the functions that a driver brings along: vprintf and __assertfail.
 *
 * Part of the text of every translated module; see ptx_device.h. They are called like any .func,
 * with the results and parameters in arg[]. What a kernel prints goes to the process's stdout.
 */
#ifndef SIMCUDA_PTX_DEVICE_SYSTEM_H
#define SIMCUDA_PTX_DEVICE_SYSTEM_H

#ifndef SIMCUDA_PTX_DEVICE_H
#include "ptx_device.h"
#endif

#include <stdio.h>

#define PTX_TEXT_BYTES 1024

/* Copy a string that a generic address names; returns 0 after a fault. */
static inline int ptx_get_text(struct ptx_thread *t, uint64_t addr, char *out, size_t room)
{
    size_t n = 0;

    do {
        const uint8_t *p = ptx_at_generic(t, addr + n, 1, MMU_READ);

        if (!p)
            return 0;
        out[n] = (char)*p;
    } while (out[n] && ++n < room - 1);
    out[n] = 0;
    return 1;
}

/* The next variable argument; they lie one after another, aligned to their size. */
static inline int ptx_get_argument(struct ptx_thread *t, uint64_t *at, unsigned bytes,
                                   uint64_t *out)
{
    const uint8_t *p;

    *at = (*at + bytes - 1) & ~(uint64_t)(bytes - 1);
    p = ptx_at_generic(t, *at, bytes, MMU_READ);
    if (!p)
        return 0;
    *out = 0;
    memcpy(out, p, bytes);
    *at += bytes;
    return 1;
}

/* One conversion, such as %-8.3f; returns the bytes written or -1 after a fault. */
static inline int ptx_put_argument(struct ptx_thread *t, char *spec, char kind, uint64_t *at,
                                   char *out, size_t room)
{
    int wide = strchr(spec, 'l') || strchr(spec, 'z') || strchr(spec, 'j') || strchr(spec, 't');
    char text[PTX_TEXT_BYTES];
    uint64_t bits;
    double real;

    if (!ptx_get_argument(t, at, wide || strchr("eEfFgGaAsp", kind) ? 8 : 4, &bits))
        return -1;
    switch (kind) {
    case 's':
        if (!ptx_get_text(t, bits, text, sizeof(text)))
            return -1;
        return snprintf(out, room, spec, text);
    case 'c':
    case 'd':
    case 'i':
    case 'u':
    case 'o':
    case 'x':
    case 'X':
        return wide ? snprintf(out, room, spec, bits) : snprintf(out, room, spec, (uint32_t)bits);
    case 'p':
        return snprintf(out, room, spec, (void *)(uintptr_t)bits);
    default:
        memcpy(&real, &bits, 8);
        return snprintf(out, room, spec, real);
    }
}

static inline __attribute__((unused)) int ptx_system_vprintf(struct ptx_thread *t,
                                                             uint8_t *const *arg)
{
    char format[PTX_TEXT_BYTES], out[4 * PTX_TEXT_BYTES], spec[32];
    uint64_t at = ptx_load64(arg[2]);
    size_t used = 0;

    if (!ptx_get_text(t, ptx_load64(arg[1]), format, sizeof(format)))
        return PTX_FAULTED;
    for (const char *f = format; *f && used + 1 < sizeof(out);) {
        size_t n = *f == '%' ? 1 + strspn(f + 1, "-+ #0123456789.hlzjt") : 0;
        int wrote;

        if (n == 0 || n + 2 > sizeof(spec) || !f[n] || !strchr("diuoxXcsfFeEgGaAp", f[n])) {
            f += f[0] == '%' && f[1] == '%';
            out[used++] = *f++;
            continue;
        }
        memcpy(spec, f, n + 1);
        spec[n + 1] = 0;
        wrote = ptx_put_argument(t, spec, f[n], &at, out + used, sizeof(out) - used);
        if (wrote < 0)
            return PTX_FAULTED;
        used += (size_t)wrote < sizeof(out) - used ? (size_t)wrote : sizeof(out) - used - 1;
        f += n + 1;
    }
    fwrite(out, 1, used, stdout);
    ptx_store32(arg[0], (uint32_t)used);
    return PTX_DONE;
}

static inline __attribute__((unused)) int ptx_system_assertfail(struct ptx_thread *t,
                                                                uint8_t *const *arg)
{
    char message[PTX_TEXT_BYTES], file[PTX_TEXT_BYTES], function[PTX_TEXT_BYTES];
    const struct ptx_block *b = t->block;

    if (!ptx_get_text(t, ptx_load64(arg[0]), message, sizeof(message)) ||
        !ptx_get_text(t, ptx_load64(arg[1]), file, sizeof(file)) ||
        !ptx_get_text(t, ptx_load64(arg[3]), function, sizeof(function)))
        return PTX_FAULTED;
    fprintf(stderr, "%s:%u: %s: block: [%u,%u,%u], thread: [%u,%u,%u] Assertion `%s` failed.\n",
            file, ptx_load32(arg[2]), function, b->ctaid[0], b->ctaid[1], b->ctaid[2], t->tid[0],
            t->tid[1], t->tid[2], message);
    ptx_fault(b->run, PTX_FAULT_ASSERT, 0);
    return PTX_FAULTED;
}

#endif
