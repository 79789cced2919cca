/* host_fault.h - the SIGSEGV handler that serves the host's touches of managed memory.
 *
 * It answers for addresses of managed allocations and hands every other fault to the handler that
 * was there before. A program that installs a handler of its own later is put in front of it again
 * at the next managed allocation, prefetch or advice, and still gets its own faults.
 *
 * A system call does not fault like this: read() into managed memory that the host may not touch
 * yet fails with EFAULT, which a real driver would have served.
 */
#ifndef SIMCUDA_HOST_FAULT_H
#define SIMCUDA_HOST_FAULT_H

/* See to it that the handler is in front. Any lock; cheap. */
void host_fault_install(void);

#endif
