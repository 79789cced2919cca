/* main.c - sentences in, embeddings out, on the CUDA driver API alone. */
#include <cjson/cJSON.h>
#include <getopt.h>
#include <stdbool.h>
#include <string.h>

#include "checkpoint.h"
#include "config.h"
#include "encoder.h"
#include "message.h"
#include "tokenizer.h"
#include "unicode.h"
#include "weights.h"

#define SHOWN_VALUES 4 /* of an embedding, where the output is for people */

static const char usage[] =
    "usage: minilm --model DIR [OPTIONS] < sentences\n"
    "\n"
    "Encode each line of standard input on a GPU, with the MiniLM sentence encoder in DIR\n"
    "(model.safetensors, config.json, vocab.txt).\n"
    "\n"
    "  --json       a JSON object for each sentence: text, ids, embedding\n"
    "  --arena      all weights in one allocation; default: one each\n"
    "  --read       upload weights from a buffer that they are read into; default: from a mapping\n"
    "  --repeat N   encode everything N times, print once, fail where a result differs\n"
    "  --device N   which GPU; default 0\n"
    "  --tokenize   stop at the token ids; needs no GPU\n"
    "  --probe      say which GPU would be used, or exit 1\n";

struct options {
    const char *model;
    bool json;
    bool tokenize;
    bool probe;
    enum weights_style style;
    enum weights_source source;
    unsigned long repeat;
    int device;
};

struct sentence {
    char *text;
    uint32_t *ids;
    size_t count;
    float *embedding; /* of the first pass */
};

struct sentences {
    struct sentence *items;
    size_t count;
};

static unsigned long parse_number(const char *option, const char *text, unsigned long least,
                                  unsigned long most)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);

    if (end == text || *end || *text == '-' || value < least || value > most)
        die("--%s %s: want a number from %lu to %lu", option, text, least, most);
    return value;
}

static void parse_options(int argc, char **argv, struct options *out)
{
    static const struct option names[] = {
        {"model", required_argument, NULL, 'm'},  {"json", no_argument, NULL, 'j'},
        {"arena", no_argument, NULL, 'a'},        {"read", no_argument, NULL, 'R'},
        {"repeat", required_argument, NULL, 'r'}, {"device", required_argument, NULL, 'd'},
        {"tokenize", no_argument, NULL, 't'},     {"probe", no_argument, NULL, 'p'},
        {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0},
    };
    int option;

    *out = (struct options){.repeat = 1, .style = WEIGHTS_EACH};
    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        switch (option) {
        case 'm':
            out->model = optarg;
            break;
        case 'j':
            out->json = true;
            break;
        case 'a':
            out->style = WEIGHTS_ARENA;
            break;
        case 'R':
            out->source = WEIGHTS_READ;
            break;
        case 'r':
            out->repeat = parse_number("repeat", optarg, 1, 1000000000);
            break;
        case 'd':
            out->device = (int)parse_number("device", optarg, 0, 1024);
            break;
        case 't':
            out->tokenize = true;
            break;
        case 'p':
            out->probe = true;
            break;
        case 'h':
            fputs(usage, stdout);
            exit(0);
        default:
            exit(1); /* getopt_long() has said why */
        }
    }
    if (optind < argc)
        die("%s: what is this? Sentences come from standard input; see --help", argv[optind]);
    if (!out->model && !out->probe)
        die("no --model DIR; see --help");
}

static CUdevice open_device(int ordinal)
{
    CUdevice device;
    int count;

    check(cuInit(0), "cuInit");
    check(cuDeviceGetCount(&count), "cuDeviceGetCount");
    if (ordinal >= count)
        die("no GPU %d: the driver has %d", ordinal, count);
    check(cuDeviceGet(&device, ordinal), "cuDeviceGet");
    return device;
}

static void probe(int ordinal)
{
    char name[256];
    int version;
    CUdevice device = open_device(ordinal);

    check(cuDeviceGetName(name, sizeof(name), device), "cuDeviceGetName");
    check(cuDriverGetVersion(&version), "cuDriverGetVersion");
    printf("%s, driver API %d.%d\n", name, version / 1000, version % 1000 / 10);
}

static void read_sentences(const struct tokenizer *tokenizer, size_t max_tokens,
                           struct sentences *out)
{
    uint32_t *ids = allocate(max_tokens * sizeof(ids[0]));
    size_t capacity = 0, line_bytes = 0;
    char *line = NULL;
    ssize_t bytes;

    *out = (struct sentences){0};
    while ((bytes = getline(&line, &line_bytes, stdin)) >= 0) {
        struct sentence *sentence;

        if (out->count == capacity) {
            capacity = capacity ? capacity * 2 : 16;
            out->items = realloc(out->items, capacity * sizeof(out->items[0]));
        }
        if (bytes && line[bytes - 1] == '\n')
            line[bytes - 1] = '\0';
        sentence = out->items ? &out->items[out->count++] : NULL;
        if (!sentence || !(sentence->text = strdup(line)))
            die("out of memory");
        sentence->count = tokenizer_encode(tokenizer, sentence->text, ids, max_tokens);
        sentence->ids = allocate(sentence->count * sizeof(ids[0]));
        memcpy(sentence->ids, ids, sentence->count * sizeof(ids[0]));
        sentence->embedding = NULL;
    }
    free(line);
    free(ids);
}

