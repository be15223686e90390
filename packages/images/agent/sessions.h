/* Processes of the machine, as /proc shows them, and how a session of them ends. */

#pragma once

#include "agent.h"

/* False when the process is gone. */
bool process_facts(long pid, s64 *parent, s64 *session, s64 *flags);
/* Calls `take` for each process. */
void each_process(void (*take)(long pid, void *what), void *what);
/* Kills all that is left of a session whose leader has not been waited for yet. */
void kill_session(int leader);
