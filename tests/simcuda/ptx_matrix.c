/* ptx_matrix.c - what a warp computes with matrices that are spread over its threads.
 *
 * Products are exact and sums are taken in double, in order of k, and rounded once; the hardware
 * promises no more than that the order is its own.
 */
#include <math.h>

#include "ptx_device_half.h"
#include "ptx_run.h"

#define WARP         32
#define ELEMENTS_MAX 512 /* of one matrix */

struct position {
    unsigned row, column;
};

static unsigned element_bits(unsigned element)
{
    static const uint8_t bits[] = {
#define X(name, bits) [PTX_ELEMENT_##name] = bits,
        PTX_ELEMENTS(X)
#undef X
    };

    return bits[element];
}

/* Elements in one register: of a and b 32 bits, or a double. */
static unsigned per_register(unsigned element)
{
    return element_bits(element) == 64 ? 1 : 32 / element_bits(element);
}

static double decode(unsigned element, uint64_t bits)
{
    switch (element) {
    case PTX_ELEMENT_f16:
        return ptx_from_f16((uint16_t)bits);
    case PTX_ELEMENT_bf16:
        return ptx_from_bf16((uint16_t)bits);
    case PTX_ELEMENT_tf32: /* the last 13 bits are not looked at */
        return ptx_f32((uint32_t)bits & 0xffffe000u);
    case PTX_ELEMENT_f32:
        return ptx_f32((uint32_t)bits);
    case PTX_ELEMENT_f64:
        return ptx_f64(bits);
    case PTX_ELEMENT_s8:
        return (int8_t)bits;
    case PTX_ELEMENT_u8:
        return (uint8_t)bits;
    default:
        return (int32_t)bits;
    }
}

static uint64_t encode(const struct ptx_matrix *matrix, double value)
{
    switch (matrix->d) {
    case PTX_ELEMENT_f16:
        return ptx_to_f16(value, PTX_RN);
    case PTX_ELEMENT_f32:
        return ptx_bits32(ptx_canon((float)value));
    case PTX_ELEMENT_f64:
        return ptx_bits64(value);
    default:
        if (matrix->saturates)
            value = fmin(fmax(value, INT32_MIN), INT32_MAX);
        return (uint32_t)(int64_t)value;
    }
}

static uint64_t tile_bits(const struct ptx_thread *t, unsigned first, unsigned element,
                          unsigned slot)
{
    unsigned each = per_register(element);

    return t->tile[first + slot / each] >> slot % each * element_bits(element);
}

/* Where a thread's element lies in a matrix of which no instruction says how it is spread. */
static struct position opaque(unsigned lane, unsigned slot, unsigned columns)
{
    unsigned at = slot * WARP + lane;

    return (struct position){at / columns, at % columns};
}

/* [m][k]: a register holds neighbours of a row; with 16 rows the registers take turns, 8 rows
 * apart.
 */
static struct position place_a(const struct ptx_matrix *matrix, unsigned lane, unsigned slot)
{
    unsigned each = per_register(matrix->a), reg = slot / each, high = matrix->m == 16;
    unsigned column = lane % 4 * each + slot % each;

    if (matrix->is_opaque)
        return opaque(lane, slot, matrix->k);
    return (struct position){lane / 4 + (high ? reg % 2 * 8 : 0),
                             column + 4 * each * (reg >> high)};
}

/* [k][n]: a register holds neighbours of a column. */
static struct position place_b(const struct ptx_matrix *matrix, unsigned lane, unsigned slot)
{
    unsigned each = per_register(matrix->b);

    if (matrix->is_opaque)
        return opaque(lane, slot, matrix->n);
    return (struct position){lane % 4 * each + slot % each + 4 * each * (slot / each), lane / 4};
}

/* [m][n]: pairs of a row. */
static struct position place_c(const struct ptx_matrix *matrix, unsigned lane, unsigned slot)
{
    if (matrix->is_opaque)
        return opaque(lane, slot, matrix->n);
    return (struct position){lane / 4 + slot / 2 * 8, lane % 4 * 2 + slot % 2};
}

static void gather(const struct ptx_thread *warp, double *a, double *b, double *c)
{
    const struct ptx_matrix *matrix = warp->matrix;

    for (unsigned lane = 0; lane < WARP; lane++) {
        for (unsigned s = 0; s < matrix->m * matrix->k / WARP; s++) {
            struct position at = place_a(matrix, lane, s);

            a[at.row * matrix->k + at.column] =
                decode(matrix->a, tile_bits(&warp[lane], PTX_TILE_A, matrix->a, s));
        }
        for (unsigned s = 0; s < matrix->k * matrix->n / WARP; s++) {
            struct position at = place_b(matrix, lane, s);

            b[at.row * matrix->n + at.column] =
                decode(matrix->b, tile_bits(&warp[lane], PTX_TILE_B, matrix->b, s));
        }
        for (unsigned s = 0; s < matrix->m * matrix->n / WARP; s++) {
            struct position at = place_c(matrix, lane, s);

            c[at.row * matrix->n + at.column] =
                decode(matrix->c, tile_bits(&warp[lane], PTX_TILE_C, matrix->c, s));
        }
    }
}

