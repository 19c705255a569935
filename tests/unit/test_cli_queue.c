/* test_cli_queue.c - a message as `mta queue show` prints it. */
#include "cli/queue.h"
#include "cli/queue_private.h"

#include "base/body.h"
#include "config/load.h"
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

static void submit_part(const struct field *f, size_t n, uint32_t nrcpt,
                        uint64_t part)
{
    struct chain env = CHAIN_INIT, text = CHAIN_INIT;
    struct body body = body_of_chain(&text, 0);
    struct spool_submission m = { .arrival = 1700000000000000u,
                                  .nrcpt = nrcpt,
                                  .part = part,
                                  .envelope = &env };
    struct err e;

    ck_assert_int_eq(spool_writer_new_id(k->w, &m.id, &e), 0);
    for (size_t i = 0; i < n; i++)
        ck_assert(
            spool_envelope_add(&env, k->blocks, f[i].type, span_of(f[i].text)));
    static const uint16_t slots[] = { 0, 2, 3, 4, 9 };
    ck_assert(part == 0 || spool_replaces_add(&env, k->blocks, slots, 5));
    ck_assert_int_eq(spool_submit(k->w, &m, &body, &e), 0);
    ck_assert_int_eq(spool_writer_commit(k->w, &e), 0);
    chain_clear(&env, k->blocks);
}

static void submit(const struct field *f, size_t n, uint32_t nrcpt)
{
    submit_part(f, n, nrcpt, 0);
}

static int print(void *ctx, const struct spool_reader *v)
{
    struct err e;

    return queue_print(v, ctx, &e);
}

/* To be freed. */
static struct queue_live *live;

