/** The users and groups of user data (cloud-init's documentation, module "Users and Groups"). */

import { bad, Fields } from './user-data-fields.ts';

export interface User {
  readonly name: string;
  readonly gecos: string | undefined;
  readonly primaryGroup: string | undefined;
  readonly groups: readonly string[];
  readonly home: string | undefined;
  readonly makeHome: boolean;
  readonly shell: string;
  readonly system: boolean;
  readonly uid: number | undefined;
  /** Rules for sudoers(5), without the name. */
  readonly sudo: readonly string[];
  readonly keys: readonly string[];
  readonly password: { readonly text: string; readonly isHash: boolean } | undefined;
}

/** The user that cloud-init's Debian has when the user data names none. */
const DEFAULT_USER = 'debian';
const SHELL = '/bin/bash';
const NAME = /^[a-z_][a-z0-9_-]{0,31}$/;
/** A line of authorized_keys (sshd(8)): perhaps options, then kind and key. */
const KEY = /^(?:[^\p{Cc}]* )?(?:ssh|ecdsa|sk)-[\w@.-]+ [A-Za-z0-9+/=]{16,}(?: [^\p{Cc}]*)?$/u;

export function readGroups(value: unknown): { name: string; members: readonly string[] }[] {
  if (value === undefined) return [];
  const list = typeof value === 'string' ? value.split(/[\s,]+/) : value;
  if (!Array.isArray(list)) throw bad('"groups" is no list');
  return list.flatMap((entry: unknown) => {
    if (typeof entry === 'string') return [{ name: checkedName(entry), members: [] }];
    const fields = Fields.of(entry, 'an entry of groups');
    return fields.unread().map((name) => ({ name: checkedName(name), members: fields.words(name).map(checkedName) }));
  });
}

/** The users, the default one among them when it is named, or when keys or a password are given and nobody else is there to have them. */
export function readUsers(value: unknown, keys: readonly string[], password: string | undefined): User[] {
  if (value !== undefined && !Array.isArray(value)) throw bad('"users" is no list');
  const list: readonly unknown[] = value ?? (keys.length > 0 || password !== undefined ? ['default'] : []);
  const users = list.map((entry, index): User => {
    if (entry === 'default') return defaultUser();
    if (typeof entry === 'string') return { ...defaultUser(), name: checkedName(entry), sudo: [] };
    return readUser(Fields.of(entry, `user ${index + 1}`));
  });
  const [first, ...others] = users;
  if (first === undefined) return [];
  // As cloud-init has it, they belong to the first.
  const own = password === undefined ? first.password : { text: password, isHash: /^\$\w+\$/.test(password) };
  return [{ ...first, keys: [...first.keys, ...keys.map(checkedKey)], password: own }, ...others];
}

function defaultUser(): User {
  return {
    name: DEFAULT_USER,
    gecos: undefined,
    primaryGroup: undefined,
    groups: [],
    home: undefined,
    makeHome: true,
    shell: SHELL,
    system: false,
    uid: undefined,
    sudo: ['ALL=(ALL) NOPASSWD:ALL'],
    keys: [],
    password: undefined,
  };
}

function readUser(fields: Fields): User {
  const hash = fields.text('passwd') ?? fields.text('hashed_passwd');
  const plain = fields.text('plain_text_passwd');
  const primaryGroup = fields.text('primary_group');
  const uid = fields.text('uid');
  if (uid !== undefined && !/^\d{1,9}$/.test(uid)) throw bad(`the uid "${uid}" is no number`);
  const isLocked = fields.flag('lock_passwd') ?? true;
  const text = hash ?? plain;
  const user: User = {
    name: checkedName(fields.needed('name')),
    gecos: checkedLine(fields.text('gecos')),
    primaryGroup: primaryGroup === undefined ? undefined : checkedName(primaryGroup),
    groups: fields.words('groups').map(checkedName),
    home: fields.text('homedir'),
    makeHome: fields.flag('no_create_home') !== true,
    shell: fields.text('shell') ?? SHELL,
    system: fields.flag('system') === true,
    uid: uid === undefined ? undefined : Number(uid),
    sudo: readSudo(fields.get('sudo')),
    keys: fields.texts('ssh_authorized_keys').map(checkedKey),
    password: text === undefined || isLocked ? undefined : { text, isHash: hash !== undefined },
  };
  fields.refuseUnread();
  return user;
}

function readSudo(value: unknown): string[] {
  if (value === undefined || value === false || value === null) return [];
  const rules: readonly unknown[] = Array.isArray(value) ? value : [value];
  return rules.map((rule) => {
    if (typeof rule !== 'string' || !/^[^\n\0]+$/.test(rule))
      throw bad('"sudo" has a rule that is not one line of text');
    return rule;
  });
}

function checkedName(name: string): string {
  if (!NAME.test(name)) throw bad(`"${name}" is no name for a user or a group`);
  return name;
}

function checkedLine(text: string | undefined): string | undefined {
  if (text !== undefined && /[:\n]/.test(text)) throw bad('"gecos" has a colon or a line break in it');
  return text;
}

function checkedKey(key: string): string {
  const line = key.trim();
  if (!KEY.test(line)) throw bad(`"${line.slice(0, 40)}" is no SSH key`);
  return line;
}
