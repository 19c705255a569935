/* test_send_refusal.c - what real refusals say of this system, and what they
 * do not.  The texts are those of the receivers and programs named. */
#include "send/refusal.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define OTHER REFUSAL_OTHER
#define GREY REFUSAL_GREYLISTED
#define RATE REFUSAL_RATE
#define MANY REFUSAL_SESSIONS
#define STOP REFUSAL_BLOCKED

/* clang-format off */
static const struct {
    enum refusal_kind kind;
    uint32_t seconds;
    const char *reply; /* of several lines: "\n", each with its code */
} cases[] = {
    /* Gmail */
    { RATE, 0, "421 4.7.28 Gmail has detected an unusual rate of unsolicited email originating\n4.7.28 from your SPF domain [example.org      35]. To protect our users from\n4.7.28 spam, email sent from your domain has been temporarily rate limited." },
    { RATE, 0, "421 4.7.0 [192.0.2.25      15] Our system has detected an unusual rate of\n4.7.0 unsolicited mail originating from your IP address. To protect our\n4.7.0 users from spam, mail sent from your IP address has been temporarily\n4.7.0 rate limited." },
    { RATE, 0, "421 4.7.0 Try again later, closing connection. 5b1f17b1804b1-42 - gsmtp" },
    { RATE, 0, "421 4.4.5 Server busy, try again later. - gsmtp" },
    { MANY, 0, "421 4.3.2 Connection rate limit exceeded, closing" },
    { STOP, 0, "550 5.7.28 Gmail has detected an unusual rate of unsolicited mail originating from your IP address." },
    { STOP, 0, "550 5.7.1 [192.0.2.25      18] Our system has detected an unusual rate of\n5.7.1 unsolicited mail originating from your IP address. To protect our\n5.7.1 users from spam, mail sent from your IP address has been blocked." },
    { OTHER, 0, "550 5.7.1 [192.0.2.25      12] Our system has detected that this message is\n5.7.1 likely unsolicited mail. To reduce the amount of spam sent to Gmail,\n5.7.1 this message has been blocked." },
    { OTHER, 0, "421 4.7.0 [192.0.2.25] Our system has detected that this message is\n4.7.0 suspicious due to the very low reputation of the sending domain. To\n4.7.0 best protect our users from spam, the message has been blocked." },
    { OTHER, 0, "550 5.7.26 This mail has been blocked because the sender is unauthenticated.\n5.7.26 Gmail requires all senders to authenticate with either SPF or DKIM.\n5.7.26\n5.7.26  Authentication results:\n5.7.26  DKIM = did not pass" },
    { OTHER, 0, "421 4.7.26 This mail has been rate limited because it is unauthenticated. Gmail requires all senders to authenticate with either SPF or DKIM." },
    { OTHER, 0, "421 4.7.0 TLS required for RCPT domain, closing connection." },
    { OTHER, 0, "421 4.7.0 unauthenticated: This message does not have authentication information." },
    { OTHER, 0, "450 4.2.1 The user you are trying to contact is receiving mail too quickly.\n4.2.1 Please resend your message at a later time." },
    { OTHER, 0, "450 4.2.1 The user you are trying to contact is receiving mail at a rate that\n4.2.1 prevents additional messages from being delivered." },
    { OTHER, 0, "452 4.2.2 The recipient's inbox is out of storage space." },
    { OTHER, 0, "550 5.7.25 The IP address sending this message does not have a PTR record setup" },
    /* Microsoft */
    { RATE, 0, "451 4.7.650 The mail server [192.0.2.25] has been temporarily rate limited due to IP reputation. For e-mail delivery information, see https://aka.ms/postmaster (S775) [Name=Protocol Filter Agent][AGT=PFA]" },
    { MANY, 0, "451 4.7.652 The mail server [192.0.2.25] has exceeded the maximum number of connections. (S3115)" },
    { MANY, 0, "421 4.3.2 The maximum number of concurrent server connections has exceeded a limit, closing transmission channel" },
    { RATE, 0, "451 4.7.500 Server busy. Please try again later from [192.0.2.25]. (S77714)" },
    { STOP, 0, "550 5.7.1 Unfortunately, messages from [192.0.2.25] weren't sent. Please contact your Internet service provider since part of their network is on our block list (S3150). You can also refer your provider to http://mail.live.com/mail/troubleshooting.aspx#errors." },
    { STOP, 0, "550 5.7.1 Unfortunately, messages from [192.0.2.25] weren't sent. Please contact your Internet service provider since part of their network is on our block list (S3140)." },
    { STOP, 0, "550 5.7.606 Access denied, banned sending IP [192.0.2.25]. To request removal from this list please visit https://sender.office.com/ and follow the directions." },
    { STOP, 0, "550 5.7.1 Service unavailable, Client host [192.0.2.25] blocked using Spamhaus. To request removal from this list see https://www.spamhaus.org/query/ip/192.0.2.25 (AS3130)" },
    { OTHER, 0, "550 5.7.1 Service unavailable, Client host [192.0.2.25] blocked using Customer Block list (AS16012607)" },
    { OTHER, 0, "550 5.7.1 TRANSPORT.RULES.RejectMessage; your IP address is blocked" },
    { OTHER, 0, "550 5.7.703 Your message can't be delivered because messages to a@b.test are blocked by your organization using Tenant Allow Block List." },
    { OTHER, 0, "550 5.7.515 Access denied, sending domain example.org doesn't meet the required authentication level." },
    { OTHER, 0, "550 5.4.1 Recipient address rejected: Access denied. [AM7EUR06FT012.eop-eur06.prod.protection.outlook.com]" },
    { STOP, 0, "550 5.7.511 Access denied, banned sender[192.0.2.25]" },
    { OTHER, 0, "432 4.3.2 STOREDRV.Deliver; recipient thread limit exceeded" },
    /* Yahoo */
    { RATE, 0, "421 4.7.0 [TSS04] Messages from 192.0.2.25 temporarily deferred due to unexpected volume or user complaints - 4.16.55.1; see https://postmaster.yahooinc.com/error-codes" },
    { OTHER, 0, "421 4.7.1 [TS03] All messages from 192.0.2.25 will be permanently deferred; Retrying will NOT succeed. See https://postmaster.yahooinc.com/error-codes" },
    { STOP, 0, "553 5.7.1 [BL21] Connections will not be accepted from 192.0.2.25, because the ip is in Spamhaus's list; see http://postmaster.yahoo.com/550-bl23.html" },
    { OTHER, 0, "554 5.7.9 Message not accepted for policy reasons. See https://postmaster.yahooinc.com/error-codes" },
    { OTHER, 0, "552 1 Requested mail action aborted, mailbox not found" },
    /* Yandex, Mail.ru, GMX, iCloud */
    { GREY, 0, "451 4.7.1 Sorry, the service is currently unavailable. Please come back later." },
    { STOP, 0, "554 5.7.1 Client host [192.0.2.25] blocked by spam statistics, see http://feedback.yandex.ru/?from=mail-rejects" },
    { OTHER, 0, "554 5.7.1 [1] Message rejected under suspicion of SPAM; https://ya.cc/1IrBc" },
    { OTHER, 0, "450 4.2.1 Ratelimit exceeded for mailbox u@mail.ru. Try again later." },
    { STOP, 0, "550 Access from ip address 192.0.2.25 blocked. Visit http://mail.ru/notspam/" },
    { OTHER, 0, "550 spam message rejected. Please visit http://help.mail.ru/notspam-support/id?c=AbC or report details to abuse@corp.mail.ru." },
    { STOP, 0, "550 5.7.0 Blocked - see https://ipcheck.proofpoint.com/?ip=192.0.2.25" },
    { OTHER, 0, "554 5.7.1 [CS01] Message rejected due to local policy." },
    { OTHER, 0, "550 Requested action not taken: mailbox unavailable\nReject due to policy restrictions." },
    /* postgrey, sqlgrey, milter-greylist, greylistd, rspamd, spamd */
    { GREY, 0, "450 4.2.0 <u@x.test>: Recipient address rejected: Greylisted, see http://postgrey.schweikert.ch/help/x.test.html" },
    { GREY, 300, "450 4.2.0 <u@x.test>: Recipient address rejected: Greylisted for 300 seconds (see http://isg.ee.ethz.ch/tools/postgrey/help/x.html)" },
    { GREY, 300, "450 4.7.1 <u@x.test>: Recipient address rejected: Greylisted for 5 minutes" },
    { GREY, 299, "451 4.7.1 Greylisting in action, please come back in 00:04:59" },
    { GREY, 0, "451 greylisted." },
    { GREY, 0, "451 4.7.1 Try again later" },
    { GREY, 3600, "451 4.7.1 Graylisted, try again in 1 hour" },
    { OTHER, 0, "451 Temporary failure, please try again later." },
    { OTHER, 0, "451 Temporary local problem - please try later" },
    /* Postfix */
    { MANY, 0, "421 4.7.0 mx.x.test Error: too many connections from 192.0.2.25" },
    { MANY, 0, "421 4.7.0 mx.x.test Error: too many new TLS sessions from 192.0.2.25" },
    { RATE, 0, "450 4.7.1 Error: too much mail from 192.0.2.25" },
    { RATE, 0, "450 4.7.1 Error: too many recipients from 192.0.2.25" },
    { RATE, 0, "450 4.3.2 Service currently unavailable" },
    { OTHER, 0, "421 4.7.0 mx.x.test Error: too many errors" },
    { OTHER, 0, "452 4.5.3 Error: too many recipients" },
    { STOP, 0, "554 5.7.1 Service unavailable; Client host [192.0.2.25] blocked using zen.spamhaus.org; https://www.spamhaus.org/query/ip/192.0.2.25" },
    { STOP, 0, "554 5.7.1 Service unavailable; Client host [IPv6:2001:db8::25] blocked using zen.spamhaus.org" },
    { OTHER, 0, "554 5.7.1 Service unavailable; Sender address [a@b.test] blocked using dbl.spamhaus.org" },
    { OTHER, 0, "554 5.7.1 Service unavailable; Helo command [mx.b.test] blocked using dbl.spamhaus.org" },
    { OTHER, 0, "554 5.7.1 <u@x.test>: Relay access denied" },
    { OTHER, 0, "450 4.7.1 Client host rejected: cannot find your hostname, [192.0.2.25]" },
    { OTHER, 0, "450 4.1.8 <a@b.test>: Sender address rejected: Domain not found" },
    /* Exim */
    { MANY, 0, "421 Too many concurrent SMTP connections; please try again later." },
    { RATE, 0, "451 Sender rate overlimit - 120.0 / 1h" },
    { RATE, 0, "421 4.7.0 Your sending rate is too high, slow down" },
    { STOP, 0, "550 rejected because 192.0.2.25 is in a black list at zen.spamhaus.org" },
    { OTHER, 0, "550 Unrouteable address" },
    { OTHER, 0, "452 Message or space temporarily exceeds limits" },
    { OTHER, 0, "550-Verification failed for <a@b.test>\n550 Sender verify failed" },
    /* OpenSMTPD */
    { MANY, 0, "421 4.3.0 Too many connections, slow down" },
    { OTHER, 0, "452 4.5.3 Too many recipients" },
    { OTHER, 0, "550 5.3.4 Message too big" },
    /* words alone are not enough */
    { OTHER, 0, "550 5.7.1 The recipient has blocked your messages from 192.0.2.25" },
    { OTHER, 0, "550 5.7.1 Message contains a URL listed in a blocklist (192.0.2.1)" },
    { OTHER, 0, "550 5.1.1 <blocked@x.test>: User unknown" },
    { OTHER, 0, "550 5.1.1 <blocked@[192.0.2.25]>: User unknown" },
    { OTHER, 0, "550 5.2.1 <u@x.test>: blocked, asked by 192.0.2.25" },
    { OTHER, 0, "450 4.7.1 rate" },
    { OTHER, 0, "451 4.7.515 sending domain does not meet the required authentication level" },
    { RATE, 7200, "421 4.7.28 too much mail from [192.0.2.25], retry after 120 minutes" },
    { RATE, 0, "550 4.7.28 slow down" },
    { OTHER, 0, "" },
};
/* In a group its own words count, and not those of others; where customers write
 * what refuses mail for them, no others do. */
