/** `ringfence host`: the daemon, until it is asked to end. */

import process from 'node:process';
import { startDaemon } from '@ringfence/host/daemon';
import { EXIT } from '../../exit-codes.ts';
import { listenForSignals } from '../../node/interruption.ts';
import { say } from '../say.ts';
import { sizeOf } from '../memory-options.ts';
import { percentOf } from '../processor-options.ts';
import { ringfenceVersion } from '../version.ts';
import { reported } from './report.ts';

export interface HostOptions {
  readonly state?: string;
  readonly listen?: string;
  readonly cpu?: string;
  readonly memory?: string;
}

export function host({ state, listen, cpu, memory }: HostOptions): Promise<number> {
  return reported({}, async () => {
    const processorCapacity = cpu === undefined ? undefined : percentOf('--cpu', cpu);
    const memoryCapacity = memory === undefined ? undefined : sizeOf('--memory', memory);
    const interruption = listenForSignals();
    const daemon = await startDaemon({
      stateFolder: state,
      version: ringfenceVersion(),
      listen,
      processorCapacity,
      memoryCapacity,
    });
    say(`the daemon ${process.pid} listens on ${daemon.socket}; Ctrl-C ends it, and machines run on`);
    if (daemon.listens !== undefined)
      say(`machines may come to ${daemon.listens} from daemons that it trusts; it is ${daemon.fingerprint} itself`);
    await new Promise((resolve) => {
      interruption.signal.addEventListener('abort', resolve, { once: true });
      if (interruption.signal.aborted) resolve(undefined);
    });
    await daemon.close();
    return EXIT.OK;
  });
}
