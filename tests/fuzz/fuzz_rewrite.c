/* fuzz_rewrite.c - a header whose addresses are rewritten: in any pieces the
 * same, and octets outside of addresses pass. */
#include "fuzz.h"
#include "mail/rewrite.h"

static struct conf conf;

struct text {
    char *p;
    size_t n, room;
};

static int keep(void *ctx, const char *p, size_t n)
{
    struct text *t = ctx;

    MUST(t->n + n <= t->room);
    memcpy(t->p + t->n, p, n);
    t->n += n;
    return 0;
}

static void rewrite(struct text *out, const char *p, size_t n, size_t piece)
{
    struct rewrite_notes notes = { 0, "" };
    struct rewrite_job job = { .conf = &conf,
                               .complete = piece > 0 && n % 2 == 1,
                               .sender = SPAN_LIT("root"),
                               .name = "N",
                               .put = keep,
                               .ctx = out,
                               .notes = &notes };
    struct rewrite_header *h;
    struct err e;

    MUST(rewrite_header_new(&h, &job, &e) == 0);
    out->n = 0;
    for (size_t i = 0; i < n; i += piece)
        MUST(rewrite_header_feed(h, p + i, piece < n - i ? piece : n - i) == 0);
    MUST(rewrite_header_end(h) == 0);
    MUST(notes.n < sizeof notes.text && strlen(notes.text) == notes.n);
    rewrite_header_free(&h);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const struct conf_override over[] = {
        { "hostname", "box.test", "-o" },
        { "rewrite.from", "me@isp.test", "-o" },
        { "rewrite.rules",
          "both @old.test=@new.test,recipient *@.lab.test=sink,"
          "sender app=app@corp.test",
          "-o" }
    };
    struct conf_source from = { .file = "/dev/null", .over = over, .nover = 3 };
    struct text a, b;
    struct err e;

    if (conf.hostname[0] == '\0')
        MUST(conf_load(&conf, &from, &e) == 0);
    char *copy = exact_copy(data, n);
    a.room = b.room = n * 16 + 1024; /* "a," may become an address */
    a.p = malloc(a.room);
    b.p = malloc(b.room);
    MUST(a.p != NULL && b.p != NULL);
    rewrite(&a, copy, n, n > 0 ? n : 1);
    rewrite(&b, copy, n, n > 0 ? data[0] % 7 + 1u : 1);
    MUST(a.n == b.n && memcmp(a.p, b.p, a.n) == 0);
    free(a.p);
    free(b.p);
    free(copy);
    return 0;
}
