/* test_config_value.c - text to value and back, by type. */
#include "config/value.h"

#include <check.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define N(a) (sizeof(a) / sizeof(a)[0])

static const struct conf_item *item(const char *key)
{
    const struct conf_item *it = conf_find(span_of(key));

    ck_assert_msg(it != NULL, "no setting %s", key);
    return it;
}

static const struct {
    const char *text;
    long long value; /* -1: refused */
} time_cases[] = {
    { "0", 0 },
    { "90", 90 },
    { "30s", 30 },
    { "5m", 300 },
    { "4h", 14400 },
    { "5d", 432000 },
    { "5M", 300 },
    { "", -1 },
    { "m", -1 },
    { "5x", -1 },
    { "5 m", -1 },
    { "-5m", -1 },
    { "+5m", -1 },
    { "1h30m", -1 },
    { "1.5h", -1 },
    { "5mm", -1 },
    { "5K", -1 },
    { "99999999999999999999", -1 },
    { "9223372036854775807d", -1 },
    { "9223372036854775807", LLONG_MAX },
};

START_TEST(times)
{
    long long v = -1;
    struct err e;
    const char *text = time_cases[_i].text;

    if (conf_parse_time(span_of(text), &v, &e) != 0)
        v = -1;
    ck_assert_msg(v == time_cases[_i].value, "'%s' gave %lld", text, v);
}
END_TEST

static const struct {
    const char *text;
    long long value;
} size_cases[] = {
    { "0", 0 },           { "1000", 1000 },
    { "64K", 65536 },     { "50M", 52428800 },
    { "2G", 2147483648 }, { "64k", 65536 },
    { "", -1 },           { "K", -1 },
    { "64KB", -1 },       { "1.5M", -1 },
    { "-1", -1 },         { "5d", -1 },
    { "0x10", -1 },       { "9223372036854775807G", -1 },
};

START_TEST(sizes)
{
    long long v = -1;
    struct err e;
    const char *text = size_cases[_i].text;

    if (conf_parse_size(span_of(text), &v, &e) != 0)
        v = -1;
    ck_assert_msg(v == size_cases[_i].value, "'%s' gave %lld", text, v);
}
END_TEST

/* printed: as the file would have it; NULL: refused with a text that has
 * `fault` in it. */
static const struct {
    const char *key, *text, *printed, *fault;
} set_cases[] = {
    { "hostname", "mx.example.org", "\"mx.example.org\"", NULL },
    { "hostname", "  mx  ", "\"mx\"", NULL },
    { "hostname", "", NULL, "empty" },
    { "hostname", "a\nb", NULL, "control" },
    { "hostname", "a\177b", NULL, "control" },
    { "user", "", "\"\"", NULL },
    { "queue_dir", "/say \"x\\y\"", "\"/say \\\"x\\\\y\\\"\"", NULL },
    { "local.recipient_delimiter", "1234567", "\"1234567\"", NULL },
    { "local.recipient_delimiter", "12345678", NULL, "longer than 7" },
    { "queue_dir", "/a/b", "\"/a/b\"", NULL },
    { "queue_dir", "", NULL, "empty" },
    { "log.file", "-", "\"-\"", NULL },
    { "send.port", "1", "1", NULL },
    { "send.port", "65535", "65535", NULL },
    { "send.port", "0", NULL, "bounds" },
    { "send.port", "65536", NULL, "bounds" },
    { "send.port", "smtp", NULL, "not a number" },
    { "send.port", "", NULL, "not a number" },
    { "send.port", "25s", NULL, "not a number" },
    { "serve.max_clients", "959", "959", NULL },
    { "serve.max_clients", "960", NULL, "bounds" },
    { "send.retry_min", "300", "\"5m\"", NULL },
    { "send.retry_min", "90s", "\"90s\"", NULL },
    { "send.retry_min", "0", NULL, "bounds" },
    { "send.retry_min", "31d", NULL, "bounds" },
    { "send.retry_min", "soon", NULL, "not a time" },
    { "send.warn_after", "0", "\"0\"", NULL },
    { "serve.max_message_size", "1048576", "\"1M\"", NULL },
    { "serve.max_message_size", "1025", "\"1025\"", NULL },
    { "serve.max_message_size", "1023", NULL, "bounds" },
    { "serve.max_message_size", "big", NULL, "not a size" },
    { "send.tls", "may", "\"may\"", NULL },
    { "send.tls", "NONE", "\"none\"", NULL },
    { "send.tls", "nonne", NULL, "did you mean 'none'" },
    { "send.tls", "", NULL, "is not one of none, may" },
    { "send.tls", "yes-please-do", NULL, "is not one of" },
    { "serve.relay_networks", "", "[ ]", NULL },
    { "serve.relay_networks", "10.0.0.0/8", "[ \"10.0.0.0/8\" ]", NULL },
    { "serve.relay_networks", " ::1 , 192.0.2.1 ",
      "[ \"::1/128\", \"192.0.2.1/32\" ]", NULL },
    { "serve.relay_networks", "::1,,::2", NULL, "empty element" },
    { "serve.relay_networks", "::1,", NULL, "empty element" },
    { "serve.relay_networks", "::1,a\tc", NULL, "control" },
    { "serve.listen", "", NULL, "empty" },
    { "dns.servers", "1,2,3,4,5,6,7,8,9", NULL, "more than 8" },
    { "serve.extra_commands", "noop,HELP", "[ \"NOOP\", \"HELP\" ]", NULL },
    { "serve.extra_commands", "", "[ ]", NULL },
    { "serve.extra_commands", "starttls", "[ \"STARTTLS\" ]", NULL },
    { "serve.listen", "::1 TLS, 192.0.2.1:2465  tls,192.0.2.1",
      "[ \"[::1]:465 tls\", \"192.0.2.1:2465 tls\", \"192.0.2.1:25\" ]", NULL },
    { "serve.tls_cert", "/a/b.pem, /c", "[ \"/a/b.pem\", \"/c\" ]", NULL },
    { "serve.tls_cert", "/a,,/c", NULL, "empty element" },
    { "serve.tls_key", "", "[ ]", NULL },
    { "serve.tls_tickets", "OFF", "\"off\"", NULL },
    { "serve.extra_commands", "NOPE", NULL, "did you mean 'NOOP'" },
};

