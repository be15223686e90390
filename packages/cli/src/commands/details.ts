/** What `ringfence help fork` and `help stop` tell beside the options. */

export const FORK_DETAILS = `
A fork has the memory, programs and disks of its parent as they are at this moment, and from then on its own; the
same code and unchanged memory are there once for all of them. It lives in its parent's process, which ends when all
of them have. What cannot be forked: a machine of several processors, but one that was started with --forkable.

Examples:
  ringfence fork web
  ringfence fork --count 10 web
  ringfence fork --name one two -- web`;

export const STOP_DETAILS = `
The guest is asked to shut down: its programs end, its disks are written out. When that is not done after the
timeout, the machine is ended as it is, as if its plug were pulled; "--timeout 0" does that at once.

Examples:
  ringfence stop web
  ringfence stop --timeout 1m web db`;
