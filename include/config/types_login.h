/* config/types_login.h - logins at next hops; see config/conf.h. */
#ifndef MTA_CONFIG_TYPES_LOGIN_H
#define MTA_CONFIG_TYPES_LOGIN_H

#include "config/types.h"

/* "[host]:587 USER file:PATH": the login at that next hop; the file has the
 * password. */
struct conf_login {
    struct host_port to;
    char user[CONF_NAME_MAX];
    char path[CONF_PATH_MAX];
};
struct conf_logins {
    size_t n;
    struct conf_login *item;
};

enum conf_token_source {
    CONF_TOKEN_NONE,
    CONF_TOKEN_FILE,
    CONF_TOKEN_COMMAND /* prints it */
};
struct conf_token {
    enum conf_token_source source;
    char path[CONF_PATH_MAX];
};

/* Bits, in the order of enum sasl_mechanism. */
enum conf_auth { CONF_AUTH_PASSWORD = 1 + 2 + 4, CONF_AUTH_TOKEN = 8 + 16 };
#endif
