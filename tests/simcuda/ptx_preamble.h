/* ptx_preamble.h - the text that stands before every translated module.
 *
 * It is the text of mmu.h and of the ptx_device headers themselves, so that what the translated
 * code believes about the structures is what the runtime was compiled with.
 */
#ifndef SIMCUDA_PTX_PREAMBLE_H
#define SIMCUDA_PTX_PREAMBLE_H

extern const char ptx_preamble[]; /* NUL-terminated */

#endif
