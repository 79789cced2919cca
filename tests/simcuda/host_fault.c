#include "host_fault.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <ucontext.h>
#include <unistd.h>

#include "pace.h"
#include "um.h"

#define SAVED_ACTIONS 16

static pid_t g_process; /* whose managed memory it is; fixed after the first installation */
static pthread_mutex_t g_lock = PTHREAD_MUTEX_INITIALIZER;
/* The handlers that we took the place of; a slot is not written again before 14 more have come. */
static struct sigaction g_saved[SAVED_ACTIONS];      /* written under g_lock */
static unsigned g_saved_count;                       /* g_lock */
static _Atomic(const struct sigaction *) g_first;    /* there before the first installation */
static _Atomic(const struct sigaction *) g_previous; /* whom foreign faults go to */

/* A handler that was installed later and chains to us, while we chain to it, would go round for
 * ever: the outer call is known by the same context further down the stack. That also holds when an
 * earlier handler left by siglongjmp(). */
static _Thread_local struct {
    const void *context;
    const void *frame;
} t_chain __attribute__((tls_model("initial-exec")));

static enum mmu_access fault_access(const ucontext_t *context)
{
#if defined(__x86_64__)
    /* Bit 1 of the page fault's error code says that it was a write. */
    return context->uc_mcontext.gregs[REG_ERR] & 2 ? MMU_WRITE : MMU_READ;
#else
    (void)context;
    return MMU_WRITE; /* not known: a write's service suits a read, too */
#endif
}

/* Serve a touch of managed memory. returns 0 when it is none */
static int fault_serve(uint64_t addr, enum mmu_access access)
{
    const uint64_t d2h_bytes = t_pace_tally.d2h_bytes;
    struct region *region;
    struct um_block *block = NULL;
    int device = 0;

    /* A child of fork has no managed memory, and the lock may be held by a thread it does not have.
     */
    if (!arena_has(ARENA_MANAGED, addr) || getpid() != g_process || um_is_busy())
        return 0;
    if (memory_lock_is_held())
        memory_fatal("the simulator itself touched managed memory under memory's lock");
    memory_lock_write();
    region = region_reach(addr);
    if (region && region->um)
        block = um_block_at(region, addr);
    if (block && addr - block->addr >= block->bytes)
        block = NULL;
    if (block) {
        device = block->owner;
        um_host_fault(block, access);
    }
    memory_unlock();
    if (block)
        pace_host_fault(device, t_pace_tally.d2h_bytes - d2h_bytes);
    return block != NULL;
}

/* What the kernel would do if we were not there. */
static void fault_pass(const struct sigaction *to, int number, siginfo_t *info, void *context)
{
    struct sigaction fallback = {.sa_handler = SIG_DFL};
    sigset_t before;

    if (!(to->sa_flags & SA_SIGINFO) && (to->sa_handler == SIG_DFL || to->sa_handler == SIG_IGN)) {
        /* A fault cannot be ignored: returning runs into it again, now without a handler. A signal
         * that somebody sent does not come again by itself. */
        sigaction(number, &fallback, NULL);
        if (info->si_code <= 0)
            raise(number);
        return;
    }
    pthread_sigmask(SIG_BLOCK, &to->sa_mask, &before);
    if (to->sa_flags & SA_SIGINFO)
        to->sa_sigaction(number, info, context);
    else
        to->sa_handler(number);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void fault_handle(int number, siginfo_t *info, void *context)
{
    const uint64_t addr = (uint64_t)(uintptr_t)info->si_addr;
    const char *frame = __builtin_frame_address(0);
    const int saved_errno = errno;

    if ((info->si_code == SEGV_MAPERR || info->si_code == SEGV_ACCERR) &&
        fault_serve(addr, fault_access(context))) {
        errno = saved_errno;
        return;
    }
    if (t_chain.context == context && frame < (const char *)t_chain.frame) {
        fault_pass(atomic_load(&g_first), number, info, context);
        return;
    }
    t_chain.context = context;
    t_chain.frame = frame;
    fault_pass(atomic_load(&g_previous), number, info, context);
    t_chain.context = NULL;
    errno = saved_errno;
}

void host_fault_install(void)
{
    struct sigaction action = {.sa_sigaction = fault_handle,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};
    struct sigaction now;

    pthread_mutex_lock(&g_lock);
    if (sigaction(SIGSEGV, NULL, &now) == 0 && now.sa_sigaction != fault_handle) {
        /* Slot 0 is the first one for good. */
        unsigned index = g_saved_count ? 1 + g_saved_count % (SAVED_ACTIONS - 1) : 0;
        struct sigaction *slot = &g_saved[index];

        *slot = now;
        if (g_saved_count++ == 0) {
            atomic_store(&g_first, slot);
            g_process = getpid();
        }
        atomic_store(&g_previous, slot);
        sigaction(SIGSEGV, &action, NULL);
    }
    pthread_mutex_unlock(&g_lock);
}
