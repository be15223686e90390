/** `ringfence exec`: a command in a virtual machine that runs, with this process's streams as its own. Exit codes are those of `docker exec`. */

import process from 'node:process';
import { HostError, type RemoteVM } from '@ringfence/host/control';
import { systemReason } from '@ringfence/host/failure';
import type { AgentProcess } from '@ringfence/core';
import { EXIT, exitCodeOfSignal, SIGPIPE } from '../exit-codes.ts';
import { CliError } from '../failure.ts';
import { drainAll, Output } from '../node/output.ts';
import { SIGNALS } from '../node/signals.ts';
import { takeTerminal, type Terminal } from '../node/terminal.ts';
import { exitCodeOf, giveInput, programFailure, takeOutput, TypedInput } from '../process-streams.ts';
import { variables } from '../variables.ts';
import { reported } from './daemon/report.ts';
import { findMachine } from './find-machine.ts';
import { say } from './say.ts';

export interface ExecOptions {
  readonly interactive?: boolean | undefined;
  readonly tty?: boolean | undefined;
  readonly env: readonly string[];
  readonly user?: string | undefined;
  readonly workdir?: string | undefined;
}

/** What a terminal is like when this process has none. */
const DEFAULT_SIZE = { columns: 80, rows: 24 };

/** Runs the command; gives its exit code. */
export async function exec(name: string, argv: readonly string[], options: ExecOptions): Promise<number> {
  const { stdin } = process;
  if (argv.length === 0)
    throw new CliError(`what is to run in "${name}"? write it like: ringfence exec ${name} uname -a`, EXIT.NO_MACHINE);
  if (options.tty === true && options.interactive === true && !stdin.isTTY)
    throw new CliError('-t needs a terminal, and stdin is none; leave it out to pipe something in', EXIT.NO_MACHINE);
  if (options.workdir !== undefined && !options.workdir.startsWith('/'))
    throw new CliError(`--workdir "${options.workdir}" is no absolute path of the guest`, EXIT.NO_MACHINE);
  const env = variables(options.env, process.env);
  return reported({}, () => executed(name, argv, env, options), EXIT.NO_MACHINE);
}

async function executed(
  name: string,
  argv: readonly string[],
  env: Record<string, string>,
  options: ExecOptions,
): Promise<number> {
  const { stdout, stderr } = process;
  const vm = await findMachine(name, 'exec');
  // A terminal that nobody gave a size says 0.
  const hasSize = stdout.isTTY && stdout.columns > 0 && stdout.rows > 0;
  const size = hasSize ? { columns: stdout.columns, rows: stdout.rows } : DEFAULT_SIZE;
  const { TERM: term } = process.env;
  try {
    const program = await vm.exec({
      argv,
      env,
      ...(options.user === undefined ? {} : { user: options.user }),
      ...(options.workdir === undefined ? {} : { workdir: options.workdir }),
      ...(options.tty === true ? { terminal: { ...size, ...(term === undefined ? {} : { term }) } } : {}),
      stdin: options.interactive === true ? 'open' : 'empty',
    });
    return await connected(vm, program, options, new Output(stdout), new Output(stderr));
  } catch (error) {
    const failure = programFailure(error, argv[0] ?? '');
    if (failure === undefined) throw error;
    stderr.write(failure.text);
    return failure.code;
  }
}

async function connected(
  vm: RemoteVM,
  program: AgentProcess,
  { interactive, tty }: ExecOptions,
  stdout: Output,
  stderr: Output,
): Promise<number> {
  const { stdin } = process;
  const { promise: left, resolve: leave } = Promise.withResolvers<number>();
  const controller = new AbortController();
  let terminal: Terminal | undefined;
  stdout.onBroken = () => leave(exitCodeOfSignal(SIGPIPE));
  if (interactive === true && tty === true) {
    const keys = new TypedInput();
    keys.connect(program.stdin);
    terminal = takeTerminal(stdin, process.stdout, {
      keys: (bytes) => keys.push(bytes),
      quit: () => {
        process.stderr.write('\r\n');
        say(`the command was left; "${vm.name}" goes on`);
        leave(EXIT.OK);
      },
      resized: (columns, rows) => program.resize(columns, rows),
    });
  } else if (interactive === true)
    giveInput(stdin, program.stdin).catch((error: unknown) => say(`stdin cannot be read: ${systemReason(error)}`));
  const stopListening = passSignals(program, (code) => {
    controller.abort();
    leave(code);
  });
  try {
    const done = Promise.all([program.exited, takeOutput(program.stdout, stdout), takeOutput(program.stderr, stderr)]);
    done.catch(() => undefined);
    const code = await Promise.race([done.then(([exit]) => exitCodeOf(exit)), left]);
    await drainAll([stdout, stderr], false, controller.signal);
    return code;
  } catch (error) {
    if (error instanceof HostError && error.code === 'ended')
      throw new HostError('ended', `the virtual machine "${vm.name}" ended before the command had`, error);
    throw error;
  } finally {
    stopListening();
    terminal?.restore();
    program.close();
  }
}

/** A signal is the program's; the same one again is for this process, which leaves the program then. */
function passSignals(program: AgentProcess, leave: (code: number) => void): () => void {
  const came = new Set<number>();
  const listeners = SIGNALS.map(([name, number]) => {
    const onSignal = (): void => {
      if (came.has(number)) leave(exitCodeOfSignal(number));
      came.add(number);
      program.signal(number);
    };
    process.on(name, onSignal);
    return () => process.off(name, onSignal);
  });
  return () => {
    for (const stop of listeners) stop();
  };
}
