/* dkim.c - `mta dkim`: make a key, and print the DNS record of one. */
#include "cli/commands.h"
#include "cli/options.h"

#include "base/base64.h"
#include "base/digest_key.h"
#include "base/fs.h"
#include "base/idn.h"
#include "base/json.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

enum {
    STRING_MAX = 255, /* octets of a string of a TXT record (RFC 1035 3.3.14) */
    RECORD_MAX = BASE64_SIZE(DIGEST_KEY_PUBLIC_MAX) + 64
};

struct naming {
    char domain[IDN_MAX], selector[IDN_MAX]; /* "": not given */
    bool json;
};

/* --- the record ----------------------------------------------------------- */

static int record_of(char out[RECORD_MAX], const struct digest_key *k,
                     struct err *e)
{
    struct buf b;
    struct digest_public p;

    if (digest_key_public(k, &p, e) != 0)
        return -1;
    buf_init(&b, out, RECORD_MAX);
    buf_addf(&b, "v=DKIM1; k=%s; p=",
             digest_key_type(k) == DIGEST_KEY_RSA ? "rsa" : "ed25519");
    base64_encode(&b, (struct span){ (const char *)p.octets, p.n });
    return 0;
}

static void print_json(const struct naming *n, const char *record)
{
    char name[2 * IDN_MAX + 16];

    putchar('{');
    if (n->domain[0] != '\0') {
        snprintf(name, sizeof name, "%s._domainkey.%s", n->selector, n->domain);
        fputs("\"name\":", stdout);
        json_string(stdout, span_of(name));
        putchar(',');
    }
    fputs("\"value\":", stdout);
    json_string(stdout, span_of(record));
    fputs("}\n", stdout);
}

/* As a line of a zone file. */
static void print_record(const struct naming *n, const char *record)
{
    if (n->json) {
        print_json(n, record);
        return;
    }
    if (n->domain[0] != '\0')
        printf("%s._domainkey.%s. IN TXT (", n->selector, n->domain);
    for (size_t left = strlen(record); left > 0;) {
        size_t part = left < STRING_MAX ? left : STRING_MAX;
        printf("%s\"%.*s\"", n->domain[0] != '\0' ? "\n  " : "", (int)part,
               record);
        record += part;
        left -= part;
        if (n->domain[0] == '\0')
            putchar(left > 0 ? ' ' : '\n');
    }
    if (n->domain[0] != '\0')
        fputs(" )\n", stdout);
}

/* --- keygen --------------------------------------------------------------- */

/* The name of a file that is there already is never used. */
static int write_key(const char *path, const struct digest_key *k,
                     struct err *e)
{
    char pem[DIGEST_KEY_PEM_MAX];
    int rc = -1;

    if (digest_key_pem(k, pem, e) != 0)
        return -1;
    int fd = fs_open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                     0600);
    if (fd < 0) {
        err_set(e, ERR_USAGE, errno, "make %s", path);
        goto out;
    }
    if (fs_write_all(fd, pem, strlen(pem)) == 0 && fs_fsync(fd) == 0) {
        rc = 0;
    } else {
        err_set(e, ERR_TEMP, errno, "write %s", path);
        unlink(path);
    }
    fs_close(fd);
out:
    digest_wipe(pem, sizeof pem);
    return rc;
}

static int take_name(char out[IDN_MAX], const char *what, const char *text,
                     struct err *e)
{
    const char *fault = idn_normal(out, span_of(text));

    return fault == NULL
               ? 0
               : err_set(e, ERR_USAGE, 0, "%s '%.100s' %s", what, text, fault);
}

static int keygen(struct naming *n, char **args, bool ed25519, struct err *e)
{
    char record[RECORD_MAX];
    struct digest_key *k = NULL;
    int rc = -1;

    if (take_name(n->domain, "domain", args[0], e) != 0 ||
        take_name(n->selector, "selector", args[1], e) != 0)
        return -1;
    if (digest_key_generate(&k, ed25519 ? DIGEST_KEY_ED25519 : DIGEST_KEY_RSA,
                            e) == 0 &&
        record_of(record, k, e) == 0 && write_key(args[2], k, e) == 0) {
        print_record(n, record);
        rc = 0;
    }
    digest_key_free(&k);
    return rc;
}

/* --- record --------------------------------------------------------------- */

static int record(const struct naming *n, const char *path, struct err *e)
{
    char text[RECORD_MAX];
    struct digest_key *k = NULL;
    int rc = -1;

    if (digest_key_load(&k, path, e) == 0 && record_of(text, k, e) == 0) {
        print_record(n, text);
        rc = 0;
    }
    digest_key_free(&k);
    return rc;
}

static const char *hint(const struct err *e, bool makes)
{
    if (e->sys == ENOENT)
        return makes ? "; make its directory" : "; 'mta dkim keygen' makes one";
    return makes && e->sys == EEXIST
               ? "; no key is ever overwritten: name another file"
               : "";
}

int cmd_dkim(int argc, char **argv)
{
    bool ed25519 = false;
    const struct option flags[] = { OPTION_ON("--ed25519", &ed25519) };
    const struct options_spec spec = { flags, sizeof flags / sizeof flags[0], 1,
                                       4, false };
    struct naming n = { .domain = "", .selector = "" };
    struct options o;
    struct err e;
    int rc;

    if (!options_parse(&o, &spec, argc, argv))
        return o.status;
    n.json = o.json;
    if (strcmp(o.args[0], "keygen") == 0 && o.nargs == 4)
        rc = keygen(&n, o.args + 1, ed25519, &e);
    else if (strcmp(o.args[0], "record") == 0 && o.nargs == 2 && !ed25519)
        rc = record(&n, o.args[1], &e);
    else
        return options_refuse(&o, "write keygen DOMAIN SELECTOR FILE"
                                  " [--ed25519], or record FILE");
    if (rc == 0)
        return EX_OK;
    fprintf(stderr, "mta dkim: %s%s\n", e.text, hint(&e, o.nargs == 4));
    return err_status(&e);
}
