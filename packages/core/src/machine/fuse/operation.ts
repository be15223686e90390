/** What an operation of FUSE is to the session that runs it; session.ts has the table of all. */

import type { Call, Connection, NodeCall } from './connection.ts';

/** What goes back behind the header: bytes; as many bytes as `data` says, which are there already; or no answer at all. */
export type Answer = Uint8Array | { readonly data: number } | 'none';

export interface Operation {
  /** Whether it changes files: refused of a read-only share before it is looked at any further. */
  readonly changes?: boolean;
  /** Bytes that an answer has at least; a request with less room for it is refused before anything is done. */
  readonly answerBytes?: number;
  run(connection: Connection, call: Call): Promise<Answer> | Answer;
}

/** An operation on the node that the header names, which stays known as long as it runs. */
export interface NodeOperation extends Omit<Operation, 'run'> {
  run(connection: Connection, call: NodeCall): Promise<Answer>;
}

export const EMPTY: Uint8Array = new Uint8Array(0);

export function onNode(operation: NodeOperation): Operation {
  return {
    ...operation,
    async run(connection, call) {
      const { nodes } = connection;
      const node = nodes.get(call.nodeId);
      nodes.retain(node);
      try {
        return await operation.run(connection, { ...call, node });
      } finally {
        nodes.release(node);
      }
    },
  };
}
