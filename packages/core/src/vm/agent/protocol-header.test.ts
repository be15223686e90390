import { expect, test } from 'vitest';
import { protocolHeader } from './testing/protocol-header.ts';

test("the agent's header has the numbers of the protocol; `npm run agent:header` makes it so", async () => {
  await expect(protocolHeader()).toMatchFileSnapshot('../../../../images/agent/protocol.h');
});
