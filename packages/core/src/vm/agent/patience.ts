/** Waiting for a guest no longer than somebody wants to. */

import { AgentError } from './agent-error.ts';
import type { AgentWorld } from './guest-agent.ts';

/** The promise's value; after `timeoutMs` it calls `giveUp` and rejects. */
export function patiently<T>(
  { timers }: AgentWorld,
  timeoutMs: number | undefined,
  promise: Promise<T>,
  giveUp: (error: AgentError) => void = () => {},
): Promise<T> {
  if (timeoutMs === undefined) return promise;
  return new Promise((resolve, reject) => {
    const cancel = timers.after(timeoutMs, () => {
      const error = new AgentError('no-agent', `The guest's agent did not answer within ${timeoutMs / 1000} s.`);
      giveUp(error);
      reject(error);
    });
    promise.then(
      (value) => {
        cancel();
        resolve(value);
      },
      (error: unknown) => {
        cancel();
        reject(error as Error);
      },
    );
  });
}
