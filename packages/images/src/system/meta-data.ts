/** cloud-init's meta-data, as its data source NoCloud has it: which instance a machine is, what it is called, and whose keys let in. */

import { HOSTNAME, INSTANCE } from './guest-names.ts';
import { bad, Fields, parseYaml } from './user-data-fields.ts';

export interface MetaData {
  readonly instanceId: string | undefined;
  readonly hostname: string | undefined;
  /** Lines of authorized_keys; the user data's reader looks at them. */
  readonly keys: readonly string[];
  readonly notes: readonly string[];
}

const SOURCE = 'meta-data';

/** Reads meta-data, YAML or JSON; throws an ImageError that says what is wrong with it. */
export function readMetaData(text: string): MetaData {
  const fields = Fields.of(parseYaml(text, SOURCE) ?? {}, 'it', SOURCE);
  const instanceId = fields.text('instance-id');
  if (instanceId !== undefined && !INSTANCE.test(instanceId))
    throw bad(`"${instanceId}" is no name for an instance`, SOURCE);
  const hostname = fields.text('local-hostname') ?? fields.text('hostname');
  if (hostname !== undefined && !HOSTNAME.test(hostname)) throw bad(`"${hostname}" is no host name`, SOURCE);
  const keys = keysOf(fields.get('public-keys') ?? fields.get('public_keys'));
  const notes = fields.unread().map((name) => `meta-data: "${name}" is not supported and does nothing`);
  return { instanceId, hostname, keys, notes };
}

/** A key, a list of them, or keys by names or numbers, as the clouds have them. */
function keysOf(value: unknown): string[] {
  if (value === undefined) return [];
  if (typeof value === 'string') return value.split('\n').filter((line) => line.trim() !== '');
  if (Array.isArray(value)) return value.flatMap(keysOf);
  if (typeof value !== 'object' || value === null) throw bad('"public-keys" has an entry that is no key', SOURCE);
  const { 'openssh-key': key, ...others } = value as Readonly<Record<string, unknown>>;
  return key === undefined ? Object.values(others).flatMap(keysOf) : keysOf(key);
}