static void free_sentences(struct sentences *sentences)
{
    for (size_t i = 0; i < sentences->count; i++) {
        free(sentences->items[i].text);
        free(sentences->items[i].ids);
        free(sentences->items[i].embedding);
    }
    free(sentences->items);
}

/* JSON is UTF-8: what is not becomes U+FFFD, as it did on the way to the tokens. */
static char *copy_as_utf8(const char *text)
{
    char *copy = allocate(strlen(text) * UTF8_MAX + 1), *at = copy;
    uint32_t code;

    while (*text) {
        text += utf8_decode(text, &code);
        at += utf8_encode(code, at);
    }
    *at = '\0';
    return copy;
}

static void print_json(const struct sentence *sentence, size_t width)
{
    char *valid = copy_as_utf8(sentence->text);
    cJSON *text = cJSON_CreateString(valid);
    char *quoted = text ? cJSON_PrintUnformatted(text) : NULL;

    if (!quoted)
        die("out of memory");
    printf("{\"text\":%s,\"ids\":[", quoted);
    for (size_t i = 0; i < sentence->count; i++)
        printf("%s%u", i ? "," : "", sentence->ids[i]);
    putchar(']');
    for (size_t i = 0; sentence->embedding && i < width; i++)
        printf("%s%.9g", i ? "," : ",\"embedding\":[", (double)sentence->embedding[i]);
    puts(sentence->embedding ? "]}" : "}");
    cJSON_free(quoted);
    cJSON_Delete(text);
    free(valid);
}

static void print_plain(const struct sentence *sentence, size_t width)
{
    printf("%s\t", sentence->text);
    if (sentence->embedding) {
        for (size_t i = 0; i < width && i < SHOWN_VALUES; i++)
            printf("%s%.6f", i ? " " : "", (double)sentence->embedding[i]);
    } else {
        for (size_t i = 0; i < sentence->count; i++)
            printf("%s%u", i ? " " : "", sentence->ids[i]);
    }
    putchar('\n');
}

static void print_sentence(const struct options *options, const struct sentence *sentence,
                           size_t width)
{
    if (options->json)
        print_json(sentence, width);
    else
        print_plain(sentence, width);
}

/* Encode every sentence as often as the user wants; later passes must give the bits of the first.
 */
static void encode(const struct options *options, const struct model_config *config,
                   struct encoder *encoder, const struct sentences *sentences)
{
    size_t bytes = config->hidden * sizeof(float);
    float *again = allocate(bytes);

    for (unsigned long pass = 0; pass < options->repeat; pass++) {
        for (size_t i = 0; i < sentences->count; i++) {
            struct sentence *sentence = &sentences->items[i];

            if (pass == 0) {
                sentence->embedding = allocate(bytes);
                encoder_run(encoder, sentence->ids, sentence->count, sentence->embedding);
                print_sentence(options, sentence, config->hidden);
                continue;
            }
            encoder_run(encoder, sentence->ids, sentence->count, again);
            if (memcmp(again, sentence->embedding, bytes) != 0)
                die("pass %lu: sentence %zu differs from the first pass", pass + 1, i + 1);
        }
    }
    free(again);
}

/* Everything that needs a GPU, from its context to the end of it. */
static void run(const struct options *options, const struct model_config *config,
                const struct sentences *sentences)
{
    char *path = path_join(options->model, "model.safetensors");
    CUdevice device = open_device(options->device);
    struct checkpoint checkpoint;
    struct weights weights;
    struct encoder *encoder;
    CUcontext context;

    checkpoint_open(path, &checkpoint);
    check(cuDevicePrimaryCtxRetain(&context, device), "cuDevicePrimaryCtxRetain");
    check(cuCtxSetCurrent(context), "cuCtxSetCurrent");
    weights_upload(&checkpoint, options->style, options->source, &weights);
    encoder = encoder_open(config, &weights);
    encode(options, config, encoder, sentences);
    encoder_close(encoder);
    weights_free(&weights);
    check(cuDevicePrimaryCtxRelease(device), "cuDevicePrimaryCtxRelease");
    checkpoint_close(&checkpoint);
    free(path);
}

int main(int argc, char **argv)
{
    struct options options;
    struct model_config config;
    struct tokenizer *tokenizer;
    struct sentences sentences;
    char *vocabulary;

    parse_options(argc, argv, &options);
    if (options.probe) {
        probe(options.device);
        return 0;
    }
    config_read(options.model, &config);
    vocabulary = path_join(options.model, "vocab.txt");
    tokenizer = tokenizer_open(vocabulary);
    if (tokenizer_vocabulary(tokenizer) > config.vocabulary)
        die("%s: %zu tokens, but config.json says %u", vocabulary, tokenizer_vocabulary(tokenizer),
            config.vocabulary);
    read_sentences(tokenizer, config.max_tokens, &sentences);
    if (options.tokenize) {
        for (size_t i = 0; i < sentences.count; i++)
            print_sentence(&options, &sentences.items[i], 0);
    } else {
        run(&options, &config, &sentences);
    }
    free_sentences(&sentences);
    tokenizer_close(tokenizer);
    free(vocabulary);
    if (fflush(stdout) != 0 || ferror(stdout))
        die("standard output: cannot be written");
    return 0;
}