static const struct {
    const char *group;
    enum refusal_kind kind;
    const char *reply;
} of_group[] = {
    { "microsoft", STOP, "550 5.7.1 ... part of their network is on our block list (S3150)." },
    { "microsoft", STOP, "451 4.7.1 not taken (S3140)" },
    { "microsoft", STOP, "550 5.7.1 Service unavailable, Client host [192.0.2.25] blocked using Spamhaus. (AS3130)" },
    { "microsoft", STOP, "550 5.7.511 Access denied, banned sender[192.0.2.25]" },
    { "microsoft", STOP, "550 5.7.606 Access denied, banned sending IP [192.0.2.25]." },
    { "microsoft", OTHER, "550 5.7.1 Client host [192.0.2.25] blocked, says our postmaster" },
    { "google", OTHER, "550 5.7.1 ... part of their network is on our block list (S3150)." },
    { "google", OTHER, "451 4.7.1 not taken (S3140)" },
    { "google", OTHER, "554 5.7.1 Client host [192.0.2.25] blocked by spam statistics" },
    { "google", OTHER, "421 4.7.1 All messages from 192.0.2.25 will be permanently deferred" },
    { "google", STOP, "550 5.7.28 too much unsolicited mail" },
    { "google", STOP, "550 5.7.1 mail originating from your IP address has been blocked" },
    { "yandex", STOP, "451 4.7.1 Client host [192.0.2.25] blocked by spam statistics" },
    { "yandex", STOP, "554 5.7.1 Client host [192.0.2.25] blocked using zen.spamhaus.org" },
    { "hoster", STOP, "554 5.7.1 Client host [192.0.2.25] blocked using zen.spamhaus.org" },
    { "mimecast", OTHER, "554 5.7.1 Client host [192.0.2.25] blocked using zen.spamhaus.org" },
    { "mimecast", STOP, "550 csi.mimecast.org Poor Reputation Sender. - https://community.mimecast.com" },
    { "mimecast", OTHER, "550 5.7.28 flood" },
    { "proofpoint", STOP, "550 5.7.0 Blocked - see https://ipcheck.proofpoint.com/?ip=192.0.2.25" },
    { "mimecast", RATE, "451 4.7.1 Error: too much mail from 192.0.2.25" },
    { NULL, OTHER, "451 4.7.1 not taken (S3140)" },
    { "yahoo", STOP, "421 4.7.1 [TS03] All messages from 192.0.2.25 will be permanently deferred; Retrying will NOT succeed." },
};
/* clang-format on */
enum {
    NCASES = sizeof cases / sizeof cases[0],
    NGROUPED = sizeof of_group / sizeof of_group[0]
};

