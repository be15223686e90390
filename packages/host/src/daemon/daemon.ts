/**
 * The daemon: keeps machines as folders, starts each in a process of its own, and answers what is asked over its socket. Machines outlive it:
 * the next one finds them again.
 *
 *     api.sock -- HTTP --> routes (api) --> Machines --> Runs --> a process for each machine
 *                                              |
 *                                  Store, EventLog, LongOperations
 */

import { existsSync, mkdirSync, realpathSync, rmSync } from 'node:fs';
import { once } from 'node:events';
import type { Server } from 'node:http';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { createAdaptorServer } from '@hono/node-server';
import { ApiError, openApiDocument } from '@ringfence/api';
import { type Handlers, makeRoutes } from '@ringfence/api/http';
import { cacheFolder } from '@ringfence/images/cache-folder';
import { vmFolder } from '../control/vm-folder.ts';
import { HostError, systemReason } from '../failure.ts';
import { machineFolder } from '../machine-folder/layout.ts';
import { nodeProcesses } from '../vm-process/running.ts';
import { placesIn } from '../vm-process/places.ts';
import { SpareProcesses } from '../vm-process/spare.ts';
import { Boots } from './boots.ts';
import { checkCapacity } from './capacity.ts';
import { Consoles } from './consoles.ts';
import {
  closeToOthers,
  daemonSocket,
  defaultStateFolder,
  guardProblem,
  lockState,
  privateFolder,
} from './daemon-folder.ts';
import { openLog } from './daemon-log.ts';
import { EventLog } from './event-log.ts';
import { failureOf } from './failures.ts';
import { LongOperations } from './long-operations.ts';
import { Arrivals } from '../migration/arrivals.ts';
import { Departures } from '../migration/departures.ts';
import { identityIn } from '../migration/identity.ts';
import { listenForDaemons, parseAddress } from '../migration/tls-link.ts';
import { Trust } from '../migration/trust.ts';
import { Machines } from './machines.ts';
import { Metrics } from './metrics.ts';
import { Store } from './store.ts';

const MAXIMUM_CONNECTIONS = 512;
/** How long what is being done may take when the daemon is asked to end. */
const SETTLE_MS = 10_000;
/** How long whoever is being answered may take to read it. */
const GRACE_MS = 500;

export interface DaemonOptions {
  /** What it keeps; the user's state folder when it is not given. */
  readonly stateFolder?: string | undefined;
  readonly version: string;
  /** Where daemons that are trusted may bring machines, like 0.0.0.0:7411; nowhere when it is not given. */
  readonly listen?: string | undefined;
  /** Of one processor, in percent: what machines may have together; all of this computer when it is not given. */
  readonly processorCapacity?: number | undefined;
  /** What machines may have of this computer's memory together, in bytes; a part of it when it is not given. */
  readonly memoryCapacity?: number | undefined;
}

export interface Daemon {
  readonly socket: string;
  readonly stateFolder: string;
  /** Where it listens for other daemons. */
  readonly listens: string | undefined;
  readonly fingerprint: string;
  /** Ends it; the machines run on. */
  close(): Promise<void>;
}

