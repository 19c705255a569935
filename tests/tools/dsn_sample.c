/* dsn_sample.c - write one delivery status notification to standard output,
 * for tests/system/test_dsn.py.  usage: dsn_sample CASE < ORIGINAL */
#include "mail/dsn.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Values as the network could give them. */
static const struct dsn_rcpt usual = {
    .address = "joe@far.example",
    .orcpt = "rfc822;Joe@far.example",
    .status = { 550, 5, 1, 1 },
    .host = "mx.far.example",
    .reply = "No such user here, and a long text that has to be "
             "folded because it does not fit into one line",
    .attempts = 1,
    .first_attempt = 1700000000000000u,
    .last_attempt = 1700000000000000u
};
static const struct dsn_rcpt ours = { .address = "ann@far.example",
                                      .status = { 0, 4, 4, 1 },
                                      .host = "mx.far.example",
                                      .reply = "connection refused",
                                      .expired = true,
                                      .attempts = 1,
                                      .rounds = 30,
                                      .first_attempt = 1700000000000000u,
                                      .last_attempt = 1700000600000000u };
static const struct dsn_rcpt late = { .address = "ann@far.example",
                                      .status = { 451, 4, 2, 2 },
                                      .host = "192.0.2.1",
                                      .reply = "try later",
                                      .attempts = 1,
                                      .first_attempt = 1700000000000000u,
                                      .last_attempt = 1700000000000000u };
static const struct dsn_rcpt hostile = {
    .address = "x@y\r\nBcc: evil@example",
    .orcpt = "rfc822;a\r\n\r\nStatus: 2.0.0",
    .status = { 554, 2, 60999, 7 },
    .host = "h\r\n--boundary",
    .reply = "554 a\r\nAction: delivered\r\n\r\n\xff\xc3\xa4\x01"
};
static const struct dsn_rcpt utf8 = { .address = "j\xc3\xb6+e@far.example",
                                      .host = "mx",
                                      .reply = "no \xc3\xa4",
                                      .status = { .code = 550 } };

static const struct sample {
    const char *name, *to, *envid;
    enum dsn_action action;
    bool full;
    const struct dsn_rcpt *rcpt[2];
} samples[] = {
    { "failed",
      "s@here.example",
      "env-1",
      DSN_FAILED,
      false,
      { &usual, &ours } },
    { "full", "s@here.example", NULL, DSN_FAILED, true, { &usual, NULL } },
    { "delayed", "s@here.example", NULL, DSN_DELAYED, false, { &late, NULL } },
    { "relayed", "s@here.example", NULL, DSN_RELAYED, false, { &usual, NULL } },
    { "expanded",
      "s@here.example",
      NULL,
      DSN_EXPANDED,
      false,
      { &usual, NULL } },
    { "hostile",
      "s@here\r\nBcc: evil@example\r\n\r\nbody",
      "e\r\n\r\nX: y",
      DSN_FAILED,
      false,
      { &hostile, NULL } },
    { "utf8", "s@here.example", NULL, DSN_FAILED, false, { &utf8, NULL } },
};

static bool to_stdout(void *ctx, const char *p, size_t n)
{
    (void)ctx;
    return fwrite(p, 1, n, stdout) == n;
}

static int write_sample(const struct sample *s, const struct body *original)
{
    struct dsn_rcpt rcpt[2] = { *s->rcpt[0] };
    size_t n = 1;
    struct err e = { ERR_NONE, 0, "" };

    if (s->rcpt[1] != NULL)
        rcpt[n++] = *s->rcpt[1];
    struct dsn d = { .hostname = "mail.here.example",
                     .to = s->to,
                     .id = { 1, 2 },
                     .own_id = { 3, 4 },
                     .envid = s->envid,
                     .arrival = 1700000000000000u,
                     .now = 1700000600000000u,
                     .expires = 1700432000000000u,
                     .lifetime = 5 * 86400,
                     .action = s->action,
                     .rcpt = rcpt,
                     .nrcpt = n,
                     .original = original,
                     .return_full = s->full };
    if (dsn_write(&d, to_stdout, NULL, &e) == 0 && fflush(stdout) == 0)
        return 0;
    fprintf(stderr, "dsn_sample: %s\n", e.text);
    return 1;
}

int main(int argc, char **argv)
{
    static char text[1024 * 1024];
    size_t n = fread(text, 1, sizeof text, stdin);
    struct pool *blocks = chain_pool_new(1024);
    struct chain c = CHAIN_INIT;
    int rc = 2;

    if (argc == 2 && blocks != NULL && chain_add(&c, blocks, text, n)) {
        struct body original = body_of_chain(&c, 0);
        for (size_t i = 0; i < sizeof samples / sizeof samples[0]; i++)
            if (strcmp(samples[i].name, argv[1]) == 0)
                rc = write_sample(&samples[i], &original);
    }
    pool_free(&blocks);
    return rc;
}
