/**
 * cloud-init's user data (its documentation, "User data formats" and "Module reference") as far as a virtual machine of ours needs it, made
 * into two scripts that a plain shell runs: `early` before services start, `final` when the machine is up. All that somebody wrote is quoted
 * here, once; what is to be in files goes beside the scripts as it is, so nothing in the guest reads YAML.
 *
 *     #cloud-config --> checked settings --> early: host name, users, keys, files    final: packages, commands
 *     #!            --> final
 */

import { parse } from 'yaml';
import { utf8Octets } from '../archive/octets.ts';
import { ImageError } from '../image-error.ts';
import { HOSTNAME } from './guest-names.ts';
import { shellQuote as q } from './shell-quote.ts';
import { bad, Fields, MAX_SOURCE_BYTES, parseYaml } from './user-data-fields.ts';
import { readGroups, readUsers, type User } from './user-data-users.ts';

/** What a guest is given. */
export interface UserData {
  readonly hostname: string | undefined;
  /** Shell scripts; undefined when there is nothing for them to do. */
  readonly early: string | undefined;
  readonly final: string | undefined;
  /** Contents that the scripts put where they belong, by names that the scripts know. */
  readonly files: ReadonlyMap<string, Uint8Array>;
  /** What the user should know. */
  readonly notes: readonly string[];
}

const MAX_FILES = 1000;
const MODE = /^0?[0-7]{3,4}$/;
/** Where the guest finds the files that belong to the scripts. */
const FOLDER = '/run/ringfence/user-data/files';

/**
 * Reads user data; throws an ImageError that says what is wrong with it and where. `keys` are whose machine it is besides (meta-data).
 */
export function readUserData(text: string, keys: readonly string[] = []): UserData {
  if (text.length > MAX_SOURCE_BYTES)
    throw new ImageError('bad-argument', `The user data has more than ${MAX_SOURCE_BYTES} bytes.`);
  const [first = ''] = text.split('\n', 1);
  if (first.startsWith('#!')) {
    const users = new CloudConfig({}, keys).userData();
    const files = new Map([...users.files, ['script', utf8Octets(text)]]);
    const final = `chmod 700 ${FOLDER}/script && exec ${FOLDER}/script\n`;
    return { ...users, final, files };
  }
  if (first.trimEnd() !== '#cloud-config')
    throw new ImageError('bad-argument', 'The user data does not begin with "#cloud-config" or "#!".');
  return new CloudConfig(parseYaml(text, 'user data'), keys).userData();
}

class CloudConfig {
  readonly #config: Fields;
  readonly #early: string[] = [];
  readonly #final: string[] = [];
  readonly #files = new Map<string, Uint8Array>();
  readonly #notes: string[] = [];
  readonly #keys: readonly string[];

  constructor(value: unknown, keys: readonly string[]) {
    this.#config = Fields.of(value ?? {}, 'it');
    this.#keys = keys;
  }

  userData(): UserData {
    const config = this.#config;
    const fqdn = config.text('fqdn');
    const hostname = config.text('hostname') ?? fqdn?.split('.')[0];
    if (hostname !== undefined && !HOSTNAME.test(hostname)) throw bad(`"${hostname}" is no host name`);
    // In cloud-init's order: see the lists of modules in its cloud.cfg.
    this.#commands('bootcmd', this.#early);
    this.#timezone();
    this.#users();
    this.#passwords();
    const deferred = this.#writeFiles();
    this.#packages();
    this.#final.push(...deferred);
    this.#commands('runcmd', this.#final);
    for (const name of config.unread()) this.#notes.push(`user data: "${name}" is not supported and does nothing`);
    return {
      hostname,
      early: script(this.#early),
      final: script(this.#final),
      files: this.#files,
      notes: this.#notes,
    };
  }

  #timezone(): void {
    const zone = this.#config.text('timezone');
    if (zone === undefined) return;
    if (!/^[A-Za-z0-9_+-]+(?:\/[A-Za-z0-9_+-]+)*$/.test(zone)) throw bad(`"${zone}" is no time zone`);
    this.#early.push(`ln -sf ${q(`/usr/share/zoneinfo/${zone}`)} /etc/localtime && echo ${q(zone)} >/etc/timezone`);
  }

  #users(): void {
    const config = this.#config;
    for (const { name, members } of readGroups(config.get('groups'))) this.#group(name, members);
    const keys = [...config.texts('ssh_authorized_keys'), ...this.#keys];
    const password = config.text('password');
    const users = readUsers(config.get('users'), keys, password);
    for (const user of users) this.#user(user);
  }

  #group(name: string, members: readonly string[]): void {
    this.#early.push(`getent group ${q(name)} >/dev/null || groupadd ${q(name)}`);
    for (const member of members) this.#early.push(`usermod -aG ${q(name)} ${q(member)}`);
  }

