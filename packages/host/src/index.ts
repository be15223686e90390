/** Virtual machines on Node: the library, and what of this computer a machine may have. */

// What does not work.
export { HostError, systemReason, type HostErrorCode } from './failure.ts';

// A virtual machine.
export { AgentError, type AgentProcess } from '@ringfence/core';
export type { CopyOptions } from './copy/copy.ts';
export type { ConsoleViewer } from './guest/calls.ts';
export type { CommandOptions, CommandResult } from './guest/run-command.ts';
export { buildMachine } from './vm/build-machine.ts';
export { guestInitrd, imageNamed, imageNames, type Image } from './vm/images.ts';
export type { VMOptions } from './vm/options.ts';
export {
  DEFAULT_PAGING_BYTES,
  VMDomain,
  type VMDomainMemory,
  type VMDomainOptions,
  type VMMemoryWishes,
} from './vm/vm-domain.ts';
export type { VMRestoreOptions } from './vm/restore-options.ts';
export type { VMMemory } from './vm/reports.ts';
export type { ProcessOptions, StopOptions, VMEnd, VMSnapshotOptions } from './vm/lifecycle.ts';
export { VM } from './vm/vm.ts';

// Snapshots.
export { SnapshotError, type SnapshotErrorCode } from '@ringfence/core';
export { nodeSnapshotCodec } from './snapshot/node-codec.ts';
export {
  SnapshotStore,
  type OpenStoredSnapshot,
  type StoredRequest,
  type StoredSnapshot,
} from './snapshot/snapshot-store.ts';

// Parts, for who assembles a machine of core by hand.
export { DiskFile, type DiskFileOptions } from './disk/disk-file.ts';
export { parseDiskSpec, type CacheMode, type DiskSpec } from './disk/disk-spec.ts';
export { NodeImageFiles, openDisks, type OpenDisks } from './disk/disks.ts';
export { nodeClock, nodeDecompressor, nodeEntropy, nodeTurns, type Backlog } from './machine/ports.ts';
export { NodePcpus } from './machine/pcpus.ts';
export { ThreadedCompiler } from './machine/region-compiler.ts';
export { SerialInput } from './machine/serial-input.ts';
export { SerialOutput } from './machine/serial-output.ts';
export { newNetwork, openNetwork, parseNetwork } from './network/machine-network.ts';
export type { MachineNetwork, NetworkSettings, NetworkWords } from './network/machine-network.ts';
export { parsePublish, type PublishedPort } from './network/publish.ts';
export { publish, type OpenPorts } from './network/published-ports.ts';
export { mountedShares, taggedShares, type ShareWords } from './share/share-words.ts';
export { SharedTree, type SharedTreeOptions } from './share/shared-tree.ts';
export { openShares, type OpenShares } from './share/shares.ts';