static void multiply(const struct ptx_matrix *matrix, const double *a, const double *b, double *c)
{
    for (unsigned row = 0; row < matrix->m; row++)
        for (unsigned column = 0; column < matrix->n; column++)
            for (unsigned k = 0; k < matrix->k; k++)
                c[row * matrix->n + column] = fma(a[row * matrix->k + k], b[k * matrix->n + column],
                                                  c[row * matrix->n + column]);
}

static void scatter(struct ptx_thread *warp, const double *d)
{
    const struct ptx_matrix *matrix = warp->matrix;
    unsigned each = per_register(matrix->d), bits = element_bits(matrix->d);

    for (unsigned lane = 0; lane < WARP; lane++) {
        uint64_t *out = warp[lane].tile + PTX_TILE_D;

        memset(out, 0, (PTX_TILE_WORDS - PTX_TILE_D) * sizeof(*out));
        for (unsigned s = 0; s < matrix->m * matrix->n / WARP; s++) {
            struct position at = place_c(matrix, lane, s);

            out[s / each] |= encode(matrix, d[at.row * matrix->n + at.column]) << s % each * bits;
        }
    }
}

static void multiply_add(struct ptx_thread *warp)
{
    double a[ELEMENTS_MAX], b[ELEMENTS_MAX], c[ELEMENTS_MAX];

    gather(warp, a, b, c);
    multiply(warp->matrix, a, b, c);
    scatter(warp, c);
}

/* The 16 bit element of one of the 8 x 8 matrices whose rows lie in threads 8 * which + row. */
static uint16_t row_element(const struct ptx_thread *warp, unsigned which, unsigned row,
                            unsigned column)
{
    uint16_t element;

    memcpy(&element, (const uint8_t *)warp[8 * which + row].tile + 2 * column, 2);
    return element;
}

/* Each thread gets two neighbours of every matrix, in tile[PTX_TILE_B + which]. */
static void load_matrices(struct ptx_thread *warp)
{
    const struct ptx_matrix *matrix = warp->matrix;

    for (unsigned which = 0; which < matrix->count; which++) {
        for (unsigned lane = 0; lane < WARP; lane++) {
            unsigned row = lane / 4, column = lane % 4 * 2;
            uint16_t low, high;

            if (matrix->is_transposed) {
                low = row_element(warp, which, column, row);
                high = row_element(warp, which, column + 1, row);
            } else {
                low = row_element(warp, which, row, column);
                high = row_element(warp, which, row, column + 1);
            }
            warp[lane].tile[PTX_TILE_B + which] = ptx_pack2(low, high);
        }
    }
}

/* An element of a matrix that is spread as load_matrices() leaves it, in tile[which]. */
static uint16_t spread_element(const struct ptx_thread *warp, unsigned which, unsigned row,
                               unsigned column)
{
    return (uint16_t)(warp[4 * row + column / 2].tile[which] >> column % 2 * 16);
}

/* The other way: thread 8 * which + row gets that row, from tile[PTX_TILE_B] on. */
static void store_matrices(struct ptx_thread *warp)
{
    const struct ptx_matrix *matrix = warp->matrix;

    for (unsigned which = 0; which < matrix->count; which++) {
        for (unsigned row = 0; row < 8; row++) {
            uint16_t elements[8];

            for (unsigned column = 0; column < 8; column++)
                elements[column] = matrix->is_transposed ? spread_element(warp, which, column, row)
                                                         : spread_element(warp, which, row, column);
            memcpy(warp[8 * which + row].tile + PTX_TILE_B, elements, sizeof(elements));
        }
    }
}

static void transpose_matrix(struct ptx_thread *warp)
{
    for (unsigned lane = 0; lane < WARP; lane++) {
        unsigned row = lane / 4, column = lane % 4 * 2;

        warp[lane].tile[PTX_TILE_B] = ptx_pack2(spread_element(warp, 0, column, row),
                                                spread_element(warp, 0, column + 1, row));
    }
}

void ptx_matrix_finish(struct ptx_thread *warp, uint32_t members)
{
    if (members != ~0u) {
        ptx_fault(warp[__builtin_ctz(members)].block->run, PTX_FAULT_LAUNCH_FAILED, 0);
        return;
    }
    switch (warp->op) {
    case PTX_MMA:
        multiply_add(warp);
        break;
    case PTX_LDMATRIX:
        load_matrices(warp);
        break;
    case PTX_STMATRIX:
        store_matrices(warp);
        break;
    default:
        transpose_matrix(warp);
        break;
    }
}
