/** The entry of the package: what others may use. */

// Ports and errors of storage.
export { BlockStoreError } from './base/block-store-error.ts';
export type { BlockStoreErrorCode } from './base/block-store-error.ts';
export type { BlockStore } from './base/ports.ts';
export { warmUp } from './machine/warm-up.ts';
export { AbsentStore } from './storage/absent-store.ts';
export type { DiskFigures } from './storage/absent-store.ts';
export { alignedBytes } from './storage/aligned-bytes.ts';
export { ForkableStore, MAXIMUM_FORK_DEPTH, MAXIMUM_FORK_POINTS } from './storage/forkable-store.ts';
export type { PreparedFork } from './storage/forkable-store.ts';
export { IntervalLock, Sequence } from './storage/interval-lock.ts';
export type { ImageFile } from './storage/image-file.ts';
export { MemoryBlockStore } from './storage/memory-block-store.ts';
export { MemoryImageFile } from './storage/memory-image-file.ts';
export { openDisk, openNewImage, openOverlay } from './storage/open-disk.ts';
export type { ChainedImage, ImageFiles, OpenDisk, OpenDiskOptions } from './storage/open-disk.ts';
export { PointCopy } from './storage/point-copy.ts';
export type { Decompress } from './storage/qcow2/cluster-reader.ts';
export { createQcow2 } from './storage/qcow2/create-qcow2.ts';
export type { NewQcow2 } from './storage/qcow2/create-qcow2.ts';
export { zstdFrameBytes } from './storage/qcow2/zstd-frame.ts';
export { readQcow2Header } from './storage/qcow2/qcow2-block-store.ts';
export { RawBlockStore } from './storage/raw-block-store.ts';
export { vectorAfter, vectorBytes, vectorSlice } from './storage/vector.ts';

// Shared folders: the port, for who has one behind it.
export { ERRNO, FileError } from './machine/fuse/errno.ts';
export type { ErrnoName } from './machine/fuse/errno.ts';
export { FILE_TYPE, SET_GROUP_ID } from './machine/fuse/file-tree.ts';
export type {
  Creation,
  FileAttributes,
  FileChanges,
  FileNode,
  FileOwner,
  FileSystemStatistics,
  FileTree,
  FolderList,
  ListedName,
  OpenFile,
  OpenMode,
  RenameMode,
  SeekTarget,
} from './machine/fuse/file-tree.ts';

// The machine, what it boots, and what drives it.
export type { ByteSink, Clock, Entropy, Log, LogLevel } from './base/ports.ts';
export type { Ending } from './machine/ending.ts';
export { LoadError } from './machine/loader/payload.ts';
export type { LoadErrorCode, Payload } from './machine/loader/payload.ts';
export type { CompressionFormat, Decompressor } from './machine/loader/compressed-kernel.ts';
export { ordinaryInterpreter } from './engine/engine.ts';
export type { EngineKind, InterpreterCache } from './engine/engine.ts';
export type { BatchAnswer, BatchRequest, RegionCompiler } from './engine/jit/batch.ts';
export type { Allowance, AllowanceFigures, TokenBucket } from './machine/allowance.ts';
export { Machine } from './machine/machine.ts';
export { DomainFullError } from './engine/frames.ts';
export { MachineDomain } from './machine/machine-domain.ts';
export type { DomainMemory, MachineDomainOptions } from './machine/machine-domain.ts';
export type { PcpuPort, PcpuSetup } from './machine/pcpu.ts';
export { MAXIMUM_DOMAIN_BYTES, MAXIMUM_HARTS, MAXIMUM_MEMORY_BYTES, MINIMUM_MEMORY_BYTES } from './machine/options.ts';
export type { MachineDisk, MachineNetworkCard, MachineOptions, MachineShare, Progress } from './machine/options.ts';
export type { BalloonStatistics, VirtioBalloon } from './machine/virtio/balloon.ts';
export type { VirtioConsole } from './machine/virtio/console.ts';
export type { ConsolePort } from './machine/virtio/console-port.ts';
export { DEFAULT_SHARES, FairTurns } from './hypervisor/fair-turns.ts';
export type { FairClient, ThreadShare } from './hypervisor/fair-turns.ts';
export { ForkError, ForkPoint } from './hypervisor/fork.ts';
export type { ForkErrorCode } from './hypervisor/fork.ts';
export { MigrationError } from './hypervisor/migration/migration-error.ts';
export type { MigrationErrorCode } from './hypervisor/migration/migration-error.ts';
export type { MigrationCodec, MigrationLink, MigrationTimers, WaitingLink } from './hypervisor/migration/ports.ts';
export { DOWNTIME_MS } from './hypervisor/migration/convergence.ts';
export { rehearseMigration } from './hypervisor/migration/rehearsal.ts';
export { MigrationSource } from './hypervisor/migration/source.ts';
export type { OutgoingMigration } from './hypervisor/migration/outgoing-migration.ts';
export { SECRET_DIGITS } from './hypervisor/migration/resume.ts';
export type { OutgoingDisk } from './hypervisor/migration/outgoing-disks.ts';
export { MigrationTarget } from './hypervisor/migration/target.ts';
export type { Arrival, IncomingMigration } from './hypervisor/migration/target.ts';
export { MAXIMUM_AWAY_PAGES } from './engine/page-reclaim.ts';
export type { PagingFile } from './hypervisor/away-pages.ts';
export { LEAST_POOL_BYTES, MemoryPool, MOST_POOL_BYTES, POOL_TICK_MS } from './hypervisor/memory-pool.ts';
export type { MemberMemory, PoolMemory, PoolState } from './hypervisor/memory-pool.ts';
export { LEAST_LIMIT_BYTES, sharesPerPage } from './hypervisor/memory-shares.ts';
export type { MemoryWishes } from './hypervisor/memory-shares.ts';
export { countPages } from './hypervisor/page-counts.ts';
export type { PageCounts } from './hypervisor/page-counts.ts';
export { DEFAULT_SCAN_SHARE, MAXIMUM_SCAN_SHARE, PageSharing, SHARING_TICK_MS } from './hypervisor/page-sharing.ts';
export type { SharingCounts } from './hypervisor/page-sharing.ts';
export { divide } from './hypervisor/processor-division.ts';
export type { Claim } from './hypervisor/processor-division.ts';
export { MachineRunner } from './vm/runner.ts';
export type { RunEnd, Turns } from './vm/runner.ts';

