import { expect, test } from 'vitest';
import { AptConfiguration } from './apt-configuration.ts';

test('apt.conf is read with scopes, comments and lists, and the last word counts', () => {
  const configuration = new AptConfiguration();
  configuration.add(`
// a comment with "quotes"; and { braces }
Acquire::Check-Valid-Until "false";
Acquire { http { Proxy "http://proxy.example:3128"; Proxy::near.example "DIRECT"; }; Check-Date "true" ; };
APT { NeverAutoRemove { "^firmware.*"; "^x{1}$"; }; };
/* Acquire::Check-Date "false"; */
# Acquire::Check-Date "false";
`);
  configuration.add('acquire::check-date "no";');
  expect(configuration.flag('Acquire::Check-Valid-Until')).toBe(false);
  expect(configuration.flag('Acquire::Check-Date')).toBe(false);
  expect(configuration.proxy('http', 'far.example')).toBe('http://proxy.example:3128');
  expect(configuration.proxy('http', 'near.example')).toBe('DIRECT');
  expect(configuration.proxy('https', 'far.example')).toBe('http://proxy.example:3128');
  expect(configuration.get('Acquire::http::Timeout')).toBeUndefined();
});
