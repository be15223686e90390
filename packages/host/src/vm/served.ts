/** What other processes may ask of a virtual machine of this one, over its socket. */

import type { ServedVM } from '../control/server.ts';
import { SnapshotStore } from '../snapshot/snapshot-store.ts';
import type { VM } from './vm.ts';

/** Answers for a machine that may still be made. */
export function servedBy(made: () => Promise<VM>): ServedVM {
  return {
    guest: {
      exec: async (command) => (await made()).spawn(command.argv, command),
      stat: async (path, options) => (await made()).asked(({ agent }) => agent.stat(path, options)),
      copyIn: async (path, steps, options) => (await made()).asked(({ agent }) => agent.copyIn(path, steps, options)),
      copyOut: async function* (path, options) {
        const vm = await made();
        yield* await vm.asked(({ agent }) => Promise.resolve(agent.copyOut(path, options)));
      },
    },
    status: async () => (await made()).status(),
    openConsole: async () => (await made()).console(),
    stop: async (options) => (await made()).stop(options),
    pause: async (options) => (await made()).pause(options),
    resume: async (options) => (await made()).resume(options),
    async snapshot({ store, name, ...options }) {
      const { taken, path } = await (await made()).writeSnapshot(new SnapshotStore(store), name, options);
      const { quiet, held } = taken.pausedNs;
      return { path, pausedMs: (quiet + held) / 1e6 };
    },
    fork: async (options) => (await (await made()).fork(options)).map(({ name }) => name),
    usage: async () => (await made()).usage(),
    disks: async () => (await made()).disks,
    processors: async ({ grant, settings }) => {
      const { processors } = await made();
      if (settings === undefined) processors.grant(grant);
      else processors.set(settings);
      return processors.figures;
    },
    memory: async (input) => (await made()).poolUsage(input),
    ready: async () => (await made()).ready(),
    migrate: async (options, link) => (await made()).emigrate(options, link),
    settle: async (owner) => (await made()).departure.settle(owner),
    rejoin: async (how, link) => (await made()).departure.rejoin(how, link),
    finished: async () => (await made()).finished(),
  };
}
