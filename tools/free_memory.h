/* free_memory.h - what this machine has free, less a margin: budgets where nobody gave one. */
#ifndef BERTH_TOOLS_FREE_MEMORY_H
#define BERTH_TOOLS_FREE_MEMORY_H

#include "policy/policy_file.h"

/* What the host has free, as the kernel tells; POLICY_UNSET where it does not. */
uint64_t free_memory_host_bytes(void);

/* Give each GPU of this machine what it has free for a budget.
 *
 * memory   no GPU has one; gets them
 * returns  NULL, or why there is none, to stand in a line. Static storage
 */
const char *free_memory_of_gpus(struct policy_memory *memory);

#endif
