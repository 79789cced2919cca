/* pytorch_globals.h - the Python names that a state dict may have, and what each means to us.
 *
 * A name exists only as a row of this table. Whatever else a pickle names is refused, for to go on
 * would be to guess what Python would have made of it.
 *
 * source   torch/_utils.py, torch/serialization.py, torch/_tensor.py and what they call
 */
#ifndef BERTH_POLICY_PYTORCH_GLOBALS_H
#define BERTH_POLICY_PYTORCH_GLOBALS_H

#include "dtype.h"
#include "pickle.h"

enum pytorch_role {
    PYTORCH_OPAQUE,    /* means nothing here: no tensor is looked for in it */
    PYTORCH_DICT,      /* an OrderedDict */
    PYTORCH_SIZE,      /* a tuple of extents */
    PYTORCH_STORAGE,   /* a class of storages, whose elements have a dtype */
    PYTORCH_DTYPE,     /* a dtype as such */
    PYTORCH_TENSOR,    /* makes a tensor: storage, offset, shape, strides, ... */
    PYTORCH_TENSOR_V3, /* the same, and its 7th argument is the dtype */
    PYTORCH_PARAMETER, /* makes a parameter of a tensor, its first argument */
    PYTORCH_FROM_TYPE, /* makes a tensor: one of the functions above, a class, its arguments */
    PYTORCH_CLASS,     /* the class of a tensor */
};

/* module, name, PICKLE_*, role, dtype of what has one */
#define PYTORCH_GLOBALS(X)                                                                         \
    X("collections", "OrderedDict", PICKLE_MAY_CALL | PICKLE_IS_MAPPING, DICT, COUNT)              \
    X("collections", "Counter", PICKLE_MAY_CALL, OPAQUE, COUNT)                                    \
    X("builtins", "set", PICKLE_MAY_CALL, OPAQUE, COUNT)                                           \
    X("builtins", "frozenset", PICKLE_MAY_CALL, OPAQUE, COUNT)                                     \
    X("builtins", "bytearray", PICKLE_MAY_CALL, OPAQUE, COUNT)                                     \
    X("builtins", "complex", PICKLE_MAY_CALL, OPAQUE, COUNT)                                       \
    X("__builtin__", "set", PICKLE_MAY_CALL, OPAQUE, COUNT)                                        \
    X("__builtin__", "frozenset", PICKLE_MAY_CALL, OPAQUE, COUNT)                                  \
    X("__builtin__", "bytearray", PICKLE_MAY_CALL, OPAQUE, COUNT)                                  \
    X("__builtin__", "complex", PICKLE_MAY_CALL, OPAQUE, COUNT)                                    \
    X("_codecs", "encode", PICKLE_MAY_CALL, OPAQUE, COUNT)                                         \
    X("torch", "device", PICKLE_MAY_CALL, OPAQUE, COUNT)                                           \
    X("torch.serialization", "_get_layout", PICKLE_MAY_CALL, OPAQUE, COUNT)                        \
    X("torch", "Size", PICKLE_MAY_CALL, SIZE, COUNT)                                               \
    X("torch._utils", "_rebuild_tensor", PICKLE_MAY_CALL, TENSOR, COUNT)                           \
    X("torch._utils", "_rebuild_tensor_v2", PICKLE_MAY_CALL, TENSOR, COUNT)                        \
    X("torch._utils", "_rebuild_tensor_v3", PICKLE_MAY_CALL, TENSOR_V3, COUNT)                     \
    X("torch._utils", "_rebuild_parameter", PICKLE_MAY_CALL, PARAMETER, COUNT)                     \
    X("torch._utils", "_rebuild_parameter_with_state", PICKLE_MAY_CALL, PARAMETER, COUNT)          \
    X("torch._tensor", "_rebuild_from_type_v2", PICKLE_MAY_CALL, FROM_TYPE, COUNT)                 \
    X("torch", "Tensor", 0, CLASS, COUNT)                                                          \
    X("torch.nn.parameter", "Parameter", 0, CLASS, COUNT)                                          \
    X("torch.nn.parameter", "Buffer", 0, CLASS, COUNT)                                             \
    X("torch.storage", "UntypedStorage", 0, STORAGE, U8)                                           \
    PYTORCH_STORAGES(X, "torch")                                                                   \
    PYTORCH_STORAGES(X, "torch.cuda")                                                              \
    X("torch", "bool", 0, DTYPE, BOOL)                                                             \
    X("torch", "uint8", 0, DTYPE, U8)                                                              \
    X("torch", "int8", 0, DTYPE, I8)                                                               \
    X("torch", "uint16", 0, DTYPE, U16)                                                            \
    X("torch", "int16", 0, DTYPE, I16)                                                             \
    X("torch", "uint32", 0, DTYPE, U32)                                                            \
    X("torch", "int32", 0, DTYPE, I32)                                                             \
    X("torch", "uint64", 0, DTYPE, U64)                                                            \
    X("torch", "int64", 0, DTYPE, I64)                                                             \
    X("torch", "float16", 0, DTYPE, F16)                                                           \
    X("torch", "bfloat16", 0, DTYPE, BF16)                                                         \
    X("torch", "float32", 0, DTYPE, F32)                                                           \
    X("torch", "float64", 0, DTYPE, F64)                                                           \
    X("torch", "complex64", 0, DTYPE, C64)                                                         \
    X("torch", "float8_e4m3fn", 0, DTYPE, F8_E4M3)                                                 \
    X("torch", "float8_e4m3fnuz", 0, DTYPE, F8_E4M3FNUZ)                                           \
    X("torch", "float8_e5m2", 0, DTYPE, F8_E5M2)                                                   \
    X("torch", "float8_e5m2fnuz", 0, DTYPE, F8_E5M2FNUZ)                                           \
    X("torch", "float8_e8m0fnu", 0, DTYPE, F8_E8M0)

#define PYTORCH_STORAGES(X, module)                                                                \
    X(module, "BoolStorage", 0, STORAGE, BOOL)                                                     \
    X(module, "ByteStorage", 0, STORAGE, U8)                                                       \
    X(module, "CharStorage", 0, STORAGE, I8)                                                       \
    X(module, "ShortStorage", 0, STORAGE, I16)                                                     \
    X(module, "IntStorage", 0, STORAGE, I32)                                                       \
    X(module, "LongStorage", 0, STORAGE, I64)                                                      \
    X(module, "HalfStorage", 0, STORAGE, F16)                                                      \
    X(module, "BFloat16Storage", 0, STORAGE, BF16)                                                 \
    X(module, "FloatStorage", 0, STORAGE, F32)                                                     \
    X(module, "DoubleStorage", 0, STORAGE, F64)                                                    \
    X(module, "ComplexFloatStorage", 0, STORAGE, C64)

/* The names as pickle_read() wants them. */
extern const struct pickle_global g_pytorch_globals[];
extern const size_t g_pytorch_global_count;

/* What a value names or was made by: GLOBAL, OBJECT; any other value is opaque. */
enum pytorch_role pytorch_role_of(const struct pickle_value *value);

/* The dtype of a storage's class or of a dtype; DTYPE_COUNT for what has none. */
enum dtype pytorch_dtype_of(const struct pickle_value *value);

#endif
