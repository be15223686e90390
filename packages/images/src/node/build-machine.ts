/**
 * The machine that installs packages into a disk image, as a port: this package knows what is to be booted, and its caller has a
 * hypervisor, disks and shared folders to boot it with.
 */

export interface BuildJob {
  /** A plain `Image`. */
  readonly kernel: Uint8Array;
  readonly initrd: Uint8Array;
  readonly bootArguments: string;
  readonly memoryBytes: number;
  /** A qcow2 image, the guest's /dev/vda; made when `createBytes` says how large it is to be. Nothing of it need be durable before the end. */
  readonly disk: { readonly path: string; readonly createBytes: number | undefined };
  /** A folder of the host that the guest may read (virtio-fs). */
  readonly share: { readonly tag: string; readonly folder: string };
  /** Ports of the console device in their order; the first one is a console. */
  readonly ports: readonly { readonly name: string; readonly onData: (bytes: Uint8Array) => void }[];
  /** What the guest's kernel says on the serial line. */
  readonly onSerial: (bytes: Uint8Array) => void;
  readonly signal: AbortSignal | undefined;
  readonly timeoutMs: number;
}

/** Why the machine is no longer running. */
export type BuildEnd = 'poweroff' | 'reboot' | 'failure' | 'timeout';

/** Resolves when the machine has ended and its disk is closed; rejects when it could not be made, or when `signal` stopped it. */
export type BuildMachine = (job: BuildJob) => Promise<BuildEnd>;
