#include "layout.h"
#include "cubin.h"
#include "log.h"
#include "stats.h"
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uthash.h>

#define TABLE_MIN        1024
#define FILE_BYTES_MAX   ((off_t)1 << 30) /* of code: a larger file is none */
#define PARAM_INFO_SINCE 12040

/* Open addressing; entries are published once and never change, so readers need no lock. A table
 * that has become too small is replaced and kept, for a reader may still walk it. */
struct table {
    size_t room; /* a power of two */
    size_t count;
    struct table *older;
    const struct layout *_Atomic slot[];
};

/* A kernel's layout as its image gave it, for drivers without cuFuncGetParamInfo. */
struct kernel {
    char *name;
    size_t count;
    struct cubin_param *params;
    int contradicted; /* the image has another layout under the same name */
    UT_hash_handle hh;
};

/* A code image that was loaded, whether it could be read or not. */
struct image {
    const void *owner; /* the CUmodule or CUlibrary that it became */
    CUcontext ctx;     /* that it goes with; NULL: a library goes with none */
    struct kernel *kernels;
    UT_hash_handle hh;
};

static pthread_mutex_t g_lock = PTHREAD_MUTEX_INITIALIZER;
static struct table *_Atomic g_table;
static struct image *g_images; /* g_lock */
static _Atomic uint64_t g_epoch = 1;

static size_t hash_function(CUfunction function, size_t room)
{
    uint64_t h = (uint64_t)(uintptr_t)function >> 4;

    h *= 0x9e3779b97f4a7c15ull;
    return (size_t)(h >> 20) & (room - 1);
}

static const struct layout *find(const struct table *table, CUfunction function, uint64_t epoch)
{
    if (!table)
        return NULL;
    for (size_t i = hash_function(function, table->room);; i = (i + 1) & (table->room - 1)) {
        const struct layout *layout = atomic_load_explicit(&table->slot[i], memory_order_acquire);

        if (!layout)
            return NULL;
        if (layout->function == function && layout->epoch == epoch)
            return layout;
    }
}

static void insert(struct table *table, const struct layout *layout)
{
    size_t i = hash_function(layout->function, table->room);

    while (atomic_load_explicit(&table->slot[i], memory_order_relaxed))
        i = (i + 1) & (table->room - 1);
    atomic_store_explicit(&table->slot[i], layout, memory_order_release);
    table->count++;
}

/* A table with room for one more; layouts of an epoch that has passed are left behind. g_lock is
 * held. */
static struct table *table_with_room(uint64_t epoch)
{
    struct table *table = atomic_load_explicit(&g_table, memory_order_relaxed), *bigger;
    size_t room = table ? table->room : TABLE_MIN, live = 0;

    if (table && 2 * (table->count + 1) <= table->room)
        return table;
    for (size_t i = 0; table && i < table->room; i++) {
        const struct layout *l = atomic_load_explicit(&table->slot[i], memory_order_relaxed);

        live += l && l->epoch == epoch;
    }
    while (room < 4 * (live + 1))
        room *= 2;
    bigger = calloc(1, sizeof(*bigger) + room * sizeof(bigger->slot[0]));
    if (!bigger)
        return NULL;
    bigger->room = room;
    bigger->older = table;
    for (size_t i = 0; table && i < table->room; i++) {
        const struct layout *l = atomic_load_explicit(&table->slot[i], memory_order_relaxed);

        if (l && l->epoch == epoch)
            insert(bigger, l);
    }
    atomic_store_explicit(&g_table, bigger, memory_order_release);
    return bigger;
}

static struct layout *layout_new(CUfunction function, size_t room)
{
    struct layout *layout = calloc(1, sizeof(*layout) + room * sizeof(layout->param[0]));

    if (layout)
        layout->function = function;
    return layout;
}

/* Ask the driver, parameter by parameter, until it says that there is no such index. */
static struct layout *ask_driver(CUfunction function)
{
    const struct driver *drv = driver_get();
    struct layout *layout = layout_new(function, LAYOUT_PARAMS_MAX), *exact;
    CUresult result = CUDA_ERROR_NOT_SUPPORTED;

