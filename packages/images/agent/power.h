/* What concerns the whole machine. */

#pragma once

#include "agent.h"

s64 wall_ns(void);
/* Sets the clock unless it is right within the tolerance. 0 or -errno. */
long set_clock(s64 to_ns, u64 tolerance_ns, s64 *behind_ns, bool *was_set);
/* systemd is the first process. */
bool has_systemd(void);
/* The machine is another one than its memory says: a name unless it is empty, and fresh chance for the kernel's generator. 0 or -errno. */
long set_identity(const u8 *name, size_t name_size, const u8 *seed, size_t seed_size);
/* The network card with one hardware address gets another one, while it is up. 0 or -errno. */
long change_card(const u8 *from, const u8 *to);
/* Begins to switch the machine off, or to restart it. 0 or -errno. */
long shut_down(u32 how);