  #user(user: User): void {
    const { name, groups, sudo, keys, password } = user;
    for (const group of groups) this.#group(group, []);
    const words = [
      ...(user.system ? ['--system'] : []),
      ...(user.makeHome ? ['--create-home'] : ['--no-create-home']),
      '--shell',
      q(user.shell),
      ...(user.home === undefined ? [] : ['--home-dir', q(user.home)]),
      ...(user.uid === undefined ? [] : ['--uid', String(user.uid)]),
      ...(user.gecos === undefined ? [] : ['--comment', q(user.gecos)]),
      ...(user.primaryGroup === undefined ? ['--user-group'] : ['--gid', q(user.primaryGroup)]),
    ];
    if (user.primaryGroup !== undefined) this.#group(user.primaryGroup, []);
    if (name !== 'root') this.#early.push(`id ${q(name)} >/dev/null 2>&1 || useradd ${words.join(' ')} ${q(name)}`);
    if (groups.length > 0) this.#early.push(`usermod -aG ${q(groups.join(','))} ${q(name)}`);
    if (password !== undefined) this.#password(name, password.text, password.isHash);
    if (sudo.length > 0) {
      const rules = sudo.map((rule) => `${name} ${rule}\n`).join('');
      this.#early.push(
        'mkdir -p /etc/sudoers.d',
        `printf %s ${q(rules)} >${q(`/etc/sudoers.d/90-user-data-${name}`)} && chmod 440 ${q(`/etc/sudoers.d/90-user-data-${name}`)}`,
      );
    }
    if (keys.length > 0)
      this.#early.push(
        [
          `home=$(getent passwd ${q(name)} | cut -d: -f6)`,
          `mkdir -p "$home/.ssh"`,
          `printf '%s\\n' ${keys.map(q).join(' ')} >>"$home/.ssh/authorized_keys"`,
          `chmod 700 "$home/.ssh"`,
          `chmod 600 "$home/.ssh/authorized_keys"`,
          `chown -R ${q(name)}: "$home/.ssh"`,
        ].join(' && '),
      );
  }

  #password(name: string, text: string, isHash: boolean): void {
    if (/[\n\0]/.test(text)) throw bad(`the password of "${name}" is not one line`);
    const hash = isHash ? ' --encrypted' : '';
    this.#early.push(`printf '%s\\n' ${q(`${name}:${text}`)} | chpasswd${hash}`);
  }

  /** cloud-init's `chpasswd`. */
  #passwords(): void {
    const value = this.#config.get('chpasswd');
    if (value === undefined) return;
    const fields = Fields.of(value, 'chpasswd');
    const list = fields.get('list');
    const lines = typeof list === 'string' ? list.split('\n') : list === undefined ? [] : fields.texts('list');
    for (const line of lines.filter((each) => each.trim() !== '')) {
      const [, name, text] = /^([^:\s]+):(.+)$/.exec(line) ?? [];
      if (name === undefined || text === undefined) throw bad('a line of chpasswd is not like "name:password"');
      this.#password(name, text, /^\$\w+\$/.test(text));
    }
    for (const [index, user] of fields.list('users').entries()) {
      const entry = Fields.of(user, `user ${index + 1} of chpasswd`);
      const name = entry.needed('name');
      this.#password(name, entry.needed('password'), entry.text('type') !== 'text');
      entry.refuseUnread();
    }
    if (fields.flag('expire') === true) this.#notes.push('user data: passwords do not expire at the first login');
    fields.refuseUnread();
  }

  /** Gives the steps for those files that have to wait for the packages. */
  #writeFiles(): string[] {
    const deferred: string[] = [];
    const list = this.#config.list('write_files');
    if (list.length > MAX_FILES) throw bad(`it writes more than ${MAX_FILES} files`);
    for (const [index, value] of list.entries()) {
      const entry = Fields.of(value, `file ${index + 1} of write_files`);
      const path = entry.needed('path');
      if (!path.startsWith('/') || path.includes('\0')) throw bad(`"${path}" of write_files is no absolute path`);
      const mode = entry.mode('permissions') ?? '0644';
      if (!MODE.test(mode)) throw bad(`the permissions "${mode}" of "${path}" are not like "0644"`);
      const owner = entry.text('owner') ?? 'root:root';
      if (!/^[a-z_][\w.-]*(?::[a-z_][\w.-]*)?$/i.test(owner)) throw bad(`the owner "${owner}" of "${path}" is no user`);
      this.#files.set(`file${index}`, content(entry.text('content') ?? '', entry.text('encoding') ?? '', path));
      const folder = path.slice(0, path.lastIndexOf('/')) || '/';
      const lines = [
        `mkdir -p ${q(folder)}`,
        // Nobody reads it before its permissions are known.
        `(umask 077 && cat ${FOLDER}/file${index} ${entry.flag('append') === true ? '>>' : '>'}${q(path)})`,
        `chmod ${mode} ${q(path)}`,
        `chown ${q(owner)} ${q(path)}`,
      ];
      (entry.flag('defer') === true ? deferred : this.#early).push(lines.join(' && '));
      entry.refuseUnread();
    }
    return deferred;
  }

  #packages(): void {
    const config = this.#config;
    const names = config.texts('packages');
    const wrong = names.find((name) => !/^[a-z0-9][a-z0-9.+-]*(?::[a-z0-9]+)?(?:=[\w.+~:-]+)?$/.test(name));
    if (wrong !== undefined) throw bad(`"${wrong}" is no name of a package`);
    const upgrade = config.flag('package_upgrade') === true;
    if (config.flag('package_update') === true || names.length > 0 || upgrade) this.#final.push('apt-get -q update');
    if (upgrade) this.#final.push('apt-get -q -y upgrade');
    if (names.length > 0) this.#final.push(`apt-get -q -y install ${names.map(q).join(' ')}`);
  }

  /** All of them are one script, as cloud-init has it; a command is a line of it, or words that no shell looks into. */
  #commands(name: string, into: string[]): void {
    const lines = this.#config.list(name).map((command) => {
      if (typeof command === 'string') return command;
      if (Array.isArray(command)) return command.map((word) => q(scalar(word, name))).join(' ');
      throw bad(`${name} has a command that is neither text nor a list of words`);
    });
    if (lines.length === 0) return;
    this.#files.set(name, utf8Octets(`${lines.join('\n')}\n`));
    into.push(`sh ${FOLDER}/${name}`);
  }
}

function scalar(value: unknown, where: string): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  throw bad(`${where} has a command with a word that is no text`);
}

function content(text: string, encoding: string, path: string): Uint8Array {
  if (encoding === '' || encoding === 'text/plain') return utf8Octets(text);
  if (encoding !== 'b64' && encoding !== 'base64')
    throw bad(`the encoding "${encoding}" of "${path}" is not supported; b64 is`);
  const packed = text.replaceAll(/\s+/g, '');
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(packed) || packed.length % 4 === 1)
    throw bad(`the content of "${path}" is no base64`);
  const bytes: unknown = parse(`!!binary "${packed}"`, { customTags: ['binary'] });
  if (!(bytes instanceof Uint8Array)) throw bad(`the content of "${path}" is no base64`);
  return bytes;
}

/** A step that fails does not keep the others from being done, and makes the whole fail. */
function script(steps: readonly string[]): string | undefined {
  if (steps.length === 0) return undefined;
  const lines = steps.map((step) => `{ ${step}; } || failed=1\n`);
  return `failed=0\n${lines.join('')}exit $failed\n`;
}
