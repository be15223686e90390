/** What can be asked that does not work, once for each code that an operation has; and the codes that nobody can provoke here, with why. */

import { createServer } from 'node:net';
import { once } from 'node:events';
import { rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import type { ErrorCode, OperationName } from '@ringfence/api';
import type { Stage, Undo } from './stage.ts';

export interface Case {
  readonly operation: OperationName;
  readonly code: ErrorCode;
  readonly because: string;
  readonly input: object | ((stage: Stage) => object);
  /** Of the command line, without `ringfence`; undefined where it cannot say that. */
  readonly words: readonly string[] | ((stage: Stage) => readonly string[]) | undefined;
  /** What is changed before it is asked. */
  readonly before?: (stage: Stage) => Promise<Undo> | Undo;
  /** What happens while it is being done. */
  readonly meanwhile?: (stage: Stage) => Promise<unknown>;
  /** What is to be said, beside the code. */
  readonly says?: RegExp;
  /** Whether figures in it change from one moment to the next. */
  readonly hasFigures?: true;
  /** Whether the command line reaches machines of `run`, too, and has other hints for a name that nobody has. */
  readonly hasOtherHints?: true;
}

/** Of `operation` where a name is unknown, or is that of a fork. */
function ofNames(
  operation: OperationName,
  verb: string,
  more: {
    readonly input?: object;
    readonly words?: readonly string[];
    readonly isForForks?: true;
    readonly hasOtherHints?: true;
  } = {},
): Case[] {
  const { input = {}, words = [], isForForks, hasOtherHints } = more;
  const hints = hasOtherHints === undefined ? {} : { hasOtherHints };
  const named = (vm: string) => ({ input: { vm, ...input }, words: [verb, vm, ...words] });
  const unknown: Case = {
    operation,
    code: 'not-found',
    because: 'there is no machine of that name',
    says: /^there is no virtual machine "nobody"/,
    ...named('nobody'),
    ...hints,
  };
  if (isForForks === true) return [unknown];
  const says = /^"twin" is a fork of the virtual machine "web"; what can be done with a fork is pause, /;
  return [unknown, { operation, code: 'unsupported', because: 'it is a fork', says, ...named('twin') }];
}

/** What is wrong with the machine `bad`, with what that is to be said. */
const BAD_MACHINES: readonly (Pick<Case, 'code' | 'because' | 'says' | 'hasFigures'> & {
  readonly yaml: readonly [from: RegExp, to: string];
})[] = [
  {
    code: 'not-a-machine',
    because: 'its vm.yaml has a field that nobody knows',
    yaml: [/^cpus: 1$/m, 'cpus: 1\ncolour: red'],
    says: /vm\.yaml, line \d+: .*colour/,
  },
  {
    code: 'not-a-machine',
    because: 'its vm.yaml has a field that cannot be',
    yaml: [/^cpus: 1$/m, 'cpus: 99'],
    says: /vm\.yaml, line \d+: .*cpus/,
  },
  {
    code: 'no-memory',
    because: 'others have so much of the memory that there is not enough left',
    yaml: [/^memory: .*$/m, 'memory: 1400M'],
    says: /memory/,
    hasFigures: true,
  },
  {
    code: 'no-processors',
    because: 'it reserves more processors than there are',
    yaml: [/^cpus: 1$/m, 'cpus: 1\ncpu: { reservation: 50 }'],
    hasFigures: true,
  },
  {
    code: 'bad-argument',
    because: 'its limit is under what its guest needs to boot',
    yaml: [/^cpus: 1$/m, 'cpus: 1\ncpu: { limit: 1 }'],
  },
  {
    code: 'forbidden',
    because: 'its vm.yaml says a label that its folder is not of',
    yaml: [/^cpus: 1$/m, 'cpus: 1\nlabel: shop'],
  },
  {
    code: 'unavailable',
    because: 'its disk is not there',
    yaml: [/^disks: .*$/m, 'disks:\n  - file: disks/none.qcow2'],
  },
  {
    code: 'ended',
    because: 'its kernel panics',
    yaml: [/^cpus: 1$/m, 'cpus: 1\nkernelArguments: [rdinit=/none, init=/none, panic=-1]'],
  },
];

const badMachine = (operation: 'vm.start' | 'snapshot.restore', codes: readonly ErrorCode[]): Case[] =>
  BAD_MACHINES.filter(({ code }) => codes.includes(code)).map(({ yaml, ...each }) => ({
    ...each,
    operation,
    input: operation === 'vm.start' ? { vm: 'bad' } : { vm: 'bad', snapshot: 'whole' },
    words: operation === 'vm.start' ? ['start', 'bad'] : ['restore', 'bad', 'whole'],
    before: (stage) => stage.yaml('bad', ...yaml),
  }));

const inPause = (
  operation: OperationName,
  vm: 'smp' | 'web',
  input: object,
  words: readonly [verb: string, ...more: string[]],
): Case => ({
  operation,
  code: 'wrong-state',
  because: 'something else is being done with the machine',
  input: { vm, ...input },
  words: [words[0], vm, ...words.slice(1)],
  before: (stage) => stage.hold(vm),
  says: new RegExp(`^the virtual machine "${vm}" is pausing, and ".*" is for one that is `),
});

const noSnapshot = (operation: 'snapshot.remove' | 'snapshot.restore', verb: string): Case => ({
  operation,
  code: 'not-found',
  because: 'there is no such snapshot',
  input: { vm: 'web', snapshot: 'nothing' },
  words: [verb, 'web', 'nothing'],
  says: /^the virtual machine "web" has no snapshot "nothing"$/,
});

const stopped = (operation: OperationName, verb: string, more: Partial<Case> = {}): Case => ({
  operation,
  code: 'wrong-state',
  because: 'the machine does not run',
  input: { vm: 'db' },
  words: [verb, 'db'],
  says: /^the virtual machine "db" is stopped, and ".*" is for one that is /,
  ...more,
});

const ofVersion = (stage: Stage): Undo =>
  stage.edit(stage.folderOf('web', 'snapshots/whole/manifest.json'), '"version":4', '"version":99');
const torn = (stage: Stage): Undo =>
  stage.edit(stage.folderOf('web', 'snapshots/whole/manifest.json'), '"harts":1', '"harts":2');

export const CASES: readonly Case[] = [
  {
    operation: 'vm.create',
    code: 'bad-argument',
    because: 'there cannot be so many processors',
    input: { name: 'new', cpus: 99 },
    words: ['create', '--name', 'new', '--cpus', '99'],
  },
  {
    operation: 'vm.create',
    code: 'name-taken',
    because: 'another machine has the name',
    input: { name: 'web' },
    words: ['create', '--name', 'web'],
    says: /^there is a virtual machine "web" already; choose another name$/,
  },
  {
    operation: 'vm.create',
    code: 'name-taken',
    because: 'a fork has the name',
    input: { name: 'twin' },
    words: ['create', '--name', 'twin'],
  },
  {
    operation: 'vm.create',
    code: 'not-found',
    because: 'there is no such image',
    input: { name: 'new', image: 'nothing' },
    words: ['create', '--name', 'new', 'nothing'],
  },
  {
    operation: 'vm.create',
    code: 'no-memory',
    because: 'it is to have more memory than machines may have together',
    input: { name: 'new', memory: '2G' },
    words: ['create', '--name', 'new', '--memory', '2G'],
    hasFigures: true,
  },
  {
    operation: 'vm.create',
    code: 'no-processors',
    because: 'it reserves more than this computer has',
    input: { name: 'new', cpus: 2, cpu: { reservation: 150 } },
    words: ['create', '--name', 'new', '--cpus', '2', '--cpu-reservation', '150'],
    hasFigures: true,
  },
  {
    operation: 'vm.create',
    code: 'image',
    because: 'nobody has packages of that suite',
    input: { name: 'new', suite: 'nothing', mirror: 'http://127.0.0.1:1' },
    words: ['create', '--name', 'new', '--suite', 'nothing', '--mirror', 'http://127.0.0.1:1'],
  },
  {
    operation: 'vm.create',
    code: 'unavailable',
    because: 'the image behind its disk is not there',
    input: { name: 'new', disks: [{ backing: '/nothing/there.qcow2' }] },
    words: ['create', '--name', 'new', '--disk', '/nothing/there.qcow2'],
  },
  {
    operation: 'vm.create',
    code: 'too-many',
    because: 'there are as many machines of its label as can be',
    input: { name: 'new', label: 'full', memory: '128M', network: 'none' },
    words: ['create', '--name', 'new', '--label', 'full', '--memory', '128M', '--net', 'none'],
  },
  {
    operation: 'vm.register',
    code: 'bad-argument',
    because: 'the folder is a machine’s already',
    input: (stage) => ({ folder: stage.folderOf('db') }),
    words: (stage) => ['register', stage.folderOf('db')],
  },
  {
    operation: 'vm.register',
    code: 'forbidden',
    because: 'a link in the folder leads outside of it',
    input: (stage) => ({ folder: stage.copy, name: 'new' }),
    words: (stage) => ['register', stage.copy, '--name', 'new'],
    before(stage) {
      const link = join(stage.copy, 'disks/outside.qcow2');
      symlinkSync('/etc/hostname', link);
      return () => rmSync(link);
    },
  },
  {
    operation: 'vm.register',
    code: 'name-taken',
    because: 'another machine has the name',
    input: (stage) => ({ folder: stage.copy }),
    words: (stage) => ['register', stage.copy],
  },
  {
    operation: 'vm.register',
    code: 'not-found',
    because: 'there is no such folder',
    input: { folder: '/nothing/there' },
    words: ['register', '/nothing/there'],
  },
  {
    operation: 'vm.register',
    code: 'not-a-machine',
    because: 'the folder is none',
    input: (stage) => ({ folder: stage.empty }),
    words: (stage) => ['register', stage.empty],
    says: /is no virtual machine: it has no vm\.yaml$/,
  },
  ...BAD_MACHINES.slice(0, 2).map(({ yaml, ...each }): Case => ({
    ...each,
    operation: 'vm.register',
    input: (stage) => ({ folder: stage.copy, name: 'new' }),
    words: (stage) => ['register', stage.copy, '--name', 'new'],
    before: (stage) => stage.yaml('copy', ...yaml),
  })),
  {
    operation: 'vm.register',
    code: 'unavailable',
    because: 'its disk is not there',
    input: (stage) => ({ folder: stage.copy, name: 'new' }),
    words: (stage) => ['register', stage.copy, '--name', 'new'],
    before: (stage) => stage.yaml('copy', /^disks: .*$/m, 'disks:\n  - file: disks/none.qcow2'),
  },
  ...ofNames('vm.inspect', 'inspect', { isForForks: true }),
  ...ofNames('vm.start', 'start'),
  {
    operation: 'vm.start',
    code: 'wrong-state',
    because: 'the machine runs',
    input: { vm: 'web' },
    words: ['start', 'web'],
    says: /^the virtual machine "web" is running already$/,
  },
  {
    operation: 'vm.start',
    code: 'name-taken',
    because: 'a machine of `run` is reached by the name',
    input: { vm: 'db' },
    words: ['start', 'db'],
    before: (stage) => stage.takeName('db'),
  },
  ...badMachine('vm.start', [
    'not-a-machine',
    'no-memory',
    'no-processors',
    'bad-argument',
    'forbidden',
    'unavailable',
    'ended',
  ]),
  {
    operation: 'vm.start',
    code: 'unavailable',
    because: 'its port is somebody’s',
    input: { vm: 'bad' },
    words: ['start', 'bad'],
    async before(stage) {
      const server = createServer().listen(0, '127.0.0.1');
      await once(server, 'listening');
      const { port } = server.address() as { readonly port: number };
      const network = `networks:\n  - mode: user\n    mac: 52:54:00:12:34:56\n    publish: ["127.0.0.1:${port}:80"]`;
      const undo = stage.yaml('bad', /^networks: .*$/m, network);
      return () => {
        server.close();
        undo();
      };
    },
  },
  {
    operation: 'vm.start',
    code: 'aborted',
    because: 'somebody stops it meanwhile',
    input: { vm: 'db' },
    words: ['start', 'db'],
    meanwhile: (stage) => stopWhen(stage, 'db', 'starting'),
  },
  ...ofNames('vm.stop', 'stop', { isForForks: true, hasOtherHints: true }),
  stopped('vm.stop', 'stop', { says: /^the virtual machine "db" is stopped already$/ }),
  ...ofNames('vm.pause', 'pause', { isForForks: true }),
  stopped('vm.pause', 'pause'),
  ...ofNames('vm.resume', 'resume', { isForForks: true }),
  {
    operation: 'vm.resume',
    code: 'wrong-state',
    because: 'the fork is not paused',
    input: { vm: 'twin' },
    words: ['resume', 'twin'],
    says: /^the virtual machine "twin" is running already$/,
  },
  ...ofNames('vm.reset', 'reset'),
  stopped('vm.reset', 'reset'),
  ...ofNames('vm.migrate', 'migrate', { input: { target: '127.0.0.1:1' }, words: ['127.0.0.1:1'] }),
  stopped('vm.migrate', 'migrate', {
    input: { vm: 'db', target: '127.0.0.1:1' },
    words: ['migrate', 'db', '127.0.0.1:1'],
  }),
  {
    operation: 'vm.migrate',
    code: 'bad-argument',
    because: 'that is no place where a daemon could listen',
    input: { vm: 'mover', target: 'no where' },
    words: ['migrate', 'mover', 'no where'],
  },
  {
    operation: 'vm.migrate',
    code: 'unavailable',
    because: 'nobody listens there',
    input: { vm: 'mover', target: '127.0.0.1:1' },
    words: ['migrate', 'mover', '127.0.0.1:1'],
  },
  {
    operation: 'vm.migrate',
    code: 'untrusted',
    because: 'the daemons do not trust each other',
    input: (stage) => ({ vm: 'mover', target: stage.other.listens }),
    words: (stage) => ['migrate', 'mover', stage.other.listens],
  },
  {
    operation: 'vm.migrate',
    code: 'name-taken',
    because: 'the other daemon has one of that name',
    input: (stage) => ({ vm: 'mover', target: stage.other.listens }),
    words: (stage) => ['migrate', 'mover', stage.other.listens],
    before: (stage) => stage.trustEachOther(),
  },
  {
    operation: 'vm.migrate',
    code: 'unsupported',
    because: 'it has snapshots',
    input: { vm: 'web', target: '127.0.0.1:1' },
    words: ['migrate', 'web', '127.0.0.1:1'],
  },
  {
    operation: 'host.trust',
    code: 'not-found',
    because: 'that one is not trusted',
    input: { fingerprint: 'a'.repeat(64), remove: true },
    words: ['trust', 'a'.repeat(64), '--remove'],
  },
  {
    operation: 'host.trust',
    code: 'bad-argument',
    because: 'that is no fingerprint',
    input: { fingerprint: 'nobody' },
    words: ['trust', 'nobody'],
  },
  ...ofNames('vm.remove', 'rm'),
  {
    operation: 'vm.remove',
    code: 'wrong-state',
    because: 'the machine runs',
    input: { vm: 'web' },
    words: ['rm', 'web'],
    says: /^the virtual machine "web" is running, and "rm" is for one that is stopped$/,
  },
  ...ofNames('vm.rename', 'rename', { input: { name: 'new' }, words: ['new'], isForForks: true }),
  inPause('vm.rename', 'smp', { name: 'new' }, ['rename', 'new']),
  {
    operation: 'vm.rename',
    code: 'name-taken',
    because: 'another machine has the name',
    input: { vm: 'db', name: 'web' },
    words: ['rename', 'db', 'web'],
  },
  {
    operation: 'vm.rename',
    code: 'name-taken',
    because: 'another machine has the name that a fork is to have',
    input: { vm: 'twin', name: 'db' },
    words: ['rename', 'twin', 'db'],
  },
  {
    operation: 'vm.rename',
    code: 'bad-argument',
    because: 'that is no name',
    input: { vm: 'db', name: 'No Name' },
    words: ['rename', 'db', 'No Name'],
  },
  {
    operation: 'vm.rename',
    code: 'not-a-machine',
    because: 'its vm.yaml cannot be understood',
    input: { vm: 'bad', name: 'new' },
    words: ['rename', 'bad', 'new'],
    before: (stage) => stage.yaml('bad', /^cpus: 1$/m, 'cpus: 1\ncolour: red'),
    says: /vm\.yaml, line \d+: .*colour/,
  },
  ...ofNames('snapshot.create', 'snapshot', { input: { name: 'new' }, words: ['new'], isForForks: true }),
  {
    operation: 'snapshot.create',
    code: 'not-found',
    because: 'there is no snapshot to build on',
    input: { vm: 'web', name: 'new', parent: 'nothing' },
    words: ['snapshot', 'web', 'new', '--parent', 'nothing'],
    says: /^the virtual machine "web" has no snapshot "nothing"$/,
  },
  stopped('snapshot.create', 'snapshot'),
  {
    operation: 'snapshot.create',
    code: 'name-taken',
    because: 'another snapshot has the name',
    input: { vm: 'web', name: 'whole' },
    words: ['snapshot', 'web', 'whole'],
  },
  {
    operation: 'snapshot.create',
    code: 'name-taken',
    because: 'another snapshot of its machine has the name, of a fork',
    input: { vm: 'twin', name: 'whole' },
    words: ['snapshot', 'twin', 'whole'],
  },
  {
    operation: 'snapshot.create',
    code: 'broken',
    because: 'the one to build on is not what was written',
    input: { vm: 'web', name: 'new', parent: 'whole' },
    words: ['snapshot', 'web', 'new', '--parent', 'whole'],
    before: torn,
  },
  {
    operation: 'snapshot.create',
    code: 'other-version',
    because: 'another version of Ringfence made the one to build on',
    input: { vm: 'web', name: 'new', parent: 'whole' },
    words: ['snapshot', 'web', 'new', '--parent', 'whole'],
    before: ofVersion,
  },
  {
    operation: 'snapshot.create',
    code: 'other-machine',
    because: 'the one to build on is of a machine with other disks',
    input: { vm: 'web', name: 'new', parent: 'foreign' },
    words: ['snapshot', 'web', 'new', '--parent', 'foreign'],
    before: (stage) => stage.foreignSnapshot(),
  },
  ...ofNames('snapshot.list', 'snapshots'),
  ...ofNames('snapshot.remove', 'rm-snapshot', { input: { snapshot: 'whole' }, words: ['whole'] }),
  noSnapshot('snapshot.remove', 'rm-snapshot'),
  {
    operation: 'snapshot.remove',
    code: 'in-use',
    because: 'another one builds on it',
    input: { vm: 'web', snapshot: 'whole' },
    words: ['rm-snapshot', 'web', 'whole'],
  },
  inPause('snapshot.remove', 'web', { snapshot: 'more' }, ['rm-snapshot', 'more']),
  {
    operation: 'snapshot.remove',
    code: 'not-a-machine',
    because: 'nobody can say whether its disks stand on it',
    input: { vm: 'bad', snapshot: 'whole' },
    words: ['rm-snapshot', 'bad', 'whole'],
    before: (stage) => stage.yaml('bad', /^cpus: 1$/m, 'cpus: 1\ncolour: red'),
  },
  ...ofNames('snapshot.restore', 'restore', { input: { snapshot: 'whole' }, words: ['whole'] }),
  noSnapshot('snapshot.restore', 'restore'),
  inPause('snapshot.restore', 'web', { snapshot: 'whole' }, ['restore', 'whole']),
  {
    operation: 'snapshot.restore',
    code: 'name-taken',
    because: 'another machine has the name',
    input: { vm: 'web', snapshot: 'whole', as: 'db' },
    words: ['restore', 'web', 'whole', '--as', 'db'],
  },
  ...(
    [
      ['broken', 'it is not what was written', torn],
      ['other-version', 'another version of Ringfence made it', ofVersion],
    ] as const
  ).flatMap(([code, because, before]): Case[] => [
    {
      operation: 'snapshot.restore',
      code,
      because,
      input: { vm: 'web', snapshot: 'whole' },
      words: ['restore', 'web', 'whole'],
      before,
    },
    {
      operation: 'snapshot.restore',
      code,
      because: `${because}, and a new machine was to go on from it`,
      input: { vm: 'web', snapshot: 'whole', as: 'new' },
      words: ['restore', 'web', 'whole', '--as', 'new'],
      before,
    },
  ]),
  {
    operation: 'snapshot.restore',
    code: 'other-machine',
    because: 'it is of a machine with other disks',
    input: { vm: 'web', snapshot: 'foreign' },
    words: ['restore', 'web', 'foreign'],
    before: (stage) => stage.foreignSnapshot(),
  },
  ...badMachine('snapshot.restore', ['not-a-machine', 'no-processors', 'forbidden']),
  ...ofNames('vm.cpu', 'cpu', { input: { shares: 10 }, words: ['--shares', '10'] }),
  inPause('vm.cpu', 'smp', { shares: 10 }, ['cpu', '--shares', '10']),
  {
    operation: 'vm.cpu',
    code: 'bad-argument',
    because: 'there are no such shares',
    input: { vm: 'db', shares: 0 },
    words: ['cpu', 'db', '--shares', '0'],
  },
  {
    operation: 'vm.cpu',
    code: 'no-processors',
    because: 'others have reserved so much',
    input: { vm: 'smp', reservation: 50 },
    words: ['cpu', 'smp', '--reservation', '50'],
    hasFigures: true,
  },
  {
    operation: 'vm.cpu',
    code: 'not-a-machine',
    because: 'its vm.yaml cannot be understood',
    input: { vm: 'bad', shares: 10 },
    words: ['cpu', 'bad', '--shares', '10'],
    before: (stage) => stage.yaml('bad', /^cpus: 1$/m, 'cpus: 1\ncolour: red'),
  },
  ...ofNames('vm.fork', 'fork', { isForForks: true, hasOtherHints: true }),
  stopped('vm.fork', 'fork'),
  {
    operation: 'vm.fork',
    code: 'name-taken',
    because: 'another machine has the name',
    input: { vm: 'web', names: ['db'] },
    words: ['fork', 'web', '--name', 'db'],
  },
  {
    operation: 'vm.fork',
    code: 'name-taken',
    because: 'another fork has the name that a fork of a fork is to have',
    input: { vm: 'twin', names: ['twin'] },
    words: ['fork', 'twin', '--name', 'twin'],
  },
  {
    operation: 'vm.fork',
    code: 'unsupported',
    because: 'the machine has several processors',
    input: { vm: 'smp' },
    words: ['fork', 'smp'],
  },
  {
    operation: 'vm.fork',
    code: 'no-memory',
    because: 'it and so many forks could come to more than machines may have together',
    input: { vm: 'web', count: 20 },
    words: ['fork', 'web', '--count', '20'],
    hasFigures: true,
  },
  {
    operation: 'vm.fork',
    code: 'bad-argument',
    because: 'two cannot have one name',
    input: { vm: 'web', names: ['same', 'same'], count: 2 },
    words: ['fork', 'web', '--count', '2', '--name', 'same', 'same'],
  },
  ...ofNames('vm.console', 'console', { isForForks: true, hasOtherHints: true }),
  stopped('vm.console', 'console', {
    says: /^the virtual machine "db" (is stopped, and "console" is for one that is running|does not run)$/,
  }),
  {
    operation: 'operation.inspect',
    code: 'not-found',
    because: 'there is no such operation',
    input: { operation: 'nothing' },
    words: undefined,
  },
];

async function stopWhen(stage: Stage, vm: string, state: string): Promise<void> {
  const { client } = stage.daemon;
  while ((await stage.daemon.machine(vm)).state !== state);
  await client.run('vm.stop', { vm, timeoutMs: 0 });
}

/** Codes that an operation has, or all have, and that have no case above, each with why. */
export const NOT_PROVOKED: readonly {
  readonly codes: readonly ErrorCode[];
  readonly operations?: readonly OperationName[];
  readonly why: string;
}[] = [
  { codes: ['bug'], why: 'a fault of Ringfence that somebody knew of would be mended' },
  { codes: ['no-space'], why: 'a disk that is full: machines.test.ts makes one where it may, `npm run faults` many' },
  { codes: ['timeout'], why: 'a process that says nothing for half a minute: silent.test.ts' },
  {
    codes: ['ended'],
    operations: ['vm.stop', 'vm.pause', 'vm.resume', 'vm.rename', 'snapshot.create', 'vm.fork', 'vm.migrate'],
    why: 'a machine that ends in just that moment: states.test.ts walks through many of them',
  },
  {
    codes: ['unavailable'],
    operations: [
      'vm.stop',
      'vm.pause',
      'vm.resume',
      'vm.remove',
      'vm.rename',
      'vm.cpu',
      'vm.fork',
      'vm.console',
      'snapshot.create',
      'snapshot.remove',
      'host.trust',
    ],
    why: 'a file that cannot be written although its owner asks, or a socket that somebody has removed',
  },
  {
    codes: [
      'no-memory',
      'no-processors',
      'not-a-machine',
      'bad-argument',
      'forbidden',
      'unavailable',
      'aborted',
      'ended',
    ],
    operations: ['vm.reset', 'snapshot.restore'],
    why: 'what lets a machine run is one piece of code (Runs), and has its cases as `vm.start`',
  },
  {
    codes: ['too-many'],
    operations: ['vm.start', 'vm.reset', 'snapshot.restore', 'vm.fork'],
    why: 'a memory domain that is full, or images behind each other beyond what can be: fork.test.ts, disks.test.ts',
  },
  { codes: ['too-many'], operations: ['vm.register'], why: '4096 machines' },
  { codes: ['too-many'], operations: ['snapshot.create'], why: '1000 snapshots of a machine' },
  { codes: ['too-many'], operations: ['host.trust'], why: 'as many daemons as can be trusted' },
  { codes: ['too-many'], operations: ['vm.console'], why: 'as many who look as can be: consoles.test.ts' },
  { codes: ['unsupported'], operations: ['snapshot.create'], why: 'a process of an earlier Ringfence that takes none' },
  {
    codes: ['other-version', 'other-machine', 'no-memory', 'protocol', 'aborted', 'too-many'],
    operations: ['vm.migrate'],
    why: 'another daemon that is older, has too little, or says what cannot be: packages/host/src/migration',
  },
];
