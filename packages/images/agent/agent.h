/*
 * The agent in a guest: one process that waits for everything at once, and a child for each thing that could take long.
 *
 *     port.c -- frames.c -- channel.c, streams.c -- children.c --> programs (process.c), copies (pack.c, unpack.c), freeze.c
 *                    \-- power.c: the clock and the end of the machine
 *
 * docs/guest-agent.md says what it does. Nothing that the host sends may make it crash, wait or grow without bounds.
 */

#pragma once

#include "base.h"
#include "protocol.h"

/* Counts up with every change that a host can see. */
#define AGENT_NAME "ringfence-agent 4"

/* In a worker: closes what is the agent's. A pipe ends when nobody has it any more. */
void close_fds_of_agent(void);
