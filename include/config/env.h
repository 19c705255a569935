/* config/env.h - variables of the environment that conf_load() reads. */
#ifndef MTA_CONFIG_ENV_H
#define MTA_CONFIG_ENV_H

/* Remove them: they are not of the user that this process acts for. */
void conf_env_forget(void);
#endif
