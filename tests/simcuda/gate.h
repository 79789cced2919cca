/* gate.h - what stands between a caller and the driver's functions: counts of calls, and failures
 * on request.
 *
 * SIMCUDA_FAIL is a list of NAME:N[:CODE], separated by commas. The Nth call of NAME answers CODE
 * (2 when none is given) and does nothing; N+ means that one and all that follow. NAME is an
 * export, or what is left of one without _v2 and _ptsz, for all of them together, or "any". Of the
 * calls only those count that come from an object file whose path contains SIMCUDA_FAIL_CALLER.
 * Whose call it is, is told by the return address; a call that a library passes on by a jump is its
 * caller's.
 *
 * SIMCUDA_CALLS is a file that receives, when the process ends, a line for each export and calling
 * object: the export, the number of calls, how many of them were made to fail, the object's path,
 * with tabs between.
 *
 * Without any of these the gate is open and costs a comparison.
 *
 * Locks: one of its own, a leaf. Any thread may call at any time, before cuInit as well.
 */
#ifndef SIMCUDA_GATE_H
#define SIMCUDA_GATE_H

#include <stddef.h>
#include <stdint.h>

/* One part of SIMCUDA_FAIL. */
struct gate_request {
    char name[80];
    uint64_t first; /* calls are counted from 1 */
    int is_open;    /* all calls from first on, not only that one */
    int code;
};

/* Parse one part, the first `length` bytes of text. returns 0 or -EINVAL */
int gate_request_parse(const char *text, size_t length, struct gate_request *out);
/* Does the request mean this export? */
int gate_request_names(const struct gate_request *request, const char *symbol);
/* Does it mean the count-th call of those? */
int gate_request_hits(const struct gate_request *request, uint64_t count);

/* A child of fork: its calls are neither counted nor failed. The lock may have been held by a
 * thread that is not there. */
void gate_forked(void);
/* Write SIMCUDA_CALLS, when that is set; once, at the end. */
void gate_report(void);

#endif
