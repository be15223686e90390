/** Builds the guest agent anew, to be committed: `npm run agent:build`. */

import { writeFileSync } from 'node:fs';
import { AGENT_COMPILER, AGENT_PROGRAM, buildAgent, compilerVersion } from './testing/cross-agent.ts';

buildAgent(AGENT_PROGRAM);
writeFileSync(AGENT_COMPILER, `${compilerVersion()}\n`);