/** Starts it; rejects with `unavailable` when one runs already. */
export async function startDaemon({
  stateFolder: wanted,
  version,
  listen: listenText,
  processorCapacity,
  memoryCapacity,
}: DaemonOptions): Promise<Daemon> {
  checkCapacity(processorCapacity, memoryCapacity);
  await using opened = new AsyncDisposableStack();
  const stateFolder = privateFolder(wanted ?? defaultStateFolder());
  const sockets = vmFolder();
  const socket = daemonSocket();
  privateFolder(dirname(socket));
  const lock = lockState(stateFolder);
  opened.defer(() => lock.release());
  const logging = openLog(stateFolder);
  const { log } = logging;
  opened.defer(() => logging.close());
  const onFailure = (error: unknown): void => log.error({ err: error }, 'something does not work');

  const store = await Store.open(join(stateFolder, 'state.db'));
  opened.defer(() => store.close());
  const events = await EventLog.open(store, onFailure);
  opened.defer(() => events.close());
  const operations = new LongOperations(store, onFailure);
  await operations.recover();
  mkdirSync(join(stateFolder, 'machines'), { recursive: true, mode: 0o700 });
  // By the name that a folder has that is taken in, so that both are told apart whatever leads here.
  const folder = realpathSync(join(stateFolder, 'machines'));
  const identity = identityIn(stateFolder);
  const trust = new Trust(stateFolder);
  const departures = new Departures({ identity, trust, version });
  // Of processes that wait for machines the next one is not made while a machine moves.
  let isMoving = (): boolean => false;
  const waiting = { onFailure, isBusy: () => isMoving() };
  const spares =
    listenText === undefined ? undefined : new SpareProcesses(folder, join(stateFolder, 'spare.log'), waiting);
  spares?.clear();
  opened.defer(() => spares?.close());
  const places = placesIn(join(realpathSync(stateFolder), 'places'));
  const parked = new SpareProcesses(places, join(stateFolder, 'parked.log'), { ...waiting, hasPlaces: true });
  parked.clear();
  const boots = new Boots({ spares: parked, onFailure });
  opened.defer(() => {
    boots.close();
    parked.close();
  });
  const processes = nodeProcesses(sockets, spares, places);
  const machines = new Machines({
    departures,
    store,
    events,
    operations,
    processes,
    folder,
    processorCapacity,
    memoryCapacity,
    boots,
    onFailure,
    onState: (name, state, before) => {
      log.info({ vm: name, before, state }, 'state');
      metrics.changed(state);
    },
  });
  const metrics = new Metrics({
    counts: () => machines.counts(),
    forks: () => machines.forkCounts(),
    usage: () => machines.usage(),
    memory: (usages) => machines.memory.host(usages),
  });
  operations.onEnd = (operation) => {
    metrics.ended(operation);
    const { kind, vm, state, error } = operation;
    log.info({ kind, vm: vm.name, state, ...(error ? { code: error.code, reason: error.message } : {}) }, 'operation');
  };
  await machines.recover();
  const arrivals = new Arrivals({
    trust,
    version,
    processes,
    machines: folder,
    freeMemoryBytes: () => process.availableMemory(),
    expect: async (config, place) => {
      const entry = await machines.moves.expect(config, place?.path);
      const { id, name, folder: path } = entry;
      return { id, name, folder: path, ...(await machines.moves.room(entry, config)) };
    },
    arrived: ({ id }, run) => machines.moves.arrived(machines.find(id), run),
    failed: ({ id }) => machines.moves.notArrived(machines.find(id)),
    folders: () => machines.folders,
    running: (machine) => machines.running(machine),
    cache: cacheFolder(undefined, process.env),
    onFailure,
  });
  isMoving = () => machines.moves.isMoving || arrivals.isReceiving;
  // What came while a daemon was killed.
  arrivals.recall((await store.machines()).map((each) => machineFolder(each.folder)));
  const listening =
    listenText === undefined
      ? undefined
      : await listenForDaemons(
          identity,
          trust,
          parseAddress(listenText),
          (link, fingerprint) => void arrivals.serve(link, fingerprint),
          (link, error) => arrivals.refuse(link, error),
        );
  void departures.begin(() => machines.folders);
  spares?.begin();
  opened.defer(async () => {
    departures.close();
    await listening?.close();
    await arrivals.close();
  });
  machines.processors.begin();
  opened.defer(() => machines.processors.close());
  machines.memory.begin();
  opened.defer(() => machines.memory.close());

  const startedAt = new Date().toISOString();
  const handlers: Handlers = {
    'vm.create': (input) => machines.create(input),
    'vm.register': ({ folder: path, ...how }) => machines.register(path, how),
    'vm.list': () => machines.list(),
    'vm.inspect': ({ vm }) => machines.inspect(vm),
    'vm.start': ({ vm, snapshot }) => machines.start(vm, snapshot),
    'vm.stop': ({ vm, timeoutMs }) => machines.stop(vm, timeoutMs),
    'vm.pause': ({ vm }) => machines.pause(vm),
    'vm.resume': ({ vm }) => machines.resume(vm),
    'vm.reset': ({ vm }) => machines.reset(vm),
    'vm.migrate': ({ vm, target, ...options }) => machines.moves.migrate(vm, parseAddress(target), options),
    'host.trust': ({ fingerprint, remove = false, labels }) => {
      if (fingerprint === undefined && labels !== undefined)
        throw new HostError('bad-argument', 'of which daemon machines may keep labels is said by its fingerprint');
      if (fingerprint !== undefined && remove) trust.remove(fingerprint, labels);
      else if (fingerprint !== undefined) trust.add(fingerprint, labels);
      const kept = Object.entries(trust.labels).map(([each, its]): [string, string[]] => [each, [...its]]);
      return { own: identity.fingerprint, trusted: [...trust.all], labels: Object.fromEntries(kept) };
    },
    'vm.remove': ({ vm, keepFiles }) => machines.remove(vm, keepFiles),
    'vm.rename': ({ vm, name }) => machines.rename(vm, name),
    'vm.fork': ({ vm, names, count }) => machines.fork(vm, names, count),
    'snapshot.create': ({ vm, name, parent }) => machines.snapshot(vm, name, parent),
    'snapshot.list': ({ vm }) => machines.listSnapshots(vm),
    'snapshot.remove': ({ vm, snapshot }) => machines.removeSnapshot(vm, snapshot),
    'snapshot.restore': ({ vm, snapshot, as }) => machines.restore(vm, snapshot, as),
    'vm.cpu': ({ vm, ...change }) => machines.changeProcessors(vm, change),
    'vm.usage': () => machines.usage(),
    'event.list': ({ after, follow = true, lastEventId }, signal) =>
      events.list(after ?? numberIn(lastEventId), follow, signal),
    'operation.inspect': ({ operation, revision, waitMs }) => operations.wait(operation, revision, waitMs),
    'host.inspect': async () => ({
      version,
      pid: process.pid,
      startedAt,
      stateFolder,
      fingerprint: identity.fingerprint,
      ...(listening ? { listens: listening.address } : {}),
      machines: machines.counts(),
      cpu: { capacity: machines.processors.capacity, reserved: machines.processors.reserved() },
      memory: machines.memory.host(await machines.usage()),
    }),
    'host.metrics': () => metrics.text(),
    'host.openapi': () => openApiDocument(version),
  };
  // Node tells nobody who is at the other end of a socket: that only its owner can open it is looked at again with every request.
  const guard = (): ApiError | undefined => {
    const problem = guardProblem(dirname(socket)) ?? guardProblem(socket);
    if (problem === undefined) return undefined;
    log.error({ socket, problem }, 'the socket is not its owner’s alone');
    return new HostError(
      'forbidden',
      `the daemon answers nobody while its socket is not its owner's alone: ${problem}`,
    );
  };
  const app = makeRoutes({
    handlers,
    guard,
    failureOf: (error) => {
      const failure = failureOf(error);
      if (failure.code === 'bug') onFailure(error);
      return failure;
    },
    answered: (operation, status, milliseconds) => metrics.answered(operation, status, milliseconds),
  });
  const server = createAdaptorServer({ fetch: app.fetch }) as Server;
  server.maxConnections = MAXIMUM_CONNECTIONS;
  const consoles = new Consoles(machines, sockets, guard);
  server.on('upgrade', (request, stream, head) => void consoles.upgrade(request, stream, head));
  await listen(server, socket);
  opened.defer(async () => {
    consoles.close();
    // Whoever follows events or waits is let go; answers under way are given.
    await events.close();
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeIdleConnections();
    await operations.settled(SETTLE_MS);
    await Promise.race([closed, sleep(GRACE_MS)]);
    server.closeAllConnections();
    await closed;
  });
  log.info({ socket, stateFolder, version, machines: machines.counts() }, 'the daemon is there');
  const closing = opened.move();
  return {
    socket,
    stateFolder,
    listens: listening?.address,
    fingerprint: identity.fingerprint,
    async close() {
      log.info('the daemon ends');
      await closing.disposeAsync();
    },
  };
}

async function listen(server: Server, socket: string): Promise<void> {
  if (existsSync(socket)) {
    if (await answers(socket)) throw new HostError('unavailable', `a daemon listens on ${socket} already`);
    rmSync(socket, { force: true });
  }
  server.listen(socket);
  await once(server, 'listening').catch((error: unknown) => {
    throw new HostError('unavailable', `the socket ${socket} cannot be made: ${systemReason(error)}`, error);
  });
  closeToOthers(socket);
  server.on('error', () => undefined);
}

function answers(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(socket);
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', () => resolve(false));
  });
}

function numberIn(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}
