/** Virtual machines on Node: the library, and what of this computer a machine may have. */

// What does not work.
export { HostError, systemReason, type HostErrorCode } from './failure.ts';

// Parts, for who assembles a machine of core by hand.
export { DiskFile, type DiskFileOptions } from './disk/disk-file.ts';
export { parseDiskSpec, type CacheMode, type DiskSpec } from './disk/disk-spec.ts';
export { NodeImageFiles, openDisks, type OpenDisks } from './disk/disks.ts';
export { nodeClock, nodeDecompressor, nodeEntropy, nodeTurns, type Backlog } from './machine/ports.ts';
export { ThreadedCompiler } from './machine/region-compiler.ts';
export { SerialOutput } from './machine/serial-output.ts';
export { newNetwork, openNetwork, parseNetwork } from './network/machine-network.ts';
export type { MachineNetwork, NetworkSettings, NetworkWords } from './network/machine-network.ts';
export { parsePublish, type PublishedPort } from './network/publish.ts';
export { publish, type OpenPorts } from './network/published-ports.ts';
export { mountedShares, taggedShares, type ShareWords } from './share/share-words.ts';
export { SharedTree, type SharedTreeOptions } from './share/shared-tree.ts';
export { openShares, type OpenShares } from './share/shares.ts';