START_TEST(set_and_print)
{
    const struct conf_item *it = item(set_cases[_i].key);
    const char *printed = set_cases[_i].printed;
    struct conf *c = calloc(1, sizeof *c);
    char *got = NULL;
    size_t n;
    struct err e = { .text = "" };

    int rc = conf_set(c, it, span_of(set_cases[_i].text), &e);
    ck_assert_msg((rc == 0) == (printed != NULL), "%s = '%s': %d %s", it->key,
                  set_cases[_i].text, rc, e.text);
    if (rc == 0) {
        FILE *out = open_memstream(&got, &n);
        conf_print(out, c, it);
        fclose(out);
        ck_assert_str_eq(got, printed);
    } else {
        ck_assert_msg(strstr(e.text, set_cases[_i].fault) != NULL,
                      "%s = '%s': %s", it->key, set_cases[_i].text, e.text);
    }
    free(got);
    conf_free(c);
    free(c);
}
END_TEST

START_TEST(relative_path_is_made_absolute)
{
    struct conf *c = calloc(1, sizeof *c);
    char cwd[CONF_PATH_MAX], want[CONF_PATH_MAX + 8];
    struct err e;

    ck_assert_ptr_nonnull(getcwd(cwd, sizeof cwd));
    snprintf(want, sizeof want, "%s/q/x", strcmp(cwd, "/") ? cwd : "");
    ck_assert_int_eq(conf_set(c, item("queue_dir"), span_of("./q/x"), &e), 0);
    ck_assert_str_eq(c->queue_dir, want);
    free(c);
}
END_TEST

START_TEST(too_long_is_refused)
{
    struct conf_item secret = *item("queue_dir"), *it = &secret;
    struct conf *c = calloc(1, sizeof *c);
    char *text = malloc(CONF_TEXT_MAX);
    struct err e;

    secret.type = CONF_SECRET;
    memset(text, 'x', CONF_TEXT_MAX);
    struct span s = { text, CONF_TEXT_MAX };
    ck_assert_int_eq(conf_set(c, it, s, &e), -1);
    ck_assert_ptr_null(strstr(e.text, "xxxx")); /* a secret stays one */
    s.n--;
    ck_assert_int_eq(conf_set(c, it, s, &e), 0);
    ck_assert_uint_eq(strlen(c->queue_dir), CONF_TEXT_MAX - 1);
    free(text);
    free(c);
}
END_TEST

