/** Requests as the agent reads them, made of what a caller asked for; what no agent could do is refused here. */

import { AgentError } from './agent-error.ts';
import type { AgentCommand } from './guest-agent.ts';
import { EXEC_FLAG, MAXIMUM_PATH_BYTES, MAXIMUM_REQUEST_BYTES } from './protocol.ts';
import { WireWriter } from './wire.ts';

const VARIABLE = /^[^=\0]+$/;
const MAXIMUM_TERMINAL_SIDE = 0xffff;
const MAXIMUM_SIGNAL = 64;
const DEFAULT_TERM = 'xterm-256color';

/** The bytes of a text for the guest, without a NUL in it. `what` begins a sentence. */
export function octets(text: string | Uint8Array, what: string): Uint8Array {
  const bytes = typeof text === 'string' ? new TextEncoder().encode(text) : text;
  if (bytes.includes(0)) throw new AgentError('bad-argument', `${what} holds a NUL character.`);
  return bytes;
}

/** An absolute path of the guest. */
export function absolutePath(path: string | Uint8Array): Uint8Array {
  const bytes = octets(path, 'A path in the guest');
  const shown = typeof path === 'string' ? path : new TextDecoder().decode(path);
  if (bytes[0] !== 0x2f)
    throw new AgentError('bad-argument', `"${shown}" is no absolute path in the guest: it begins without a "/".`);
  if (bytes.length > MAXIMUM_PATH_BYTES)
    throw new AgentError(
      'bad-argument',
      `A path in the guest has ${bytes.length} bytes, and no more than 4095 are possible.`,
    );
  return bytes;
}

export function execRequest(command: AgentCommand): Uint8Array {
  const { argv, env = {}, user = '', workdir, terminal, stdin = 'open' } = command;
  const [program] = argv;
  if (program === undefined || program.length === 0)
    throw new AgentError('bad-argument', 'There is no command to run in the guest.');
  const variables = Object.entries(env);
  for (const [name] of variables)
    if (!VARIABLE.test(name)) throw new AgentError('bad-argument', `"${name}" is no name of an environment variable.`);
  if (terminal !== undefined) {
    checkTerminalSize(terminal.columns, terminal.rows);
    variables.unshift(['TERM', terminal.term ?? DEFAULT_TERM]);
  }
  const request = new WireWriter()
    .u16((terminal === undefined ? 0 : EXEC_FLAG.TERMINAL) | (stdin === 'empty' ? EXEC_FLAG.NO_INPUT : 0))
    .u16(terminal?.columns ?? 0)
    .u16(terminal?.rows ?? 0)
    .u16(0)
    .u32(argv.length)
    .u32(variables.length)
    .text(octets(user, 'The name of the user'))
    .text(workdir === undefined ? new Uint8Array(0) : absolutePath(workdir));
  for (const argument of argv) request.text(octets(argument, 'An argument of the command'));
  for (const [name, value] of variables) request.text(octets(`${name}=${value}`, `The environment variable ${name}`));
  if (request.length > MAXIMUM_REQUEST_BYTES)
    throw new AgentError(
      'limit',
      `The command and its environment have ${request.length} bytes, and no more than ${MAXIMUM_REQUEST_BYTES} are possible.`,
    );
  return request.take();
}

/** A request about a path, read or written as `user`. */
export function pathRequest(flags: number, user: string, path: string | Uint8Array): Uint8Array {
  return new WireWriter().u32(flags).text(octets(user, 'The name of the user')).text(absolutePath(path)).take();
}

export function checkTerminalSize(columns: number, rows: number): void {
  const isSide = (value: number): boolean => Number.isInteger(value) && value > 0 && value <= MAXIMUM_TERMINAL_SIDE;
  if (!isSide(columns) || !isSide(rows))
    throw new AgentError('bad-argument', `A terminal cannot have ${columns} columns and ${rows} rows.`);
}

export function checkSignal(signal: number): void {
  if (!Number.isInteger(signal) || signal < 1 || signal > MAXIMUM_SIGNAL)
    throw new AgentError('bad-argument', `There is no signal ${signal}.`);
}
