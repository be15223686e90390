/** One sentence about what a guest's agent could not do. */

import { AgentError } from './agent-error.ts';
import { errnoName, errnoWords } from './errno-names.ts';
import { STAGE } from './protocol.ts';

/** What the guest was at, as `the guest ...`; `about` is what it named. */
const PHRASES: Readonly<Record<number, (about: string) => string>> = {
  [STAGE.REQUEST]: () => 'did not take the request',
  [STAGE.RESOURCES]: () => 'could not start anything more',
  [STAGE.USER]: (about) => `has no user "${about}"`,
  [STAGE.GROUP]: (about) => `has no group "${about}"`,
  [STAGE.WORKDIR]: (about) => `could not enter the folder "${about}"`,
  [STAGE.TERMINAL]: () => 'could not make a terminal',
  [STAGE.PROGRAM]: (about) => `could not run "${about}"`,
  [STAGE.TREE]: (about) => `could not go on with the copy at "${about}"`,
  [STAGE.FREEZE]: (about) => `could not freeze the file system at "${about}"`,
  [STAGE.CLOCK]: () => 'could not set its clock',
  [STAGE.SHUTDOWN]: () => 'could not shut down',
  [STAGE.IDENTITY]: () => 'could not become another one',
  [STAGE.CARD]: () => 'could not change the address of its network card',
};

/** `action` completes "could not ..." for failures with a file: `read`, `copy`. */
export function refusal(stage: number, errno: number, about: string, action = 'use'): AgentError {
  const phrase = PHRASES[stage]?.(about) ?? `could not ${action} "${about}"`;
  const name = errnoName(errno);
  const isObvious = (stage === STAGE.USER || stage === STAGE.GROUP) && name === 'ENOENT';
  const reason = isObvious ? '(ENOENT)' : `: ${errnoWords(errno)}`;
  return new AgentError('refused', `The guest ${phrase}${isObvious ? ' ' : ''}${reason}.`, name);
}