/* As a session has it: the code, the status of the first line, all texts. */
static struct refusal read_reply(const char *reply, const char *group,
                                 enum refusal_at at)
{
    struct smtp_status status = { 0 };
    const char *text = reply;
    char copy[2048];

    status.code = (unsigned short)strtoul(reply, (char **)(void *)&text, 10);
    text += *text != '\0';
    struct span rest = span_of(text);
    (void)smtp_status_take(&status, &rest);
    ck_assert(span_copy(copy, sizeof copy, rest));
    return refusal_read(&status, copy, group, at);
}

START_TEST(is_read)
{
    struct refusal r = read_reply(cases[_i].reply, NULL, REFUSAL_AT_RCPT);

    ck_assert_msg(r.kind == cases[_i].kind && r.seconds == cases[_i].seconds,
                  "%s: kind %d, %u s", cases[_i].reply, r.kind,
                  (unsigned)r.seconds);
}
END_TEST

START_TEST(is_read_by_group)
{
    struct refusal r =
        read_reply(of_group[_i].reply, of_group[_i].group, REFUSAL_AT_RCPT);

    ck_assert_msg(r.kind == of_group[_i].kind, "%s: kind %d",
                  of_group[_i].reply, r.kind);
}
END_TEST

/* Before MAIL there is no message that a host could mean. */
START_TEST(a_greeting_means_this_system)
{
    static const char banner[] = "554 Blocked";

    ck_assert_int_eq(read_reply(banner, NULL, REFUSAL_AT_HELLO).kind,
                     REFUSAL_BLOCKED);
    ck_assert_int_eq(read_reply(banner, NULL, REFUSAL_AT_RCPT).kind,
                     REFUSAL_OTHER);
    ck_assert_int_eq(
        read_reply("554 No SMTP service here", NULL, REFUSAL_AT_HELLO).kind,
        REFUSAL_OTHER);
}
END_TEST

