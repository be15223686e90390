/** Waiting for a guest no longer than somebody wants to. */

import { AgentError } from './agent-error.ts';
import type { AgentWorld } from './guest-agent.ts';

/** The promise's value; after `timeoutMs` it calls `giveUp` and rejects. */
export async function patiently<T>(
  { timers }: AgentWorld,
  timeoutMs: number | undefined,
  promise: Promise<T>,
  giveUp: (error: AgentError) => void = () => {},
): Promise<T> {
  if (timeoutMs === undefined) return promise;
  let cancel = (): void => {};
  const expired = new Promise<never>((_resolve, reject) => {
    cancel = timers.after(timeoutMs, () => {
      const error = new AgentError('no-agent', `The guest's agent did not answer within ${timeoutMs / 1000} s.`);
      giveUp(error);
      reject(error);
    });
  });
  try {
    return await Promise.race([promise, expired]);
  } finally {
    cancel();
  }
}