    if (!layout)
        return NULL;
    for (uint32_t i = 0; i < LAYOUT_PARAMS_MAX; i++) {
        size_t offset = 0, bytes = 0;

        result = drv->cuFuncGetParamInfo ? drv->cuFuncGetParamInfo(function, i, &offset, &bytes)
                                         : CUDA_ERROR_NOT_SUPPORTED;
        /* The runtime launches kernels of libraries through their own handle. */
        if (result != CUDA_SUCCESS && result != CUDA_ERROR_INVALID_VALUE &&
            drv->cuKernelGetParamInfo)
            result = drv->cuKernelGetParamInfo((CUkernel)function, i, &offset, &bytes);
        if (result != CUDA_SUCCESS)
            break;
        layout->param[i].offset = (uint32_t)offset;
        layout->param[i].bytes = (uint32_t)bytes;
        layout->count = i + 1;
    }
    layout->known = result == CUDA_ERROR_INVALID_VALUE || layout->count > 0;
    exact = realloc(layout, sizeof(*layout) + layout->count * sizeof(layout->param[0]));
    return exact ? exact : layout;
}

static int is_same(const struct kernel *kernel, const struct kernel *other)
{
    return kernel->count == other->count &&
           !memcmp(kernel->params, other->params, kernel->count * sizeof(kernel->params[0]));
}

static struct kernel *kernel_in(const struct image *image, const char *name)
{
    struct kernel *kernel;

    HASH_FIND_STR(image->kernels, name, kernel);
    return kernel;
}

/* Where nobody knows which image it is from, only equal layouts help; of libraries' images where it
 * is from none of the others. g_lock is held. */
static const struct kernel *kernel_in_any(const char *name, int of_libraries)
{
    const struct kernel *found = NULL;

    for (const struct image *image = g_images; image; image = image->hh.next) {
        const struct kernel *kernel = of_libraries && image->ctx ? NULL : kernel_in(image, name);

        if (kernel && (kernel->contradicted || (found && !is_same(kernel, found))))
            return NULL;
        if (kernel)
            found = kernel;
    }
    return found;
}

/* Look the function's name up among the images' kernels. g_lock is held. */
static const struct kernel *find_kernel(CUfunction function)
{
    const struct driver *drv = driver_get();
    struct image *image = NULL;
    CUmodule module = NULL;
    const char *name = NULL;

    if (drv->cuFuncGetName && drv->cuFuncGetName(&name, function) != CUDA_SUCCESS)
        name = NULL;
    if (name && drv->cuFuncGetModule && drv->cuFuncGetModule(&module, function) == CUDA_SUCCESS)
        HASH_FIND_PTR(g_images, &module, image);
    if (!name && drv->cuKernelGetName &&
        drv->cuKernelGetName(&name, (CUkernel)function) != CUDA_SUCCESS)
        name = NULL;
    if (!name)
        return NULL;
    return image ? kernel_in(image, name) : kernel_in_any(name, module != NULL);
}

/* g_lock is held. */
static void take_named(struct layout **layout)
{
    const struct kernel *kernel = find_kernel((*layout)->function);
    struct layout *grown;

    if (!kernel || kernel->contradicted)
        return;
    grown = realloc(*layout, sizeof(**layout) + kernel->count * sizeof((*layout)->param[0]));
    if (!grown)
        return;
    for (size_t i = 0; i < kernel->count; i++) {
        grown->param[i].offset = kernel->params[i].offset;
        grown->param[i].bytes = kernel->params[i].bytes;
    }
    grown->count = (uint32_t)kernel->count;
    grown->known = 1;
    *layout = grown;
}

const struct layout *layout_get(CUfunction function)
{
    uint64_t epoch = atomic_load_explicit(&g_epoch, memory_order_acquire);
    const struct layout *known =
        find(atomic_load_explicit(&g_table, memory_order_acquire), function, epoch);
    struct layout *layout;
    struct table *table;

    if (known)
        return known;
    layout = ask_driver(function);
    if (!layout)
        return NULL;
    layout->epoch = epoch;
    layout->habit = calloc(1, sizeof(*layout->habit));
    pthread_mutex_lock(&g_lock);
    if (!layout->known)
        take_named(&layout);
    table = table_with_room(epoch);
    known = find(table, function, epoch);
    if (!known && table) {
        insert(table, layout);
        known = layout;
    } else {
        free(layout->habit);
        free(layout);
    }
    pthread_mutex_unlock(&g_lock);
    return known;
}

static void kernel_free(struct kernel *kernel)
{
    free(kernel->params);
    free(kernel->name);
    free(kernel);
}

static struct kernel *kernel_new(const char *name, const struct cubin_param *params, size_t count)
{
    struct kernel *kernel = calloc(1, sizeof(*kernel));

    if (!kernel)
        return NULL;
    kernel->name = strdup(name);
    kernel->params = malloc((count ? count : 1) * sizeof(*params));
    if (!kernel->name || !kernel->params) {
        kernel_free(kernel);
        return NULL;
    }
    memcpy(kernel->params, params, count * sizeof(*params));
    kernel->count = count;
    return kernel;
}

