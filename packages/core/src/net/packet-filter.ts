/**
 * The port where a firewall stands. Every frame passes it once for each receiver, after the switch has chosen that receiver and before it
 * gets the frame: machine to machine, machine to gateway and gateway to machine alike.
 */

import type { Frame } from '../base/frames.ts';

/** A socket of a switch, by the name of what is plugged in. */
export interface FilteredPort {
  readonly name: string;
}

export interface PacketFilter {
  /** Whether the frame may go. Called for every frame, so it must be quick; it keeps nothing of `frame`, and does not change it. */
  admits(frame: Frame, from: FilteredPort, to: FilteredPort): boolean;
}

/** No firewall. */
export const ALLOW_ALL: PacketFilter = { admits: () => true };
