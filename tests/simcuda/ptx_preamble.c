/* ptx_preamble.c - the headers of translated modules, as a string.
 *
 * The assembler takes the files in as they are; they are included as well, so that a change of one
 * rebuilds this object.
 */
#include "ptx_preamble.h"

#include "mmu.h"
#include "ptx_device.h"
#include "ptx_device_barrier.h"
#include "ptx_device_float.h"
#include "ptx_device_half.h"
#include "ptx_device_int.h"
#include "ptx_device_system.h"

__asm__(".pushsection .rodata\n"
        ".globl ptx_preamble\n"
        ".hidden ptx_preamble\n"
        ".type ptx_preamble, @object\n"
        "ptx_preamble:\n"
        ".incbin \"tests/simcuda/mmu.h\"\n"
        ".incbin \"tests/simcuda/ptx_device.h\"\n"
        ".incbin \"tests/simcuda/ptx_device_barrier.h\"\n"
        ".incbin \"tests/simcuda/ptx_device_int.h\"\n"
        ".incbin \"tests/simcuda/ptx_device_float.h\"\n"
        ".incbin \"tests/simcuda/ptx_device_half.h\"\n"
        ".incbin \"tests/simcuda/ptx_device_system.h\"\n"
        ".byte 0\n"
        ".size ptx_preamble, . - ptx_preamble\n"
        ".popsection\n");