/* A fatbin has a kernel once for each kind of device. */
static void remember(void *arg, const char *name, const struct cubin_param *params, size_t count)
{
    struct image *image = arg;
    struct kernel *kernel = kernel_new(name, params, count), *known = kernel_in(image, name);

    if (!kernel)
        return;
    if (known) {
        known->contradicted |= !is_same(known, kernel);
        kernel_free(kernel);
        return;
    }
    HASH_ADD_KEYPTR(hh, image->kernels, kernel->name, strlen(kernel->name), kernel);
    if (!kernel->hh.tbl) /* uthash has found no memory */
        kernel_free(kernel);
}

static void image_free(struct image *image)
{
    struct kernel *kernel, *next;

    HASH_ITER (hh, image->kernels, kernel, next) {
        HASH_DEL(image->kernels, kernel);
        kernel_free(kernel);
    }
    free(image);
}

static struct image *image_new(const void *owner, enum layout_owner kind)
{
    struct image *image = calloc(1, sizeof(*image));

    if (!image)
        return NULL;
    image->owner = owner;
    if (kind == LAYOUT_MODULE)
        stats_note(driver_get()->cuCtxGetCurrent(&image->ctx));
    return image;
}

static void forget_image(const void *owner)
{
    struct image *image;

    HASH_FIND_PTR(g_images, &owner, image);
    if (!image)
        return;
    HASH_DEL(g_images, image);
    image_free(image);
}

/* What had the handle before has gone, whoever took it along. */
static void image_add(struct image *image)
{
    pthread_mutex_lock(&g_lock);
    forget_image(image->owner);
    HASH_ADD_PTR(g_images, owner, image);
    if (!image->hh.tbl)
        image_free(image);
    pthread_mutex_unlock(&g_lock);
}

/* Before 12.4 the driver tells no layouts, whatever it exports. */
static int driver_tells(void)
{
    const struct driver *drv = driver_get();
    int version = 0;

    return drv->cuFuncGetParamInfo && drv->cuDriverGetVersion(&version) == CUDA_SUCCESS &&
           version >= PARAM_INFO_SINCE;
}

void layout_image_loaded(const void *owner, enum layout_owner kind, const void *code)
{
    struct image *image;
    size_t kernels;

    if (!code || driver_tells())
        return;
    image = image_new(owner, kind);
    if (!image)
        return;
    kernels = cubin_walk(code, remember, image);
    image_add(image);
    log_debug("launch", "%zu kernels' parameters read from a code image", kernels);
}

/* The contents of a regular file with a zero behind them; NULL when it cannot be read.
 *
 * owner  the caller, free()
 */
static char *read_file(const char *path, size_t *bytes)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat info;
    char *text = NULL;
    ssize_t got = -1;

    if (fd < 0)
        return NULL;
    if (!fstat(fd, &info) && S_ISREG(info.st_mode) && info.st_size < FILE_BYTES_MAX)
        text = calloc(1, (size_t)info.st_size + 1);
    if (text)
        got = pread(fd, text, (size_t)info.st_size, 0);
    close(fd);
    if (got < 0) {
        free(text);
        return NULL;
    }
    *bytes = (size_t)got;
    return text;
}

void layout_file_loaded(const void *owner, enum layout_owner kind, const char *path)
{
    size_t bytes, kernels = 0;
    struct image *image;
    char *file;

    if (!path || driver_tells())
        return;
    image = image_new(owner, kind);
    if (!image)
        return;
    file = read_file(path, &bytes);
    if (file)
        kernels = cubin_walk_file(file, bytes, remember, image);
    else
        log_debug("launch", "the code in %s cannot be read", path);
    free(file);
    image_add(image);
    log_debug("launch", "%zu kernels' parameters read from %s", kernels, path);
}

void layout_forget_all(void)
{
    atomic_fetch_add_explicit(&g_epoch, 1, memory_order_acq_rel);
}

void layout_unloaded(const void *owner)
{
    pthread_mutex_lock(&g_lock);
    forget_image(owner);
    pthread_mutex_unlock(&g_lock);
    layout_forget_all();
}

void layout_context_destroyed(CUcontext ctx)
{
    struct image *image, *next;

    pthread_mutex_lock(&g_lock);
    HASH_ITER (hh, g_images, image, next) {
        if (image->ctx != ctx)
            continue;
        HASH_DEL(g_images, image);
        image_free(image);
    }
    pthread_mutex_unlock(&g_lock);
}
