import { expect, test } from 'vitest';
import type { MachineConfig } from './config.ts';
import { changedVmYaml, parseVmYaml, vmYamlOf } from './vm-yaml.ts';

const CONFIG: MachineConfig = {
  version: 1,
  id: '6f1c1a86-8f0e-4a3b-9c55-2f3e0f3f8a11',
  name: 'web',
  image: 'tiny',
  suite: 'stable',
  cpus: 2,
  memory: '256M',
  disks: [{ file: 'disks/disk0.qcow2', readonly: true }],
  networks: [{ mode: 'user', mac: '52:54:00:12:34:56', publish: ['8080:80'] }],
  env: { GREETING: 'a: b #c' },
};
const TEXT = vmYamlOf(CONFIG);

/** The complaint about the text with a line put in another one's place, or after it. */
function complaint(change: (text: string) => string): string {
  try {
    parseVmYaml(change(TEXT), 'vm.yaml');
    return 'none';
  } catch (error) {
    return `${(error as { code: string }).code} ${(error as Error).message}`;
  }
}

test('what is written is what is read', () => {
  expect(parseVmYaml(TEXT, 'vm.yaml')).toEqual(CONFIG);
  expect(TEXT).toMatch(/^# A virtual machine/);
});

test('a change keeps the rest, with its comments', () => {
  const commented = TEXT.replace('cpus: 2', '# it needs two\ncpus: 2 # really');
  const changed = changedVmYaml(commented, 'vm.yaml', [
    [['name'], 'db'],
    [['networks', 0, 'mac'], '52:54:00:00:00:01'],
  ]);
  expect(changed).toBe(commented.replace('name: web', 'name: db').replace('12:34:56', '00:00:01'));
});

test('a change that cannot be is none', () => {
  expect(() => changedVmYaml(TEXT, 'vm.yaml', [[['name'], 'No Name']])).toThrow('line 4: the field "name"');
});

test.each([
  ['an unknown field', (text: string) => `${text}colour: red\n`, 19, '"colour" is not known'],
  ['an unknown field further in', (text: string) => text.replace('readonly', 'red'), 11, '"disks.0.red" is not known'],
  ['a field of another kind', (text: string) => text.replace('cpus: 2', 'cpus: many'), 7, '"cpus" must be a number'],
  ['a field that is missing', (text: string) => text.replace('image: tiny\n', ''), 2, '"image" is missing'],
  ['too many processors', (text: string) => text.replace('cpus: 2', 'cpus: 99'), 7, '"cpus" "99" is no number of'],
  ['too little memory', (text: string) => text.replace('256M', '1K'), 8, '"memory" "1K" is too little'],
  ['a later version', (text: string) => text.replace('version: 1', 'version: 2'), 2, '"version" is 2, and this'],
  ['no name', (text: string) => text.replace('name: web', 'name: -web'), 4, '"name" "-web" is no name'],
  ['an image that is not there', (text: string) => text.replace('tiny', 'huge'), 5, '"image" "huge" is no image'],
  ['no id', (text: string) => text.replace(/id: .*/, 'id: 7'), 3, '"id" must be text'],
  [
    'a NUL in an argument',
    (text: string) => `${text}kernelArguments: [a, "b\\0c"]\n`,
    19,
    '"kernelArguments.1" has the',
  ],
  ['a NUL in a user', (text: string) => `${text}user: "a\\0b"\n`, 19, '"user" has the character 0'],
  ['a NUL in a folder', (text: string) => `${text}workdir: "/a\\0b"\n`, 19, '"workdir" has the character 0'],
  ['no card', (text: string) => text.replace('52:54', '53:54'), 14, '"networks.0.mac" "53:54:00:12:34:56" is no'],
  ['no ports', (text: string) => text.replace('8080:80', 'ssh'), 16, '"networks.0.publish.0" "ssh" is no pair'],
  ['the same field twice', (text: string) => `${text}cpus: 3\n`, 19, 'Map keys must be unique'],
  ['the same field twice further in', (text: string) => `${text}  GREETING: b\n`, 19, 'Map keys must be unique'],
  ['a field twice, as a number and as text', (text: string) => `${text}  1: a\n  "1": b\n`, 20, 'Map keys must be'],
  ['a field twice, as nothing and as text', (text: string) => `${text}  ~: a\n  "": b\n`, 20, 'Map keys must be'],
  ['a file that is too long', (text: string) => `${text}#${'.'.repeat(256 * 1024)}\n`, 1, 'it is longer than 262144'],
  ['a list', () => '- 1\n', 1, 'it is no list of fields'],
  ['nothing', () => '', 1, 'it is no list of fields'],
  ['no YAML', () => 'a: "\n', 2, ''],
  ['an alias', (text: string) => text.replace('name: web', 'name: &a web').replace('tiny', '*a'), 1, 'aliases'],
])('%s is refused with its line', (_what, change, line, problem) => {
  const said = complaint(change);
  expect(said).toContain(problem);
  expect(said).toMatch(new RegExp(`^not-a-machine vm.yaml, line ${line}: `));
});

test('a text of many fields takes no longer than their number says', () => {
  const many = Array.from({ length: 20_000 }, (_, index) => `k${index}: b`).join('\n');
  const beganMs = performance.now();
  expect(() => parseVmYaml(many, 'vm.yaml')).toThrow('"version" is missing');
  // With the square of it this took 20 s.
  expect(performance.now() - beganMs).toBeLessThan(5000);
});
