/** What cloud-init's data source NoCloud hands to a machine, all of it text that somebody wrote, made into what a guest is given. */

import { readMetaData } from './meta-data.ts';
import { readNetworkConfig } from './network-config.ts';
import { readUserData, type UserData } from './user-data.ts';

/** The files of the data source; any of them may be missing. */
export interface NoCloud {
  readonly userData?: string | undefined;
  readonly metaData?: string | undefined;
  readonly networkConfig?: string | undefined;
}

export interface GuestData extends UserData {
  /** Which instance it is: what is done once is done again for another. The machine's own when it is not said. */
  readonly instanceId: string | undefined;
  /** Files below /run/systemd/network; with any the host does not tell the guest its address. */
  readonly network: ReadonlyMap<string, string>;
}

const NOTHING = '#cloud-config\n';

/** Throws an ImageError that says what is wrong and where. The user data's host name counts before the meta-data's. */
export function readNoCloud({ userData, metaData, networkConfig }: NoCloud): GuestData {
  const meta = metaData === undefined ? undefined : readMetaData(metaData);
  const user = readUserData(userData ?? NOTHING, meta?.keys);
  return {
    ...user,
    hostname: user.hostname ?? meta?.hostname,
    notes: [...(meta?.notes ?? []), ...user.notes],
    instanceId: meta?.instanceId,
    network: networkConfig === undefined ? new Map<string, string>() : readNetworkConfig(networkConfig),
  };
}
