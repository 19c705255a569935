/* test_cli_queue.c - a message as `mta queue show` prints it. */
#include "cli/queue.h"

#include "base/body.h"
#include "spool/submit.h"
#include "spool/writer_private.h"
#include "spool_kit.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct kit *k;

static void setup(void)
{
    struct err e;

    k = kit_new(NULL);
    ck_assert(spool_writer_open_sized(&k->w, k->dir, SPOOL_REMOTE, KIT_SEGMENT,
                                      &e) == 0);
}

static void teardown(void)
{
    kit_free(&k);
}

struct field {
    enum spool_field type;
    const char *text;
};

static void submit(const struct field *f, size_t n, uint32_t nrcpt)
{
    struct chain env = CHAIN_INIT, text = CHAIN_INIT;
    struct body body = body_of_chain(&text, 0);
    struct spool_submission m = { .arrival = 1700000000000000u,
                                  .nrcpt = nrcpt,
                                  .envelope = &env };
    struct err e;

    ck_assert_int_eq(spool_writer_new_id(k->w, &m.id, &e), 0);
    for (size_t i = 0; i < n; i++)
        ck_assert(
            spool_envelope_add(&env, k->blocks, f[i].type, span_of(f[i].text)));
    ck_assert_int_eq(spool_submit(k->w, &m, &body, &e), 0);
    ck_assert_int_eq(spool_writer_commit(k->w, &e), 0);
    chain_clear(&env, k->blocks);
}

static int print(void *ctx, const struct spool_reader *v)
{
    struct err e;

    return queue_print(v, ctx, &e);
}

/* To be freed. */
static char *printed(bool json, bool all)
{
    char *text = NULL;
    size_t n;
    struct err e;
    struct queue_style style = { .out = open_memstream(&text, &n),
                                 .json = json,
                                 .all_recipients = all,
                                 .lifetime = 86400 };

    ck_assert(style.out != NULL);
    ck_assert_int_eq(spool_read_all(k->dir, true, print, &style, &e), 0);
    ck_assert_int_eq(fclose(style.out), 0);
    return text;
}

static const struct field fields[] = {
    { SPOOL_F_SENDER, "s@a.test" },  { SPOOL_F_ENVID, "QQ1" },
    { SPOOL_F_RET, "HDRS" },         { SPOOL_F_RCPT, "one@b.test" },
    { SPOOL_F_NOTIFY, "NEVER" },     { SPOOL_F_RCPT, "two@b.test" },
    { SPOOL_F_ORCPT, "rfc822;2@c" }, { SPOOL_F_SID, "abcdefghjk12" },
    { SPOOL_F_CLIENT, "192.0.2.7" }, { SPOOL_F_HELO, "client.test" },
};
enum { NFIELDS = sizeof fields / sizeof fields[0] };

START_TEST(show_has_all_of_the_envelope_in_both_forms)
{
    submit(fields, NFIELDS, 2);
    for (int json = 0; json < 2; json++) {
        char *text = printed(json, true);
        for (size_t i = 0; i < NFIELDS; i++)
            ck_assert_msg(strstr(text, fields[i].text) != NULL, "%s in %s",
                          fields[i].text, text);
        free(text);
    }
}
END_TEST

START_TEST(each_field_stands_with_its_recipient)
{
    submit(fields, NFIELDS, 2);
    char *text = printed(true, true);
    ck_assert_msg(
        strstr(text,
               ",\"sender\":\"s@a.test\",\"envid\":\"QQ1\",\"ret\":"
               "\"HDRS\",\"recipients\":[{\"address\":\"one@b.test\"") != NULL,
        "%s", text);
    ck_assert_msg(strstr(text, ",\"reply\":\"\",\"notify\":\"NEVER\"},"
                               "{\"address\":\"two@b.test\"") != NULL,
                  "%s", text);
    ck_assert_msg(strstr(text, ",\"reply\":\"\",\"orcpt\":\"rfc822;2@c\"}],"
                               "\"sid\":\"abcdefghjk12\",") != NULL,
                  "%s", text);
    free(text);
}
END_TEST

START_TEST(a_list_has_no_origin)
{
    submit(fields, NFIELDS, 2);
    char *text = printed(true, false);
    ck_assert_msg(strstr(text, ",\"reply\":\"\"}]}\n") != NULL, "%s", text);
    ck_assert(strstr(text, "client") == NULL && strstr(text, "NEVER") == NULL);
    free(text);
}
END_TEST

Suite *cli_queue_suite(void);
Suite *cli_queue_suite(void)
{
    Suite *s = suite_create("cli.queue");
    TCase *t = tcase_create("queue");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, show_has_all_of_the_envelope_in_both_forms);
    tcase_add_test(t, each_field_stands_with_its_recipient);
    tcase_add_test(t, a_list_has_no_origin);
    suite_add_tcase(s, t);
    return s;
}
