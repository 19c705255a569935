#include "dns_fake.h"

#include "base/os.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What a question asks: the name as text, id and type. */
struct asked {
    unsigned id, type;
    bool edns;
    char name[256];
};

static struct asked read_question(const struct packet *q)
{
    struct asked a = { .id = (unsigned)q->b[0] << 8 | q->b[1],
                       .edns = q->b[11] != 0 };
    size_t at = 12, n = 0;

    while (at < q->n && q->b[at] != 0) {
        size_t len = q->b[at++];
        memcpy(a.name + n, q->b + at, len);
        n += len;
        at += len;
        a.name[n++] = '.';
    }
    ck_assert_uint_gt(n, 0);
    a.name[n - 1] = '\0';
    a.type = (unsigned)q->b[at + 1] << 8 | q->b[at + 2];
    return a;
}

static void start(struct packet *p, const struct asked *a, unsigned flags)
{
    packet_start(p, a->id, flags);
    packet_question(p, a->name, a->type);
}

static void good(struct packet *p, const struct asked *a)
{
    char text[400];

    start(p, a, RC_OK);
    snprintf(text, sizeof text, "an %s A 60 192.0.2.1", a->name);
    if (a->type == 1)
        packet_records(p, text);
}

static void say(struct fake *f, const struct packet *p, const struct addr *to)
{
    /* The one who asked may have gone: that is the point of some cases. */
    (void)sendto(f->udp.fd, p->b, p->n, 0, &to->u.sa, addr_len(to));
}

static void say_from_elsewhere(const struct packet *p, const struct addr *to)
{
    int fd = socket(to->u.sa.sa_family, SOCK_DGRAM, 0);

    ck_assert_int_ge(fd, 0);
    (void)sendto(fd, p->b, p->n, 0, &to->u.sa, addr_len(to));
    close(fd);
}

static void say_wrong_question(struct fake *f, struct asked a,
                               const struct addr *to)
{
    struct packet p;

    a.name[0] = a.name[0] == 'z' ? 'y' : 'z';
    good(&p, &a);
    say(f, &p, to);
}

static void say_wrong_id(struct fake *f, struct asked a, const struct addr *to)
{
    struct packet p;

    a.id ^= 0x1234;
    good(&p, &a);
    say(f, &p, to);
}

/* The records of a letter that is a plain answer; false: it is none. */
static bool plain_answer(char how, const struct asked *a, unsigned number,
                         struct packet *p)
{
    static const struct {
        char how;
        unsigned flags;
    } plain[] = { { 't', RC_OK_TC },   { 's', RC_SERVFAIL },
                  { 'r', RC_REFUSED }, { 'x', RC_NXDOMAIN },
                  { 'n', RC_OK },      { 'c', RC_OK },
                  { 'o', RC_OK },      { 'f', RC_FORMERR } };
    char text[600] = "";
    size_t i = 0;

    while (i < sizeof plain / sizeof plain[0] && plain[i].how != how)
        i++;
    if (i == sizeof plain / sizeof plain[0])
        return false;
    start(p, a, plain[i].flags);
    if (how == 'c')
        snprintf(text, sizeof text, "an %s CNAME 60 c%u.test", a->name, number);
    else if (how == 'o')
        snprintf(text, sizeof text,
                 "an %s CNAME 60 o.test; an o.test CNAME 60 %s", a->name,
                 a->name);
    else if (how == 'x' || how == 'n')
        snprintf(text, sizeof text, "ns . SOA 300 60");
    packet_records(p, text);
    return true;
}

static void say_late(struct fake *f, const struct addr *to)
{
    struct packet p;

    if (f->last.n == 0)
        return;
    struct asked a = read_question(&f->last);
    good(&p, &a);
    say(f, &p, to);
}

static void answer(struct fake *f, char how, const struct asked *a,
                   const struct addr *to)
{
    struct packet p;

    if (how == 'f' && !a->edns)
        how = 'g';
    if (plain_answer(how, a, f->asked, &p)) {
        say(f, &p, to);
        return;
    }
    good(&p, a);
    switch (how) {
    case '.': return;
    case 'i': say_wrong_id(f, *a, to); return;
    case 'q': say_wrong_question(f, *a, to); return;
    case 'p': say_from_elsewhere(&p, to); return;
    case 'h': p.n = 6; break;
    case 'm': p.n -= 3; break;
    case 'l':
        say_late(f, &f->last_peer);
        say_late(f, to); /* the old id at the new port, too */
        break;
    case 'b':
        say_wrong_id(f, *a, to);
        say_wrong_question(f, *a, to);
        say_from_elsewhere(&p, to);
        break;
    default: ck_assert_int_eq(how, 'g');
    }
    say(f, &p, to);
}

void fake_answer_last(struct fake *f, char how)
{
    struct asked a = read_question(&f->last);

    answer(f, how, &a, &f->last_peer);
}

static char letter(const char *script, unsigned number)
{
    size_t n = strlen(script);

    return n == 0 ? '.' : number < n ? script[number] : script[n - 1];
}

static void on_udp(struct loop_io *io, unsigned ready)
{
    struct fake *f = LOOP_ENTRY(io, struct fake, udp);
    struct packet q;
    struct addr peer;
    socklen_t len = sizeof peer.u;

    (void)ready;
    ssize_t n = recvfrom(f->udp.fd, q.b, sizeof q.b, 0, &peer.u.sa, &len);
    if (n < 0)
        return;
    q.n = (size_t)n;
    struct asked a = read_question(&q);
    answer(f, letter(f->script, f->asked), &a, &peer);
    f->asked++;
    f->last = q;
    f->last_peer = peer;
}