/* A filter in front of many hosts knows its own reply from theirs by where it
 * comes. */
START_TEST(a_front_passes_on_what_hosts_reply_to_rcpt)
{
    static const char slow[] = "421 4.7.0 too much mail from 192.0.2.25";
    static const char block[] = "554 5.7.1 Client host [192.0.2.25] blocked";

    ck_assert(read_reply(slow, "proofpoint", REFUSAL_AT_RCPT).of_recipient);
    ck_assert(!read_reply(slow, "proofpoint", REFUSAL_AT_MAIL).of_recipient);
    ck_assert(!read_reply(slow, "google", REFUSAL_AT_RCPT).of_recipient);
    ck_assert(!read_reply(slow, NULL, REFUSAL_AT_RCPT).of_recipient);
    ck_assert_int_eq(read_reply(block, "proofpoint", REFUSAL_AT_MAIL).kind,
                     REFUSAL_BLOCKED);
    ck_assert_int_eq(read_reply(block, "google", REFUSAL_AT_MAIL).kind,
                     REFUSAL_BLOCKED);
}
END_TEST

START_TEST(a_long_reply_is_read_at_its_front)
{
    size_t n = 64 * 1024;
    char *text = malloc(n);
    const struct smtp_status status = { 450, 0, 0, 0 };

    ck_assert_ptr_nonnull(text);
    memset(text, 'x', n - 1);
    text[n - 1] = '\0';
    memcpy(text, "too much mail ", 14);
    ck_assert_int_eq(refusal_read(&status, text, NULL, REFUSAL_AT_RCPT).kind,
                     REFUSAL_RATE);
    memset(text, ' ', n - 1);
    memcpy(text + n - 15, "too much mail ", 14);
    ck_assert_int_eq(refusal_read(&status, text, NULL, REFUSAL_AT_RCPT).kind,
                     REFUSAL_RATE);
    free(text);
}
END_TEST