// Snapshots: what they ask of the host, and how they are taken and restored.
export type { PageSource } from './base/page-source.ts';
export { INDEX_FILE, MANIFEST_FILE, PAGES_FILE } from './vm/snapshot/manifest.ts';
export type { DiskPoint, ImageBehind, SnapshotManifest } from './vm/snapshot/manifest.ts';
export { openSnapshot, restoreInto, verifyPack } from './vm/snapshot/open-snapshot.ts';
export type { OpenOptions, OpenSnapshot, Restorable } from './vm/snapshot/open-snapshot.ts';
export type { PackedFrame, SnapshotCodec, SnapshotFiles, SnapshotSink } from './vm/snapshot/ports.ts';
export type { Json } from './vm/snapshot/saved-json.ts';
export { SnapshotError } from './vm/snapshot/snapshot-error.ts';
export type { SnapshotErrorCode } from './vm/snapshot/snapshot-error.ts';
export { holdPoint, takeSnapshot } from './vm/snapshot/take-snapshot.ts';
export type { PointedDisks, SnapshotPoint, SnapshotRequest, TakenSnapshot } from './vm/snapshot/take-snapshot.ts';

// What runs in a guest on the host's behalf.
export { AgentError } from './vm/agent/agent-error.ts';
export type { AgentErrorCode } from './vm/agent/agent-error.ts';
export { AgentClient } from './vm/agent/agent-client.ts';
export type { AgentConnection, SpokenBefore } from './vm/agent/link.ts';
export { AGENT_PORT_NAME } from './vm/agent/guest-agent.ts';
export type {
  AgentClockChange,
  AgentCommand,
  AgentExit,
  AgentFileKind,
  AgentFileStatus,
  AgentFreeze,
  AgentHello,
  AgentInput,
  AgentOutput,
  AgentPatience,
  AgentPort,
  AgentProcess,
  AgentTerminal,
  AgentTreeStep,
  AgentWorld,
  CopyInOptions,
  CopyOutOptions,
  FreezeOptions,
  GuestAgent,
  ReadFileOptions,
  WriteFileOptions,
} from './vm/agent/guest-agent.ts';

// Networks, and what they ask of the host.
export type { Frame, FrameEndpoint, FramePort } from './base/frames.ts';
export { type Endpoint, IpAddress, MacAddress } from './net/addresses.ts';
export { FrameCapture } from './net/capture.ts';
export type {
  HostFailure,
  EchoOutcome,
  HostNetwork,
  HostTcp,
  HostUdp,
  NetworkEntropy,
  NetworkTimers,
  TcpEvents,
  UdpEvents,
} from './net/host.ts';
export { VirtualNetwork } from './net/network.ts';
export type { NetworkParts, NetworkPlace } from './net/network.ts';
export { ALLOW_ALL } from './net/packet-filter.ts';
export type { FilteredPort, PacketFilter } from './net/packet-filter.ts';
