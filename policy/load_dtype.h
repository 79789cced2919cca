/* load_dtype.h - what weights become when a program loads them, and the bits that they take then.
 *
 * A program that is told a dtype makes all weights of that type which are wider floating point;
 * nothing is loaded wider than it is stored, and integers and packed types stay what they are. A
 * special dtype is what the weights that it names have in any case, whatever is stored. Pure
 * functions.
 */
#ifndef BERTH_POLICY_LOAD_DTYPE_H
#define BERTH_POLICY_LOAD_DTYPE_H

#include "checkpoint.h"
#include "dtype.h"
#include <stddef.h>
#include <stdint.h>

struct load_special {
    char *pattern; /* pattern.h: of a tensor, or of a module and all below it */
    enum dtype dtype;
};

struct load_dtypes {
    enum dtype dtype; /* DTYPE_COUNT leaves weights as stored */
    const struct load_special *specials;
    size_t special_count; /* of those that match a tensor the first counts */
};

/* Is anything loaded as another type than it is stored? */
int load_dtypes_convert(const struct load_dtypes *loads);

/* The bits that a tensor takes in memory.
 *
 * as       a type of floating point that all are made of, or DTYPE_COUNT
 * bits     set on success only
 * returns  0; -EOVERFLOW; -EDOM as dtype_tensor_bytes()
 */
int load_bits(enum dtype stored, const uint64_t *shape, size_t rank, enum dtype as, uint64_t *bits);

/* The same for a tensor of a checkpoint.
 *
 * returns  bits; UINT64_MAX where a special type takes more than the type goes
 */
uint64_t load_tensor_bits(const struct load_dtypes *loads, const struct tensor *tensor);

#endif
