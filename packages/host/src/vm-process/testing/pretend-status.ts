/** What a machine says of itself that is only pretended. */

import type { VMStatus } from '../../control/operations.ts';

/** Of one that is in the process `pid`. */
export function pretendStatus(pid: number): VMStatus {
  return {
    name: '',
    image: 'tiny',
    suite: 'stable',
    pid,
    state: 'running',
    startedAt: '2026-01-01T00:00:00.000Z',
    cpus: 1,
    memoryBytes: 1,
    network: 'none',
    ports: [],
    command: [],
  };
}
