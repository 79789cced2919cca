/* stub.c - a second name for libberth.so.
 *
 * A library with SONAME libcuda.so that needs libcuda.so.1, which is libberth.so: a program linked
 * against the one or opening it by that name finds the driver's functions in its dependency. It has
 * no function of its own, only the note that marks it as ours (driver_path.h).
 */
#include <stdint.h>

static const struct {
    uint32_t name_bytes;
    uint32_t description_bytes;
    uint32_t type;
    char name[8];
} g_note __attribute__((section(".note.berth"), used, aligned(4))) = {6, 0, 1, "Berth"};
