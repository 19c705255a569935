/* foreign.c - what other mail systems call our settings, and words that lie
 * nearer to a wrong setting than to the right one: for the error alone. */
#include "config/table.h"

#include <string.h>

/* A name with a dot is a whole key, another one its last part.  Those of other
 * systems stand in docs/migration.md, too; a test compares. */
/* clang-format off */
static const struct {
    const char *name, *ours;
} foreign[] = {
    { "serve.port", "serve.listen" },
    { "serve.tls", "serve.tls_cert" },
    { "bind", "serve.listen" },
    { "interfaces", "serve.listen" },
    { "port", "serve.listen" },
    { "networks", "serve.relay_networks" },
    { "trusted_networks", "serve.relay_networks" },
    { "certificate", "serve.tls_cert" },
    { "tls_certificate", "serve.tls_cert" },
    { "tls_private_key", "serve.tls_key" },
    { "maildir", "local.mail_dir" },
    { "workers", "serve.workers" },
    /* Postfix */
    { "alias_database", "local.aliases" },
    { "alias_maps", "local.aliases" },
    { "bounce_queue_lifetime", "send.queue_lifetime" },
    { "canonical_maps", "rewrite.rules" },
    { "default_process_limit", "serve.workers" },
    { "delay_warning_time", "send.warn_after" },
    { "home_mailbox", "local.mail_dir" },
    { "inet_interfaces", "serve.listen" },
    { "local_recipient_maps", "local.users" },
    { "mail_owner", "user" },
    { "mail_spool_directory", "local.mail_dir" },
    { "mailbox_transport", "send.routes" },
    { "maillog_file", "log.file" },
    { "masquerade_domains", "rewrite.rules" },
    { "maximal_backoff_time", "send.retry_max" },
    { "maximal_queue_lifetime", "send.queue_lifetime" },
    { "message_size_limit", "serve.max_message_size" },
    { "minimal_backoff_time", "send.retry_min" },
    { "mydestination", "local.domains" },
    { "mydomain", "hostname" },
    { "myhostname", "hostname" },
    { "mynetworks", "serve.relay_networks" },
    { "myorigin", "hostname" },
    { "queue_directory", "queue_dir" },
    { "recipient_canonical_maps", "rewrite.rules" },
    { "reject_unknown_client_hostname", "serve.rdns" },
    { "relay_recipient_maps", "serve.relay_domains" },
    { "relayhost", "send.relay_host" },
    { "sender_canonical_maps", "rewrite.rules" },
    { "sender_dependent_relayhost_maps", "send.routes" },
    { "smtp_fallback_relay", "send.relay_host" },
    { "smtp_generic_maps", "rewrite.rules" },
    { "smtp_sasl_auth_enable", "send.logins" },
    { "smtp_sasl_password_maps", "send.logins" },
    { "smtp_tls_cafile", "send.tls_ca" },
    { "smtp_tls_capath", "send.tls_ca" },
    { "smtp_tls_policy_maps", "send.tls_policy" },
    { "smtp_tls_security_level", "send.tls" },
    { "smtp_tls_wrappermode", "send.relay_host" },
    { "smtp_use_tls", "send.tls" },
    { "smtpd_client_connection_count_limit", "serve.max_clients_per_ip" },
    { "smtpd_recipient_limit", "serve.max_recipients" },
    { "smtpd_relay_restrictions", "serve.relay_networks" },
    { "smtpd_timeout", "serve.command_timeout" },
    { "smtpd_tls_cert_file", "serve.tls_cert" },
    { "smtpd_tls_chain_files", "serve.tls_cert" },
    { "smtpd_tls_key_file", "serve.tls_key" },
    { "smtpd_tls_security_level", "serve.extra_commands" },
    { "smtpd_tls_wrappermode", "serve.listen" },
    { "transport_maps", "send.routes" },
    { "virtual_alias_maps", "local.aliases" },
    { "virtual_mailbox_base", "local.mail_dir" },
    { "virtual_mailbox_domains", "local.domains" },
    { "virtual_mailbox_maps", "local.users" },
    { "virtual_transport", "send.routes" },
    { "virtual_uid_maps", "local.user" },
    /* dma, nullmailer, msmtp */
    { "adminaddr", "rewrite.root" },
    { "allmailfrom", "rewrite.from" },
    { "authpath", "send.logins" },
    { "defaultdomain", "hostname" },
    { "defaulthost", "hostname" },
    { "helohost", "hostname" },
    { "idhost", "hostname" },
    { "mailname", "hostname" },
    { "masquerade", "rewrite.from" },
    { "maxpause", "send.retry_max" },
    { "me", "hostname" },
    { "nullclient", "local.domains" },
    { "opportunistic_tls", "send.tls" },
    { "passwordeval", "send.relay_token" },
    { "pausetime", "send.retry_min" },
    { "queuelifetime", "send.queue_lifetime" },
    { "remotes", "send.relay_host" },
    { "securetransfer", "send.tls" },
    { "set_from_header", "rewrite.from" },
    { "smarthost", "send.relay_host" },
    { "spooldir", "queue_dir" },
    { "tls_trust_file", "send.tls_ca" },
};
/* clang-format on */

const char *conf_foreign(const char *given)
{
    const char *dot = strrchr(given, '.');
    struct span key = span_of(given);
    struct span last = dot != NULL ? span_of(dot + 1) : key;

    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++) {
        bool whole = strchr(foreign[i].name, '.') != NULL;
        if (span_is_nocase(whole ? key : last, foreign[i].name))
            return foreign[i].ours;
    }
    return NULL;
}
