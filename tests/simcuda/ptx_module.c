/* ptx_module.c - modules as their users see them: kernels, parameters, variables. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pace.h"
#include "ptx.h"
#include "ptx_build.h"
#include "ptx_ir.h"
#include "ptx_preamble.h"
#include "ptx_run.h"

struct ptx_kernel {
    const struct ptx_func *func;
    const struct ptx_entry *entry;
    struct ptx_param *params;
};

struct ptx_module {
    struct ptx_unit unit; /* its arena holds all names and tables */
    void *object;
    struct ptx_kernel *kernels;
    size_t kernel_count;
    struct ptx_global *globals;
};

/* The initial value of an address of a function is known now, that of a variable is not. */
static void fill_relocs(struct ptx_unit *unit, const struct ptx_var *var, struct ptx_global *global)
{
    struct ptx_reloc *relocs;
    size_t n = 0;

    for (const struct ptx_reloc_name *r = var->relocs; r; r = r->next)
        n++;
    relocs = ptx_alloc(unit, (n + 1) * sizeof(*relocs));
    global->relocs = relocs;
    for (const struct ptx_reloc_name *r = var->relocs; r; r = r->next) {
        const struct ptx_var *target = ptx_unit_global(unit, r->name);
        const struct ptx_func *func = target ? NULL : ptx_unit_func(unit, r->name);

        if (target) {
            relocs[global->reloc_count++] = (struct ptx_reloc){r->offset, target->index, r->addend};
        } else if (func) {
            ptx_store64(var->initial + r->offset, PTX_CODE_WINDOW + 16 * (uint64_t)func->index);
        } else {
            ptx_fail(unit, r->line, "unknown name '%s'", r->name);
        }
    }
}

static void list_globals(struct ptx_module *m)
{
    struct ptx_unit *unit = &m->unit;

    m->globals = ptx_alloc(unit, (unit->global_count + 1) * sizeof(*m->globals));
    for (const struct ptx_var *v = unit->globals; v; v = v->next) {
        m->globals[v->index] = (struct ptx_global){
            .name = v->name,
            .bytes = v->bytes,
            .align = v->align,
            .is_const = v->space == PTX_SPACE_CONST,
            .initial = v->initial,
        };
        fill_relocs(unit, v, &m->globals[v->index]);
    }
}

static void list_kernels(struct ptx_module *m, const struct ptx_entry *entries)
{
    struct ptx_unit *unit = &m->unit;

    m->kernels = ptx_alloc(unit, (unit->func_count + 1) * sizeof(*m->kernels));
    for (const struct ptx_func *f = unit->funcs; f; f = f->next) {
        struct ptx_kernel *kernel = &m->kernels[m->kernel_count];
        size_t i = 0;

        if (!f->is_entry)
            continue;
        kernel->func = f;
        kernel->entry = &entries[m->kernel_count++];
        kernel->params = ptx_alloc(unit, (f->param_count + 1) * sizeof(*kernel->params));
        for (const struct ptx_var *v = f->params; v; v = v->next)
            kernel->params[i++] = (struct ptx_param){(uint32_t)v->offset, (uint32_t)v->bytes};
    }
}

static void translate(struct ptx_module *m, const char *text, size_t bytes)
{
    struct ptx_unit *unit = &m->unit;
    const struct ptx_entry *entries;
    int res;

    ptx_parse(unit, text, bytes);
    if (pace_is_on())
        ptx_put(unit, "#define MMU_WATCHED 1\n");
    ptx_put(unit, "%s\n", ptx_preamble);
    ptx_emit_unit(unit);
    list_globals(m);
    res = ptx_build(unit->out.data, unit->out.bytes, unit->log, unit->log_bytes, &m->object);
    if (res) {
        unit->result = res;
        longjmp(*unit->fail, 1);
    }
    entries = dlsym(m->object, "ptx_entries");
    if (!entries)
        ptx_fail_with(unit, 218, "ptx: the compiled object has no entries");
    list_kernels(m, entries);
    free(unit->out.data);
    unit->out = (struct ptx_text){0};
}

int ptx_module_load(const char *text, size_t text_bytes, char *log, size_t log_bytes,
                    struct ptx_module **out)
{
    struct ptx_module *m = calloc(1, sizeof(*m));
    jmp_buf fail;

    if (log_bytes > 0)
        log[0] = 0;
    if (!m)
        return 2; /* CUDA_ERROR_OUT_OF_MEMORY */
    m->unit.fail = &fail;
    m->unit.log = log;
    m->unit.log_bytes = log_bytes;
    if (setjmp(fail) == 0) {
        translate(m, text, text_bytes);
        m->unit.fail = NULL;
        m->unit.log = NULL;
        *out = m;
        return 0;
    } else {
        int res = m->unit.result;

        ptx_module_unload(m);
        return res;
    }
}

void ptx_module_unload(struct ptx_module *module)
{
    if (!module)
        return;
    if (module->object)
        dlclose(module->object);
    ptx_unit_free(&module->unit);
    free(module);
}

size_t ptx_module_globals(const struct ptx_module *module, const struct ptx_global **out)
{
    *out = module->globals;
    return module->unit.global_count;
}

size_t ptx_module_kernel_count(const struct ptx_module *module)
{
    return module->kernel_count;
}

const struct ptx_kernel *ptx_module_kernel_at(const struct ptx_module *module, size_t index)
{
    return index < module->kernel_count ? &module->kernels[index] : NULL;
}

const struct ptx_kernel *ptx_module_kernel(const struct ptx_module *module, const char *name)
{
    for (size_t i = 0; i < module->kernel_count; i++)
        if (strcmp(module->kernels[i].func->name, name) == 0)
            return &module->kernels[i];
    return NULL;
}

const char *ptx_kernel_name(const struct ptx_kernel *kernel)
{
    return kernel->func->name;
}

size_t ptx_kernel_params(const struct ptx_kernel *kernel, const struct ptx_param **out)
{
    *out = kernel->params;
    return kernel->func->param_count;
}

size_t ptx_kernel_param_bytes(const struct ptx_kernel *kernel)
{
    return kernel->func->param_bytes;
}

uint32_t ptx_kernel_static_shared_bytes(const struct ptx_kernel *kernel)
{
    return kernel->func->shared_bytes;
}

uint32_t ptx_kernel_max_threads(const struct ptx_kernel *kernel)
{
    return kernel->func->max_threads ? kernel->func->max_threads : 1024;
}

int ptx_kernel_run_block(const struct ptx_kernel *kernel, const struct ptx_launch *launch,
                         const uint32_t block_id[3], struct mmu_run *run)
{
    const struct ptx_func *f = kernel->func;
    struct ptx_block block = {
        .run = run,
        .shared_bytes = (uint64_t)f->shared_bytes + launch->dynamic_shared_bytes,
        .params = launch->params,
        .param_bytes = f->param_bytes,
        .global_addr = launch->global_addr,
        .shared_offset = f->shared_offset,
        .static_shared_bytes = f->shared_bytes,
        .threads = launch->block[0] * launch->block[1] * launch->block[2],
    };

    memcpy(block.grid, launch->grid, sizeof(block.grid));
    memcpy(block.block, launch->block, sizeof(block.block));
    memcpy(block.ctaid, block_id, sizeof(block.ctaid));
    if (kernel->entry->block)
        return ptx_run_straight(&block, kernel->entry, f->local_need);
    return ptx_run_waiting(&block, kernel->entry, f->local_need);
}
