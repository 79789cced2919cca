/* stats_advice.c - what the figures suggest to change. */
#include "stats_advice.h"

#include "policy/size.h"
#include "stats_text.h"
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define BUSY        0.6  /* of the time: from here on the link is what a step waits for */
#define STARVED     0.1  /* of the time: from here on an idle GPU is worth a word */
#define WAITING     0.5  /* of the time: from here on launches that wait may cost, unseen */
#define NOTABLE     0.02 /* of all launches */
#define UNNAMED     0.05 /* of the weights */
#define SETTLED     200  /* launches after which a step would have been found */
#define TELLS_SINCE 12040
/* A larger budget has larger extents, and so a little more room lost at their ends. */
#define MARGIN_SHARE 256

/* What several rules ask. */
struct judge {
    const struct stats_report *r;
    struct stats_advice *out;
    unsigned short_count; /* devices whose budget does not hold all */
    unsigned device;      /* the first of them */
    uint64_t lacking_bytes;
    uint64_t enough_bytes; /* the budget that would hold all on it */
    uint64_t card_bytes;   /* STATS_NO_BUDGET where it is not known */
    double busy, starved, waiting;
};

static void add(struct judge *j, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(struct judge *j, const char *format, ...)
{
    va_list args;

    if (j->out->count == STATS_ADVICE_MAX)
        return;
    va_start(args, format);
    vsnprintf(j->out->line[j->out->count++], STATS_ADVICE_BYTES, format, args);
    va_end(args);
}

double stats_share_of_span(const struct stats_report *report, uint64_t ns)
{
    double share;

    if (!report->link_span_ns)
        return 0;
    share = (double)ns / (double)report->link_span_ns;
    return share < 1 ? share : 1;
}

static double share_of(uint64_t part, uint64_t whole)
{
    return whole ? (double)part / (double)whole : 0;
}

/* What would hold all on a device. Documents of before have no such figure, but the weights. */
static uint64_t needed_bytes(const struct stats_report *r, unsigned device)
{
    if (r->needed_bytes[device] != STATS_NO_BUDGET)
        return r->needed_bytes[device];
    return r->device_count == 1 ? r->weights_total_bytes : 0;
}

static void measure(struct judge *j)
{
    const struct stats_report *r = j->r;

    j->busy = (double)r->link_share / STATS_SHARE_ONE;
    j->starved = stats_share_of_span(r, r->paging_starved_ns);
    j->waiting = stats_share_of_span(r, r->launches_stall_ns);
    j->card_bytes = STATS_NO_BUDGET;
    for (unsigned i = r->device_count; i-- > 0;) {
        uint64_t needed = needed_bytes(r, i);

        if (r->budget_bytes[i] == STATS_NO_BUDGET || needed <= r->budget_bytes[i])
            continue;
        j->short_count++;
        j->device = i;
        j->lacking_bytes = needed - r->budget_bytes[i];
        j->enough_bytes = needed + needed / MARGIN_SHARE;
        j->card_bytes = r->card_bytes[i];
    }
}

int stats_fits(const struct stats_report *report)
{
    struct judge j = {.r = report};

    measure(&j);
    return !j.short_count && report->device_count && !report->transfers_h2d_bytes;
}

/* Could the card hold everything, as far as is known? */
static int card_is_enough(const struct judge *j)
{
    return j->card_bytes == STATS_NO_BUDGET || j->enough_bytes <= j->card_bytes;
}

/* Trouble -------------------------------------------------------------------------------------- */

static void judge_trouble(struct judge *j)
{
    const struct stats_report *r = j->r;

    if (r->paging_ended)
        add(j,
            "A driver call failed and paging ended: what was not in VRAM by then is read over the "
            "link at every use, which is slow. Start the program again; the line \"berth: warn "
            "residency\" on its standard error names the call.");
    if (r->errors_refused)
        add(j,
            "%llu allocation%s could not be paged and stay%s in VRAM: the line \"berth: warn "
            "range\" on the program's standard error says why.",
            (unsigned long long)r->errors_refused, r->errors_refused == 1 ? "" : "s",
            r->errors_refused == 1 ? "s" : "");
}

static void judge_card(struct judge *j)
{
    const struct stats_report *r = j->r;
    char asked[SIZE_TEXT_BYTES], card[SIZE_TEXT_BYTES], budget[SIZE_TEXT_BYTES];

    for (unsigned i = 0; i < r->device_count; i++) {
        if (r->asked_bytes[i] == STATS_NO_BUDGET || r->card_bytes[i] == STATS_NO_BUDGET ||
            r->asked_bytes[i] <= r->budget_bytes[i])
            continue;
        add(j,
            "The budget for GPU %u, %s, is more than was free there (%s), so berth keeps to %s: "
            "end other programs on that GPU, or ask for less.",
            i, size_format(r->asked_bytes[i], SIZE_BINARY, asked),
            size_format(r->card_bytes[i], SIZE_BINARY, card),
            size_format(r->budget_bytes[i], SIZE_BINARY, budget));
    }
}

/* Launches that could not be served ------------------------------------------------------------ */

/* The driver's version at the end of "libcuda.so.1 13000"; 0 where there is none. */
static unsigned long driver_version(const struct stats_report *r)
{
    const char *blank = strrchr(r->driver, ' ');

    return blank ? strtoul(blank + 1, NULL, 10) : 0;
}

static void judge_launches(struct judge *j)
{
    const struct stats_report *r = j->r;
    double captured = share_of(r->paging_captured_launches, r->launches_count);
    double unknown = share_of(r->paging_unknown_launches, r->launches_count);
    char share[STATS_TEXT_BYTES];

    if (captured >= NOTABLE)
        add(j,
            "%s of the launches went into CUDA graphs while weights of theirs were not in VRAM: "
            "graphs read those over the link each time. Turn CUDA graphs off in the program.",
            stats_share_text(captured, share));
    if (unknown < NOTABLE)
        return;
    if (driver_version(r) < TELLS_SINCE)
        add(j,
            "For %s of the launches nobody tells which weights they read, so these are not loaded "
            "and read over the link. A driver for CUDA 12.4 or newer tells.",
            stats_share_text(unknown, share));
    else
        add(j,
            "For %s of the launches the driver does not tell which weights they read, so these are "
            "not loaded and read over the link: berth cannot help them, a larger budget can.",
            stats_share_text(unknown, share));
}

/* The link ------------------------------------------------------------------------------------- */

/* A handy amount by which a budget may be raised. */
static uint64_t handy_raise(uint64_t lacking_bytes)
{
    static const unsigned shifts[] = {30, 28, 26, 24, 22};

    for (size_t i = 0; i < sizeof(shifts) / sizeof(shifts[0]); i++) {
        if (lacking_bytes > (uint64_t)2 << shifts[i])
            return (uint64_t)1 << shifts[i];
    }
    return 0;
}

/* What to do about a link that is busy, as the end of a line. */
static const char *link_remedy(const struct judge *j, char *text, size_t bytes)
{
    const struct stats_report *r = j->r;
    char enough[STATS_TEXT_BYTES], card[STATS_TEXT_BYTES];

    stats_budget_text(j->enough_bytes, enough);
    if (card_is_enough(j))
        snprintf(text, bytes, "--max-memory %u=%s holds everything and ends that", j->device,
                 enough);
    else if (r->budget_bytes[j->device] < j->card_bytes - j->card_bytes / 8)
        snprintf(text, bytes,
                 "all of it takes %s, more than the card has, but --max-memory %u=%s is possible",
                 enough, j->device,
                 stats_budget_text(j->card_bytes / 16 * 15 / 1048576 * 1048576, card));
    else
        snprintf(text, bytes,
                 "all of it takes %s, more than the card has: smaller weights (fewer bits each) or "
                 "a faster link are what is left",
                 enough);
    return text;
}

static void judge_oversized(struct judge *j)
{
    const struct stats_report *r = j->r;
    double oversized = share_of(r->paging_oversized_launches, r->launches_count);
    char share[STATS_TEXT_BYTES], remedy[192];

    if (oversized < NOTABLE)
        return;
    add(j,
        "%s of the launches read weights over the link that are larger than all the room which the "
        "budget leaves for them: %s.",
        stats_share_text(oversized, share), link_remedy(j, remedy, sizeof(remedy)));
}

static uint64_t link_ns(const struct stats_report *r, uint64_t bytes)
{
    double ns = (double)bytes * 1e9 / (double)r->link_bytes_per_s;

    return ns < 1e18 ? (uint64_t)ns : UINT64_MAX;
}

static void judge_busy_link(struct judge *j)
{
    const struct stats_report *r = j->r;
    uint64_t raise = handy_raise(j->lacking_bytes);
    char busy[STATS_TEXT_BYTES], time[STATS_TEXT_BYTES], saved[STATS_TEXT_BYTES];
    char bytes[SIZE_TEXT_BYTES], more[SIZE_TEXT_BYTES], remedy[192], each[96] = "";

    link_remedy(j, remedy, sizeof(remedy));
    stats_share_text(j->busy, busy);
    if (j->short_count > 1 || !r->steps_learned || !r->paging_step_bytes || !r->link_bytes_per_s) {
        add(j, "The link to the GPU is busy %s of the time: %s.", busy, remedy);
        return;
    }
    if (raise && raise < r->paging_step_bytes)
        snprintf(each, sizeof(each), "; each %s more saves up to %s of a step",
                 size_format(raise, SIZE_BINARY, more), stats_time_text(link_ns(r, raise), saved));
    add(j, "The link to the GPU is busy %s of the time: %s are loaded in each step, in %s; %s%s.",
        busy, size_format(r->paging_step_bytes, SIZE_BINARY, bytes),
        stats_time_text(link_ns(r, r->paging_step_bytes), time), remedy, each);
}

static void judge_idle_link(struct judge *j)
{
    const struct stats_report *r = j->r;
    char starved[STATS_TEXT_BYTES], busy[STATS_TEXT_BYTES], remedy[192];

    if (j->starved < STARVED)
        return;
    link_remedy(j, remedy, sizeof(remedy));
    stats_share_text(j->starved, starved);
    stats_share_text(j->busy, busy);
    if (!r->steps_learned)
        add(j,
            "For %s of the time the GPU had nothing to do while launches waited for weights, "
            "though the link was busy only %s: the launches do not repeat (or not yet), so weights "
            "are loaded when they are asked for, not ahead. If it stays so: %s.",
            starved, busy, remedy);
    else
        add(j,
            "For %s of the time the GPU had nothing to do while launches waited for weights, "
            "though the link was busy only %s: loads begin too late, as when the program waits for "
            "the GPU after every launch. If it cannot launch ahead: %s.",
            starved, busy, remedy);
}

/* Nothing was learned, and it is no trifle. */
static void judge_learning(struct judge *j)
{
    const struct stats_report *r = j->r;

    if (r->steps_learned || r->launches_count < SETTLED)
        return;
    add(j,
        "No repeating sequence of launches was found, so what is used most often stays in VRAM: "
        "right for a model whose layers change from step to step (a mixture of experts); else let "
        "the program make more steps of the same shape.");
}

static void judge_names(struct judge *j)
{
    const struct stats_report *r = j->r;
    char unnamed[SIZE_TEXT_BYTES], total[SIZE_TEXT_BYTES];
    uint64_t bytes = r->weights_total_bytes;

    /* What fits several parameters by its content has been held against a checkpoint already. */
    if (r->weights_named_bytes + r->weights_ambiguous_bytes >= bytes || stats_fits(r))
        return;
    bytes -= r->weights_named_bytes + r->weights_ambiguous_bytes;
    if (share_of(bytes, r->weights_total_bytes) < UNNAMED)
        return;
    add(j,
        "%s of the %s of weights have no name here: give the model's file with "
        "--checkpoint PATH. They are paged all the same.",
        bytes == r->weights_total_bytes ? "All" : size_format(bytes, SIZE_BINARY, unnamed),
        size_format(r->weights_total_bytes, SIZE_BINARY, total));
}

/* The whole ------------------------------------------------------------------------------------ */

/* Is there a device that is paged? If not, that is all there is to say. */
static int judge_start(struct judge *j)
{
    const struct stats_report *r = j->r;

    if (strcmp(r->backend, "off") == 0 && !*r->driver) {
        add(j,
            "The program itself never used the GPU, or found none. Where another one does that it "
            "starts, put berth run before that one.");
        return 0;
    }
    if (strcmp(r->backend, "off") == 0) {
        add(j, "Berth is off for this program: --backend off, or a setting that it could not use, "
               "which the program's standard error names.");
        return 0;
    }
    for (unsigned i = 0; i < r->device_count; i++) {
        if (r->budget_bytes[i] != STATS_NO_BUDGET)
            return 1;
    }
    if (!r->launches_count)
        add(j, "The program has not used GPU memory yet: ask again later.");
    else
        add(j, "Nothing is paged: the line \"berth: warn\" on the program's standard error says "
               "why.");
    return 0;
}

/* Launches that read little of a large weight where it lies, as a sentence; "" where they are few.
 */
static const char *sparse_remark(const struct judge *j, char *text, size_t bytes)
{
    double sparse = share_of(j->r->paging_sparse_launches, j->r->launches_count);
    char share[STATS_TEXT_BYTES];

    *text = '\0';
    if (sparse >= NOTABLE)
        snprintf(text, bytes,
                 " %s of the launches read a little of a large weight over the link, which is "
                 "quicker than to load all of it.",
                 stats_share_text(sparse, share));
    return text;
}

/* Neither the link nor a GPU without work says that paging costs anything. Launches that wait for
 * room while the GPU computes cost nothing; but what is queued on the GPU may wait for a load, too.
 * No figure tells these apart, so where launches wait much that is what is said, and how to tell.
 */
static void judge_little(struct judge *j)
{
    char busy[STATS_TEXT_BYTES], starved[STATS_TEXT_BYTES], waiting[STATS_TEXT_BYTES];
    char enough[STATS_TEXT_BYTES], sparse[160], larger[96] = "a larger budget";

    stats_share_text(j->busy, busy);
    stats_share_text(j->starved, starved);
    sparse_remark(j, sparse, sizeof(sparse));
    if (j->waiting < WAITING) {
        add(j,
            "Paging costs little: the link is busy %s of the time, and the GPU waits for weights "
            "%s of it.%s Nothing to change.",
            busy, starved, sparse);
        return;
    }
    if (card_is_enough(j))
        snprintf(larger, sizeof(larger), "--max-memory %u=%s, which holds everything,", j->device,
                 stats_budget_text(j->enough_bytes, enough));
    add(j,
        "Only a run with %s tells what paging costs here: launches waited %s of the time, which is "
        "no loss where the GPU computed meanwhile. The link was busy %s of the time, and the GPU "
        "without work %s.%s",
        larger, stats_share_text(j->waiting, waiting), busy, starved, sparse);
}

static void judge_paging(struct judge *j)
{
    const struct stats_report *r = j->r;
    char sparse[160];

    if (!j->short_count) {
        if (stats_fits(r) && !j->out->count)
            add(j, "Everything fits into the budget: nothing to change.");
        return;
    }
    judge_launches(j);
    judge_oversized(j);
    if (!r->transfers_h2d_bytes && !j->out->count) {
        add(j, "Not everything fits into the budget, but nothing had to be moved so far.%s",
            sparse_remark(j, sparse, sizeof(sparse)));
        return;
    }
    if (j->busy >= BUSY) {
        judge_busy_link(j);
        judge_learning(j);
    } else {
        judge_idle_link(j);
    }
    if (!j->out->count)
        judge_little(j);
}

void stats_advice_make(const struct stats_report *report, struct stats_advice *advice)
{
    struct judge j = {.r = report, .out = advice};

    memset(advice, 0, sizeof(*advice));
    if (!judge_start(&j))
        return;
    measure(&j);
    judge_trouble(&j);
    judge_card(&j);
    judge_paging(&j);
    judge_names(&j);
    if (!advice->count)
        add(&j, "Nothing to change.");
}
