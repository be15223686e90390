/** What goes wrong between the host and a guest's agent, as one sentence for a person and as data for a program. */

export type AgentErrorCode =
  /** No agent, or none that answers. */
  | 'no-agent'
  /** The agent or the guest went away meanwhile. */
  | 'lost'
  /** The guest could not do it; `errno` says why. */
  | 'refused'
  /** What the agent said cannot be right. */
  | 'protocol'
  /** What was asked for cannot be asked. */
  | 'bad-argument'
  /** The guest's agent is too old for it. */
  | 'unsupported'
  /** More than a limit allows. */
  | 'limit'
  /** The client was closed. */
  | 'closed';

export class AgentError extends Error {
  override readonly name = 'AgentError';
  readonly code: AgentErrorCode;
  /** The guest's error by its name, such as ENOENT, when the guest gave one. */
  readonly errno: string | undefined;

  constructor(code: AgentErrorCode, message: string, errno?: string) {
    super(message);
    this.code = code;
    this.errno = errno;
  }
}