static char *printed(bool json, bool all)
{
    char *text = NULL;
    size_t n;
    struct err e;
    struct queue_style style = { .out = open_memstream(&text, &n),
                                 .json = json,
                                 .all_recipients = all,
                                 .live = live,
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

/* --- what a running sender knows ------------------------------------------ */

static struct conf conf;

static void open_live(void)
{
    struct conf_source from = { .file = "/dev/null" };
    struct conf_override over[] = { { "send.routes", "r.test=[hop.test]:26",
                                      "-o" },
                                    { "user", "root", "-o" },
                                    { "local.aliases", "", "-o" } };
    struct err e;

    from.over = over;
    from.nover = 3;
    setup();
    ck_assert_msg(conf_load(&conf, &from, &e) == 0, "%s", e.text);
    live = queue_live_new(&conf);
    ck_assert_ptr_nonnull(live);
}

static void close_live(void)
{
    queue_live_free(&live);
    conf_free(&conf);
    teardown();
}

static void tell(const char *line)
{
    ck_assert_int_eq(queue_live_line(live, span_of(line)), 0);
}

static const struct field mails[] = { { SPOOL_F_SENDER, "s@a.test" },
                                      { SPOOL_F_RCPT, "one@b.test" },
                                      { SPOOL_F_RCPT, "two@B.test" },
                                      { SPOOL_F_RCPT, "three@r.test" },
                                      { SPOOL_F_RCPT, "four@other.test" } };

static int take_id(void *ctx, const struct spool_reader *v)
{
    msg_id_text(ctx, v->rec->id);
    return 1;
}

static void submit_mails(char id[MSG_ID_TEXT])
{
    struct err e;

    submit(mails, 5, 4);
    ck_assert_int_eq(spool_read_all(k->dir, true, take_id, id, &e), 1);
}

START_TEST(a_recipient_that_is_being_delivered)
{
    char id[MSG_ID_TEXT], line[128];

    submit_mails(id);
    snprintf(line, sizeof line,
             "delivering %s 0 1,3 1700000001000000 sid0sid0sid0 192.0.2.1:25 "
             "mx.b.test",
             id);
    tell(line);
    snprintf(line, sizeof line, "delivering %s 1 0 1700000001000000 - - -", id);
    tell(line); /* of another part */
    tell("delivering 0123456789abcdef 0 0,2 1700000001000000 - - -");
    char *text = printed(true, false);
    ck_assert_msg(
        strstr(text, "{\"address\":\"two@B.test\",\"state\":\"delivering\"") !=
                NULL &&
            strstr(text,
                   "\"reply\":\"\",\"shut_until\":null,\"host_state\":null,"
                   "\"delivering\":{\"since\":\"2023-11-14T22:13:21.000000Z\","
                   "\"session\":\"sid0sid0sid0\",\"mx\":\"mx.b.test\","
                   "\"address\":\"192.0.2.1:25\"}}") != NULL &&
            strstr(text, "\"four@other.test\",\"state\":\"delivering\"") !=
                NULL &&
            strstr(text, "\"one@b.test\",\"state\":\"pending\"") != NULL,
        "%s", text);
    free(text);
    text = printed(false, true);
    ck_assert_msg(
        strstr(text, "    two@B.test  being delivered since 2023-11-") !=
                NULL &&
            strstr(text, "        now at mx.b.test (192.0.2.1:25), "
                         "session sid0sid0sid0\n") != NULL &&
            strstr(text, "    one@b.test  pending\n") != NULL,
        "%s", text);
    free(text);
}
END_TEST

/* Its slot was written between the sender's answer and the look at it. */
START_TEST(a_delivery_that_is_over)
{
    struct spool_record rec = { .part = 0 };
    struct spool_reader view = { .rec = &rec };
    struct queue_style style = { .live = live };
    struct queue_printing p = { .view = &view, .style = &style };
    struct spool_slot slot = { .state = SPOOL_PENDING,
                               .last_attempt = 1700000000999999u };

    ck_assert(msg_id_parse(&rec.id, SPAN_LIT("0123456789abcdef")));
    tell("delivering 0123456789abcdef 0 0 1700000001000000 - - -");
    struct queue_present now =
        queue_present_of(&p, SPAN_LIT("one@b.test"), &slot);
    ck_assert_ptr_nonnull(now.delivering);
    slot.last_attempt = 1700000001000001u;
    now = queue_present_of(&p, SPAN_LIT("one@b.test"), &slot);
    ck_assert_ptr_null(now.delivering);
}
END_TEST

START_TEST(a_destination_that_is_shut)
{
    char id[MSG_ID_TEXT];

    submit_mails(id);
    tell("shut mx/b.test/25 1700000001000000 mx.b.test (192.0.2.1:25): went");
    tell("trial mx/other.test/25 0 mx.other.test (192.0.2.3:25): was gone");
    tell("paused setting/host/hop.test/26 1700000002000000 hop.test: \033[2J");
    char *text = printed(true, false);
    ck_assert_msg(
        strstr(text, "\"shut_until\":\"2023-11-14T22:13:21.000000Z\","
                     "\"host_state\":\"mx.b.test (192.0.2.1:25): "
                     "went\"},{\"address\":\"two@B.test\"") != NULL &&
            strstr(text, "\"shut_until\":null,\"reconnects_at\":"
                         "\"2023-11-14T22:13:22.000000Z\"") != NULL &&
            strstr(text, "\"shut_until\":null,\"on_trial\":true,\"host_state\":"
                         "\"mx.other.test (192.0.2.3:25): was gone\"}"
                         "]}\n") != NULL,
        "%s", text);
    free(text);
    text = printed(false, true);
    ck_assert_msg(
        strstr(text, "    two@B.test  pending, host shut until 2023-11-") !=
                NULL &&
            strstr(text, "        shut: mx.b.test (192.0.2.1:25): went\n") !=
                NULL &&
            strstr(text, "    three@r.test  pending, reconnects at 2023-11-") !=
                NULL &&
            strstr(text, "        paused: hop.test: ?[2J\n") != NULL &&
            strstr(text, "    four@other.test  pending, host on trial\n") !=
                NULL &&
            strstr(
                text,
                "        on trial: mx.other.test (192.0.2.3:25): was gone\n") !=
                NULL,
        "%s", text);
    free(text);
}
END_TEST

/* Lines that make no sense, as a sender of another version may send them. */
START_TEST(strange_lines)
{
    static const char *const lines[] = {
        "",
        " ",
        "other 1 2 3",
        "delivering",
        "delivering x",
        "delivering 0123456789abcdef",
        "delivering 0123456789abcdef 0",
        "delivering 0123456789abcdef 0 1,x,,70000000000 12",
        "delivering 0123456789abcdef 0 1 -1 a b c",
        "delivering 0123456789abcdef -1 1 1 a b c",
        "shut",
        "shut mx/b.test/25",
        "shut mx/b.test/25 never because",
    };
    char id[MSG_ID_TEXT];

    submit_mails(id);
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        tell(lines[i]);
    char *text = printed(false, true);
    ck_assert_msg(strstr(text, "    one@b.test  pending\n") != NULL, "%s",
                  text);
    free(text);
}
END_TEST

START_TEST(a_child_shows_its_part)
{
    k->w->children = 1;
    submit_part(fields, NFIELDS, 2, 0xfffffffffffffffe);
    char *text = printed(false, false);
    ck_assert_msg(strstr(text, "  remote  part 18446744073709551614  ") != NULL,
                  "%s", text);
    free(text);
    text = printed(true, false);
    ck_assert_msg(strstr(text, ",\"part\":18446744073709551614,") != NULL, "%s",
                  text);
    ck_assert_ptr_null(strstr(text, "replaces"));
    free(text);
}
END_TEST

START_TEST(show_has_what_a_child_replaces)
{
    k->w->children = 1;
    submit_part(fields, NFIELDS, 2, 0x30001);
    char *text = printed(false, true);
    ck_assert_msg(
        strstr(text, "    in place of recipients of part 3: 0 2-4 9\n") != NULL,
        "%s", text);
    free(text);
    text = printed(true, true);
    ck_assert_msg(strstr(text, ",\"helo\":\"client.test\",\"parent\":3,"
                               "\"replaces\":[[0,0],[2,4],[9,9]],"
                               "\"front\":0,\"late\":[]}\n") != NULL,
                  "%s", text);
    free(text);
}
END_TEST

START_TEST(an_accepted_message_has_part_0)
{
    submit(fields, NFIELDS, 2);
    char *text = printed(false, false);
    ck_assert_msg(strstr(text, "part") == NULL, "%s", text);
    free(text);
    text = printed(true, false);
    ck_assert_msg(strstr(text, ",\"part\":0,") != NULL, "%s", text);
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
    tcase_add_test(t, a_child_shows_its_part);
    tcase_add_test(t, show_has_what_a_child_replaces);
    tcase_add_test(t, an_accepted_message_has_part_0);
    suite_add_tcase(s, t);
    t = tcase_create("live");
    tcase_add_checked_fixture(t, open_live, close_live);
    tcase_add_test(t, a_recipient_that_is_being_delivered);
    tcase_add_test(t, a_delivery_that_is_over);
    tcase_add_test(t, a_destination_that_is_shut);
    tcase_add_test(t, strange_lines);
    suite_add_tcase(s, t);
    return s;
}
