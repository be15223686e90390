/** What apt in a guest is to be set to: the mirror that the image came from, as the host's apt or the caller names it, and the host's proxies. */

import type { Manifest } from '../tiny/manifest.ts';
import { ImageError } from '../image-error.ts';
import { APT_FOLDER, readAptSettings, type AptSettings } from './apt.ts';
import { chooseMirror } from './mirror.ts';
import type { PullOptions } from './tiny-image.ts';

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.pgp';

/** Files below /etc; none when no mirror is known, which a cached image does not need. */
export function guestApt(options: PullOptions, { release, suites = [] }: Manifest): ReadonlyMap<string, string> {
  const env = options.env ?? process.env;
  const aptFolder = options.aptFolder ?? APT_FOLDER;
  const apt = readAptSettings(aptFolder);
  let url: string;
  try {
    ({ url } = chooseMirror(options.mirror, env, apt, aptFolder));
  } catch (error) {
    if (error instanceof ImageError) return new Map();
    throw error;
  }
  const sources = [{ url, suite: release.codename }, ...otherSources(url, apt, release)];
  const known = sources.filter(({ suite }) => suite === release.codename || suites.includes(suite));
  const stanzas = known.map((source) => stanza(source.url, [source.suite]));
  const settings = ['# As on the computer that this machine runs on.'];
  for (const scheme of ['http', 'https'] as const) {
    const proxy = apt.configuration.proxy(scheme, new URL(url).hostname) ?? env[`${scheme}_proxy`];
    if (proxy !== undefined && proxy !== '' && !/["\n]/.test(proxy))
      settings.push(`Acquire::${scheme}::Proxy "${proxy}";`);
  }
  for (const name of ['Acquire::Check-Valid-Until', 'Acquire::Check-Date']) {
    const flag = apt.configuration.flag(name);
    if (flag !== undefined) settings.push(`${name} "${flag}";`);
  }
  return new Map([
    ['apt/sources.list.d/debian.sources', stanzas.join('\n')],
    ['apt/apt.conf.d/80ringfence-host', `${settings.join('\n')}\n`],
  ]);
}

/** Where updates of a released suite are, and its security archive as the host's apt has one; a mirror need not have either. */
export function otherSources(
  url: string,
  apt: AptSettings,
  { version, codename }: Manifest['release'],
): { readonly url: string; readonly suite: string }[] {
  // Suites under development have neither.
  if (version === null) return [];
  const security = apt.sources.find(
    ({ uri, suites }) => /^https?:/i.test(uri) && suites.some((suite) => suite.endsWith('-security')),
  );
  return [
    { url, suite: `${codename}-updates` },
    ...(security === undefined ? [] : [{ url: security.uri.replace(/\/+$/, ''), suite: `${codename}-security` }]),
  ];
}

function stanza(uri: string, suites: readonly string[]): string {
  return `Types: deb\nURIs: ${uri}\nSuites: ${suites.join(' ')}\nComponents: main\nSigned-By: ${KEYRING}\n`;
}