START_TEST(times_are_bounded)
{
    static const struct {
        const char *text;
        uint32_t seconds;
    } times[] = {
        { "450 greylisted, try again in 99999999999999 hours", 24 * 3600 },
        { "450 greylisted for 4294967295 minutes", 24 * 3600 },
        { "450 greylisted, come back in 99:99:99", 24 * 3600 },
        { "450 greylisted, come back in 10 parsecs", 0 },
        { "450 greylisted, come back in a moment", 0 },
        { "450 greylisted within 5 minutes", 0 }, /* another word */
        { "450 greylisted, wait 90s", 90 },
    };

    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++)
        ck_assert_msg(
            read_reply(times[i].text, NULL, REFUSAL_AT_RCPT).seconds ==
                times[i].seconds,
            "%s", times[i].text);
}
END_TEST

START_TEST(hints_are_for_7_alone)
{
    const struct smtp_status ptr = { 421, 4, 7, 25 }, dkim = { 550, 5, 7, 26 },
                             none = { 450, 4, 2, 25 }, plain = { 421, 0, 0, 0 };

    ck_assert_ptr_nonnull(strstr(refusal_hint(&ptr), "PTR"));
    ck_assert_ptr_nonnull(strstr(refusal_hint(&dkim), "DKIM"));
    ck_assert_ptr_null(refusal_hint(&none));
    ck_assert_ptr_null(refusal_hint(&plain));
}
END_TEST

Suite *send_refusal_suite(void);
Suite *send_refusal_suite(void)
{
    Suite *s = suite_create("send.refusal");
    TCase *t = tcase_create("reading");

    tcase_add_loop_test(t, is_read, 0, NCASES);
    tcase_add_loop_test(t, is_read_by_group, 0, NGROUPED);
    tcase_add_test(t, a_greeting_means_this_system);
    tcase_add_test(t, a_front_passes_on_what_hosts_reply_to_rcpt);
    tcase_add_test(t, a_long_reply_is_read_at_its_front);
    tcase_add_test(t, times_are_bounded);
    tcase_add_test(t, hints_are_for_7_alone);
    suite_add_tcase(s, t);
    return s;
}