START_TEST(too_many_elements_are_refused)
{
    struct conf *c = calloc(1, sizeof *c);
    char text[6 * (CONF_LIST_MAX + 1)];
    struct err e;

    for (size_t i = 0; i < CONF_LIST_MAX + 1; i++)
        memcpy(text + 6 * i, "xx=yy,", 6);
    struct span s = { text, 6 * CONF_LIST_MAX - 1 };
    ck_assert_int_eq(conf_set(c, item("send.routes"), s, &e), 0);
    ck_assert_uint_eq(c->send.routes.n, CONF_LIST_MAX);
    s.n += 6;
    ck_assert_int_eq(conf_set(c, item("send.routes"), s, &e), -1);
    ck_assert_uint_eq(c->send.routes.n, CONF_LIST_MAX); /* left alone */
    conf_free(c);
    free(c);
}
END_TEST

/* No setting of this version is a secret; the type is for those to come. */
START_TEST(secret_is_not_printed)
{
    struct conf_item it = *item("queue_dir");
    struct conf *c = calloc(1, sizeof *c);
    char *text = NULL;
    size_t n;
    struct err e;

    it.type = CONF_SECRET;
    ck_assert_int_eq(conf_set(c, &it, span_of(" two words "), &e), 0);
    ck_assert_str_eq(c->queue_dir, " two words ");
    FILE *out = open_memstream(&text, &n);
    conf_print(out, c, &it);
    conf_print_json(out, c, &it);
    fclose(out);
    ck_assert_str_eq(text, "\"***\"\"***\"");
    ck_assert_int_eq(conf_set(c, &it, span_of("s3c\nret"), &e), -1);
    ck_assert_ptr_null(strstr(e.text, "s3c"));
    free(text);
    free(c);
}
END_TEST

/* Every row: its default passes its own parser and bounds, and what is
 * printed is read back to the same. */
START_TEST(table_row)
{
    const struct conf_item *it = &conf_items[_i];
    struct conf *c = calloc(1, sizeof *c);
    char text[CONF_TEXT_MAX];
    struct err e;

    ck_assert_msg(conf_set(c, it, span_of(it->fallback), &e) == 0, "%s: %s",
                  it->key, e.text);
    if (it->derive != NULL) {
        snprintf(c->hostname, sizeof c->hostname, "mx.example.org");
        it->derive(c, text, sizeof text);
        ck_assert_msg(conf_set(c, it, span_of(text), &e) == 0,
                      "%s derived '%s': %s", it->key, text, e.text);
        ck_assert_msg(it->derived != NULL, "%s: derived text", it->key);
    }
    ck_assert_msg(it->help != NULL && it->help[strlen(it->help) - 1] == '.',
                  "%s: help is not a sentence", it->key);
    ck_assert_msg((it->type == CONF_ENUM) <= (it->words != NULL),
                  "%s: enum without words", it->key);
    for (size_t i = 0; i < nconf_items; i++)
        ck_assert_msg((int)i == _i || strcmp(conf_items[i].key, it->key) != 0,
                      "%s: twice", it->key);
    conf_free(c);
    free(c);
}
END_TEST

static const struct {
    const char *given, *near;
} near_cases[] = {
    { "serve.workres", "serve.workers" },
    { "queue-dir", "queue_dir" },
    { "queue.dir", "queue_dir" },
    { "serve.queue_dir", "queue_dir" },
    { "mail_dir", "local.mail_dir" },
    { "serve.retry_min", "send.retry_min" },
    { "colour", NULL },
};

START_TEST(nearest)
{
    const char *near = conf_nearest(near_cases[_i].given);

    ck_assert_msg(near == NULL || near_cases[_i].near == NULL
                      ? near == near_cases[_i].near
                      : strcmp(near, near_cases[_i].near) == 0,
                  "%s: %s", near_cases[_i].given, near ? near : "nothing");
}
END_TEST

Suite *config_value_suite(void);
Suite *config_value_suite(void)
{
    Suite *s = suite_create("config.value");
    TCase *t = tcase_create("value");

    tcase_add_loop_test(t, times, 0, N(time_cases));
    tcase_add_loop_test(t, sizes, 0, N(size_cases));
    tcase_add_loop_test(t, set_and_print, 0, N(set_cases));
    tcase_add_test(t, relative_path_is_made_absolute);
    tcase_add_test(t, too_long_is_refused);
    tcase_add_test(t, too_many_elements_are_refused);
    tcase_add_test(t, secret_is_not_printed);
    tcase_add_loop_test(t, table_row, 0, (int)nconf_items);
    tcase_add_loop_test(t, nearest, 0, N(near_cases));
    suite_add_tcase(s, t);
    return s;
}
