/* fuzz_tls.c - the records of TLS.  The first octet says what the rest is and
 * into pieces of what size it is cut: octets for a client or a server, or
 * changes to the octets between the two, each a distance and an octet that is
 * added there.  What one sealed, the other opens as it was, or not at all. */
#include "fuzz.h"
#include "net/tls_private.h"

static const char pem[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBeTCCAR+gAwIBAgIUbjMlKtbZhWDXdskTWyBovEi8YCcwCgYIKoZIzj0EAwIw\n"
    "EjEQMA4GA1UEAwwHbXgudGVzdDAeFw0yNjExMzAwMjI4NThaFw0yNjEyMzAwMjI4\n"
    "NThaMBIxEDAOBgNVBAMMB214LnRlc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC\n"
    "AAQgp7D1YiUNH+vdQLGGJhERstkG48IUQlyxrifAc6yL8npiHYuFc7/TOgQuqVsH\n"
    "02rS8dU93uH1HEWN4riln9VBo1MwUTAdBgNVHQ4EFgQUv0Tja+eC5sQ0GkKFDO7H\n"
    "PdkBVGIwHwYDVR0jBBgwFoAUv0Tja+eC5sQ0GkKFDO7HPdkBVGIwDwYDVR0TAQH/\n"
    "BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiEAox1C5MPU9fJB7CBd44/gpIW75I8J\n"
    "Nd7FTZR4Ywn5t10CIEmXnxODwqxfxnfLPLoIx6wKUuP0cZEimVOSFo58YOGM\n"
    "-----END CERTIFICATE-----\n"
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgQQsSWbkE97rVBFL3\n"
    "EjPYgb3PBR63xoV5aedBasPHFVOhRANCAAQgp7D1YiUNH+vdQLGGJhERstkG48IU\n"
    "QlyxrifAc6yL8npiHYuFc7/TOgQuqVsH02rS8dU93uH1HEWN4riln9VB\n"
    "-----END PRIVATE KEY-----\n";

enum { AS_SERVER = 1, AS_CLIENT, BETWEEN = 0, ROOM = 70000 };
static const char text[] = "MAIL FROM:<a@a.test>\r\n";

static struct tls_context *server, *client;
static struct pool *blocks;

struct end {
    struct conn_tls *t;
    char raw[ROOM], got[2 * sizeof text];
    size_t n, plain;
    bool over;
};
static struct end ends[2]; /* client, server */

static void set_up(void)
{
    struct tls_pair pair = { SPAN_LIT(pem), SPAN_LIT(pem), "c", "k" };
    struct err e;

    if (server != NULL)
        return;
    blocks = chain_pool_new(200);
    MUST(blocks != NULL);
    MUST(tls_server_new(&server, &pair, 1, true, &e) == 0);
    MUST(tls_client_new(&client, &e) == 0);
    MUST(tls_client_trust(client, "/dev/null", &e) != 0);
}

static void open_end(struct end *x, struct tls_context *context)
{
    struct err e;

    memset(x, 0, sizeof *x);
    x->t = tls_stream_new(context, NULL, blocks, &e);
    MUST(x->t != NULL);
}

static void seal_text(struct end *x)
{
    static char room[TLS_PLAIN_MAX];
    struct chain plain = CHAIN_INIT;

    MUST(chain_add(&plain, blocks, text, sizeof text));
    MUST(tls_stream_seal(x->t, &plain, room) == 0);
    MUST(plain.n == 0);
}

/* Give x a piece, which is opened where it lies. */
static void take(struct end *x, const uint8_t *data, size_t n)
{
    if (x->over || n > sizeof x->raw - x->n)
        return;
    memcpy(x->raw + x->n, data, n);
    x->n += n;
    for (enum tls_got got = TLS_SECURED; got == TLS_SECURED;) {
        struct span from = { x->raw, x->n };
        size_t plain;
        got = tls_stream_open(x->t, &from, x->raw, sizeof x->raw, &plain);
        MUST(inside(from, (struct span){ x->raw, x->n }));
        MUST(plain <= sizeof x->got - x->plain);
        memcpy(x->got + x->plain, x->raw, plain);
        x->plain += plain;
        memmove(x->raw, from.p, from.n);
        x->n = from.n;
        x->over = got == TLS_FAILED || got == TLS_CLOSED;
        MUST(got != TLS_FAILED || x->t->error[0] != '\0');
        if (got == TLS_SECURED)
            seal_text(x);
    }
}

static void in_pieces(struct end *x, const uint8_t *data, size_t n,
                      size_t piece)
{
    for (size_t at = 0; at < n; at += piece)
        take(x, data + at, n - at < piece ? n - at : piece);
}

/* What is next of the changes to octets on their way. */
static const uint8_t *changes;
static size_t nchanges, distance;

static void change(uint8_t *data, size_t n)
{
    for (size_t i = 0; i < n && nchanges >= 2; i++)
        if (distance++ == changes[0]) {
            data[i] = (uint8_t)(data[i] + changes[1]);
            changes += 2;
            nchanges -= 2;
            distance = 0;
        }
}

static void talk(size_t piece)
{
    static uint8_t wire[ROOM];
    bool quiet = false;

    for (int i = 0; i < 20 && !quiet; i++) {
        quiet = true;
        for (int who = 0; who < 2; who++) {
            struct chain *out = &ends[who].t->wire;
            size_t n = chain_copy(out, 0, wire, sizeof wire);
            chain_clear(out, blocks);
            change(wire, n);
            in_pieces(&ends[1 - who], wire, n, piece);
            quiet = quiet && n == 0;
        }
    }
    for (int who = 0; who < 2; who++)
        MUST(ends[who].plain == 0 ||
             (ends[who].plain == sizeof text &&
              memcmp(ends[who].got, text, sizeof text) == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < 1 || n > ROOM)
        return 0;
    size_t piece = (size_t)(data[0] >> 2) * 64 + 1;
    int what = data[0] & 3;

    set_up();
    open_end(&ends[0], client);
    open_end(&ends[1], server);
    changes = data + 1;
    nchanges = n - 1;
    distance = 0;
    if (what == AS_SERVER)
        in_pieces(&ends[0], data + 1, n - 1, piece);
    else if (what == AS_CLIENT)
        in_pieces(&ends[1], data + 1, n - 1, piece);
    else
        talk(piece);
    bool whole = what == BETWEEN && n == 1;
    MUST(!whole || (ends[0].plain > 0 && ends[1].plain > 0));
    for (int who = 0; who < 2; who++)
        tls_stream_free(&ends[who].t);
    MUST(pool_used(blocks) == 0);
    return 0;
}
