/* The agent's port. */

#pragma once

#include "agent.h"

/* Its descriptor, or -errno. */
int open_port(void);
/* A socket on which the kernel tells of new devices; -1 when there is none. */
int open_device_news(void);