/* --- TCP ---------------------------------------------------------------- */

static void hang_up(struct fake *f)
{
    if (f->tcp.fd < 0)
        return;
    loop_watch(f->loop, &f->tcp, 0, NULL);
    close(f->tcp.fd);
    f->tcp.fd = -1;
}

/* The answer with its length, as the letter has it. */
static void make_reply(struct fake *f, char how, struct asked a)
{
    unsigned char len[2];
    struct packet p;

    a.id ^= how == 'i' ? 0x1234 : 0;
    good(&p, &a);
    p.b[2] |= how == 't' ? 2 : 0;
    size_t n = how == 'L' ? 65535 : how == '0' ? 0 : p.n;
    len[0] = (unsigned char)(n >> 8);
    len[1] = (unsigned char)(n & 255);
    f->reply.n = 0;
    packet_bytes(&f->reply, len, 2);
    packet_bytes(&f->reply, p.b, how == 'e' ? p.n / 2 : p.n);
}

static void write_reply(struct fake *f)
{
    size_t left = f->reply.n - f->sent, n = f->in_bytes ? 1 : left;
    ssize_t done = send(f->tcp.fd, f->reply.b + f->sent, n, MSG_NOSIGNAL);

    if (done < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    f->sent += done < 0 ? left : (size_t)done;
    if (f->sent >= f->reply.n)
        hang_up(f);
}

static void on_tcp(struct loop_io *io, unsigned ready)
{
    struct fake *f = LOOP_ENTRY(io, struct fake, tcp);
    struct packet q;

    if ((ready & LOOP_WRITE) != 0) {
        write_reply(f);
        return;
    }
    ssize_t n = recv(f->tcp.fd, q.b, sizeof q.b, 0);
    if (n < 0)
        return;
    if (n < 14) { /* a query of this size comes in one piece */
        hang_up(f);
        return;
    }
    q.n = (size_t)n - 2;
    memmove(q.b, q.b + 2, q.n);
    char how = letter(f->tcp_script, f->asked_tcp++);
    if (how == 'c') {
        hang_up(f);
    } else if (how != '.') {
        make_reply(f, how, read_question(&q));
        f->in_bytes = how == '1';
        f->sent = 0;
        loop_watch(f->loop, &f->tcp, LOOP_WRITE, NULL);
    }
}

static void on_accept(struct loop_io *io, unsigned ready)
{
    struct fake *f = LOOP_ENTRY(io, struct fake, listen);
    int fd = accept(f->listen.fd, NULL, NULL);

    (void)ready;
    if (fd < 0)
        return;
    hang_up(f);
    os_nonblock(fd);
    f->tcp.fd = fd;
    loop_watch(f->loop, &f->tcp, LOOP_READ, NULL);
}

/* --- start and stop ----------------------------------------------------- */

static int bound(const struct addr *a, int kind)
{
    int fd = socket(a->u.sa.sa_family, kind, 0);

    ck_assert_int_ge(fd, 0);
    if (bind(fd, &a->u.sa, addr_len(a)) != 0) {
        close(fd);
        return -1;
    }
    os_nonblock(fd);
    return fd;
}

/* The same port for both, or a new try. */
static void take_port(struct fake *f, const char *ip)
{
    do {
        struct sockaddr_storage ss;
        socklen_t len = sizeof ss;
        ck_assert(addr_parse_ip(&f->addr, span_of(ip), 0));
        f->listen.fd = bound(&f->addr, SOCK_STREAM);
        ck_assert_int_ge(f->listen.fd, 0);
        getsockname(f->listen.fd, (struct sockaddr *)&ss, &len);
        addr_from_sockaddr(&f->addr, (struct sockaddr *)&ss);
        f->udp.fd = bound(&f->addr, SOCK_DGRAM);
        if (f->udp.fd < 0)
            close(f->listen.fd);
    } while (f->udp.fd < 0);
}

void fake_start(struct fake *f, struct loop *l, const char *ip,
                const char *script, const char *tcp_script)
{
    memset(f, 0, sizeof *f);
    f->loop = l;
    f->script = script;
    f->tcp_script = tcp_script;
    f->udp.fn = on_udp;
    f->listen.fn = on_accept;
    f->tcp.fn = on_tcp;
    f->tcp.fd = -1;
    take_port(f, ip);
    addr_port_text(f->text, &f->addr);
    loop_watch(l, &f->udp, LOOP_READ, NULL);
    if (tcp_script == NULL) { /* a closed TCP port */
        close(f->listen.fd);
        f->listen.fd = -1;
    } else {
        ck_assert_int_eq(listen(f->listen.fd, 8), 0);
        loop_watch(l, &f->listen, LOOP_READ, NULL);
    }
}

void fake_stop(struct fake *f)
{
    hang_up(f);
    loop_watch(f->loop, &f->udp, 0, NULL);
    close(f->udp.fd);
    if (f->listen.fd >= 0) {
        loop_watch(f->loop, &f->listen, 0, NULL);
        close(f->listen.fd);
    }
}

void fake_closed_port(char out[ADDR_PORT_TEXT])
{
    struct fake f;

    memset(&f, 0, sizeof f);
    take_port(&f, "127.0.0.1");
    close(f.udp.fd);
    close(f.listen.fd);
    addr_port_text(out, &f.addr);
}
