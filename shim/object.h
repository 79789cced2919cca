/* object.h - the objects of an allocation: byte intervals that uploads defined.
 *
 * An object is what one upload, or a run of adjacent uploads, put on the device; it is bound when
 * its parameter is known. Bytes of an allocation that belong to no object were never uploaded: the
 * program's own working memory. Objects of one allocation are sorted and never overlap. Everything
 * here is guarded by range.h's lock, held for writing by what changes objects.
 */
#ifndef BERTH_OBJECT_H
#define BERTH_OBJECT_H

#include "range.h"
#include "stats.h"

struct object {
    CUdeviceptr first, end;      /* half-open, inside its allocation */
    const struct tensor *tensor; /* NULL while anonymous; owned by a checkpoint, which never goes */
    uint64_t tensor_offset;      /* of first, in the tensor's bytes */
    enum stats_evidence evidence;
    int place;                   /* as placement_find() says; POLICY_NOWHERE while anonymous */
    int written;                 /* changed on the device since it was uploaded */
    struct stats_record *record; /* NULL when the statistics are full */
};

/* The bytes around addr that belong together: its object, else the gap between two objects.
 *
 * allocation  holds addr
 * first, end  the interval
 * returns     the object, NULL for a gap
 */
struct object *object_span(struct allocation *allocation, CUdeviceptr addr, CUdeviceptr *first,
                           CUdeviceptr *end);

/* What could lie at an address, by what lies around it: distance bytes into a tensor, or at its end
 * what follows it in the file. */
struct object_expected {
    const struct tensor *tensor;
    uint64_t distance;
};
#define OBJECT_EXPECTED_MAX 2

/* What the objects at addr, before it and behind it suggest.
 *
 * returns  how many of out are set
 */
size_t object_expect(const struct allocation *allocation, CUdeviceptr addr,
                     struct object_expected out[OBJECT_EXPECTED_MAX]);

/* Does an object lie at addr? */
int object_is_at(const struct allocation *allocation, CUdeviceptr addr);

/* The object that [first, end) lies in, if object_define() with the same bytes once more would
 * change nothing; else NULL. */
const struct object *object_settled(const struct allocation *allocation, CUdeviceptr first,
                                    CUdeviceptr end);

/* Widen [*first, *end) to the addresses that the tensors of its objects take when all of each is
 * there. *end may lie behind the allocation's. */
void object_tensor_span(const struct allocation *allocation, CUdeviceptr *first, CUdeviceptr *end);

/* Define [first, end) as a piece of a tensor, or as anonymous bytes where tensor is NULL.
 *
 * What lies there already is replaced: objects that are covered go, objects that are touched are
 * cut. A piece that continues a neighbour (the same tensor, at the place where the tensor would
 * be; or both anonymous) joins it.
 *
 * returns  0 or -ENOMEM: then nothing changed
 */
int object_define(struct allocation *allocation, CUdeviceptr first, CUdeviceptr end,
                  const struct tensor *tensor, uint64_t tensor_offset,
                  enum stats_evidence evidence);

/* [first, end) is no object's any more: bytes that belong to no parameter were put there.
 *
 * returns  0 or -ENOMEM: then nothing changed
 */
int object_erase(struct allocation *allocation, CUdeviceptr first, CUdeviceptr end);

/* [first, end) was changed by a copy or memset on the device: objects there are marked. */
void object_mark_written(struct allocation *allocation, CUdeviceptr first, CUdeviceptr end);

/* All objects of an allocation go, and its pieces (piece.h). */
void object_clear(struct allocation *allocation);

/* How [first, end) of a range's addresses must be loaded: BACKEND_SHARED when every allocated byte
 * of it was uploaded (but for padding of up to a page of 4 KiB between objects), else
 * BACKEND_MOVED. Takes the lock for reading. */
enum backend_mode object_mode(CUdeviceptr first, CUdeviceptr end);

/* Does an allocation begin at or before first, and one end at or after first + bytes? So little of
 * what lies between is nobody's that BACKEND_SHARED means nearly all of it. Takes the lock for
 * reading. */
int object_fills_ends(CUdeviceptr first, size_t bytes);

enum object_move {
    OBJECT_LOADED,
    OBJECT_DROPPED,
};

/* Count a load or a drop of [first, end) for the parameters that lie there. Takes the lock for
 * reading; never changes an object. */
void object_account(CUdeviceptr first, CUdeviceptr end, enum object_move move);

/* Count the time that a launch waited for [first, end): for the parameter that has most bytes
 * there. Takes the lock for reading. */
void object_account_stall(CUdeviceptr first, CUdeviceptr end, uint64_t stall_ns);

#endif
