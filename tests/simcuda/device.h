/* device.h - the simulated card: a Turing-like one with a PCIe 4 link.
 *
 * Compute capability 7.5 because code that asks for more would bring instructions that the
 * translator does not know.
 */
#ifndef SIMCUDA_DEVICE_H
#define SIMCUDA_DEVICE_H

#include "sim.h"

#define DEVICE_CC_MAJOR           7
#define DEVICE_CC_MINOR           5
#define DEVICE_MULTIPROCESSORS    40
#define DEVICE_WARP               32
#define DEVICE_BLOCK_THREADS      1024 /* most threads of a block */
#define DEVICE_BLOCK_Z            64
#define DEVICE_GRID_X             2147483647
#define DEVICE_GRID_YZ            65535
#define DEVICE_SM_THREADS         1024 /* resident on a multiprocessor */
#define DEVICE_SM_BLOCKS          16
#define DEVICE_SM_SHARED_BYTES    65536
#define DEVICE_SHARED_BYTES       49152 /* of a block, without asking for more */
#define DEVICE_SHARED_OPTIN_BYTES 65536
#define DEVICE_REGISTERS          65536
#define DEVICE_PITCH_BYTES        2147483647
#define DEVICE_CONST_BYTES        65536

#endif
