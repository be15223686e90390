/**
 * The command line as people see it: commands, options, help. It only reads the words; what they ask for is in commands/, loaded when it
 * is needed, so that no command waits for the code of another one.
 */

import type { MachineOptions } from '@ringfence/core';
import { Command, CommanderError, Option } from 'commander';
import { addAdviseCommand } from './advise-command.ts';
import { listOption } from './list-option.ts';
import { addDaemonCommands } from './daemon-commands.ts';
import type { BootOptions } from './commands/boot.ts';
import type { CpOptions } from './commands/cp.ts';
import type { DemoOptions } from './commands/demo.ts';
import type { CreateOptions } from './commands/disk.ts';
import type { ExecOptions } from './commands/exec.ts';
import type { ListOptions as ImageListOptions, PullOptions, RemoveOptions } from './commands/image.ts';
import type { ListOptions } from './commands/ps.ts';
import type { RunOptions } from './commands/run.ts';
import { FORK_DETAILS, STOP_DETAILS } from './commands/details.ts';
import type { ForkOptions } from './commands/fork.ts';
import type { StopOptions } from './commands/stop.ts';
import { ringfenceVersion, version } from './commands/version.ts';
import { EXIT } from './exit-codes.ts';
import { CliError } from './failure.ts';

/** Where help and complaints go. */
export interface Surroundings {
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
}

const DEFAULT_MEMORY = '512M';
const DEFAULT_PORT = '8080';

const EXAMPLES = `
Examples:
  ringfence run                               a shell in a new Linux machine; Ctrl-A X ends it
  ringfence run -- uname -a                   one command, its output and its exit code
  tar c src | ringfence run -- tar t          the command reads what is piped in
  ringfence run --disk data.img -- mount /dev/vda /mnt
  ringfence disk create --backing base.qcow2 mine.qcow2
  ringfence run --share .:/work -- ls /work   a folder of yours in the machine
  ringfence run --publish 8080:80 -- sh -c 'mkdir /www && httpd -f -h /www'
  ringfence boot --kernel Image --append console=ttyS0
  ringfence image ls                          what is in the cache

From another terminal, while "ringfence run --name web" runs:
  ringfence ps                                the machines that run
  ringfence exec -it web sh                   a shell in one of them
  ringfence cp web:/etc/motd .                files out of it, or into it
  ringfence stop web                          shuts it down

Machines that stay, while "ringfence host" runs:
  ringfence create --name db --disk 10G       makes one; "start", "stop", "pause", "reset", "rm" and so on
  ringfence ls                                those there are, running or not

The first run fetches Debian's kernel and busybox from the mirror that apt is set to, or the one in
RINGFENCE_MIRROR. Everything is kept in the cache (RINGFENCE_CACHE); the next run needs no network.
"ringfence help COMMAND" tells more of a command.`;

const DISK_DETAILS = `
A disk is FILE[,format=raw|qcow2][,readonly][,snapshot][,cache=writeback|writethrough|none|unsafe][,bus=pci|mmio].
With "snapshot" what the guest writes is gone afterwards, and machines may share the image. Without "format" the
file's first bytes say what it is; then the guest of a raw disk may not make it look like something else.
`;

const RUN_DETAILS = `
Without a command there is a shell: on your terminal, or reading its commands from stdin. Where stdin, stdout
and stderr are a terminal the command gets one too: Ctrl-A X ends the machine, Ctrl-A Ctrl-A types a Ctrl-A.
Otherwise stdin is fed to the command, and its stdout and stderr stay apart.

Disks are /dev/vda, /dev/vdb ... in their order; with the image debian /dev/vda is the system, and yours follow.
${DISK_DETAILS}
A shared folder is the host's own: what one side writes the other sees, at once or within a second. Nothing
outside of it can be reached, and with :ro nothing is changed.

The machine reaches what this computer reaches, and this computer itself as 10.0.2.2. From outside it is reached
through --publish [ADDRESS:]PORT:GUESTPORT[/udp] alone; without ADDRESS from this computer only.

While it runs, "ringfence ps", "exec", "cp", "console" and "stop" reach it by its name from another terminal.

Exit codes: the command's own; 124 when the time was over; 125 when the machine could not be started or its
kernel panicked; 126 and 127 when the command cannot be run or is not there; 128+N when signal N ended it.

Examples:
  ringfence run
  ringfence run -- sh -c 'echo hello; exit 3'
  echo 'uname -a; cat /etc/os-release' | ringfence run
  ringfence run --share ~/data:/data:ro --share .:/work -- sh -c 'sort /data/list >/work/sorted'
  ringfence run --suite testing --memory 1G --timeout 30s -- cat /proc/cpuinfo
  ringfence run --name web --publish 8080:80 --env TITLE=Hello --workdir /www -- httpd -f -h /www`;

const EXEC_DETAILS = `
The command has what "ringfence run" was given with --env, --user and --workdir, unless it is said anew. Without -i
it reads nothing. With -t it has a terminal of its own; with both, as for a shell, Ctrl-A X leaves the command.
SIGINT, SIGTERM and SIGHUP are passed on to it; the same one again leaves it. Leaving the command ends it.

Exit codes: the command's own; 125 when there is no such machine or the command was not started; 126 and 127
when it cannot be run or is not there; 128+N when signal N ended it.

Examples:
  ringfence exec web uname -a
  ringfence exec -it web sh
  tar c src | ringfence exec -i --workdir /tmp web tar x`;

const CP_DETAILS = `
Where a copy ends up is as in "docker cp": a file goes to the destination's name, or into it where that is a folder;
a folder goes into a folder that is there, and with "/." at its end only what is in it does; a destination that is
not there gets the copy's content. The folder above it must be there. A path without "/" at its beginning is the
root's in a machine, and the current folder's here; "./a:b" is a file of this computer.
Links are copied as links. Modes and times are kept; owners are, with -a, where root may give them.

Examples:
  ringfence cp web:/etc/os-release .
  ringfence cp site/. web:/www
  ringfence cp web:/var/log db:/tmp`;

const CONSOLE_DETAILS = `
What the machine writes to its serial console is shown, and what is typed goes there: the kernel's messages, and a
shell where the image has none on its console. Several may look at the same time. Ctrl-A X leaves the console;
Ctrl-A Ctrl-A types a Ctrl-A.

Example:
  ringfence console web`;

const PS_DETAILS = `
Examples:
  ringfence ps
  ringfence ps --json`;

const BOOT_DETAILS = `
Without --bios Ringfence is the firmware itself and starts the kernel in S-mode. With --bios FILE real firmware
starts in M-mode and finds the kernel as on QEMU. With --bios none the kernel starts in M-mode at 0x80000000;
that is also how FILE starts. An ELF file with a symbol "tohost" ends the machine by writing there (HTIF).
Where stdin is a terminal, Ctrl-A X ends the machine.
${DISK_DETAILS}
Exit codes: 0 when the guest switched off; the guest's own failure code; 124 when the time was over; 125 when
the machine could not be started; 128+N when signal N ended it.

Examples:
  ringfence boot --kernel vmlinuz --initrd initrd.img --append 'console=ttyS0 root=/dev/vda' --disk root.img
  ringfence boot --bios fw_dynamic.bin --kernel u-boot.bin
  ringfence boot program.elf
  ringfence boot --dump-dtb machine.dtb`;

const DEMO_DETAILS = `
Serves a page on this computer alone (127.0.0.1) and prints its address; Ctrl-C ends it. The machine runs in the
page: this command only brings the page and the image there. In the address, ?memory=512M asks for a larger
machine and ?engine=interpreter for an engine.

Examples:
  ringfence demo
  ringfence demo --port 0 --suite testing`;

/** What a command line says beside what Commander reads, and how it ends. */
interface Said {
  /** What follows two dashes, if there are any: the guest's, whatever it looks like. */
  forGuest: readonly string[] | undefined;
  code: number;
}

/** All commands and options, before there are words: it takes as long as reading them. For one command line. */
export interface PreparedProgram {
  readonly program: Command;
  readonly said: Said;
  readonly surroundings: Surroundings;
}

export function prepareProgram(surroundings: Surroundings): PreparedProgram {
  const said: Said = { forGuest: undefined, code: EXIT.OK };
  return { program: makeProgram(surroundings, said), said, surroundings };
}

/** Reads the words and does what they say; gives the exit code. Errors of commands are thrown, those of the words are written. */
export function runCommandLine(words: readonly string[], surroundings: Surroundings): Promise<number> {
  return runPrepared(words, prepareProgram(surroundings));
}

/** The same with what was prepared before. */
export async function runPrepared(
  words: readonly string[],
  { program, said, surroundings }: PreparedProgram,
): Promise<number> {
  const dashes = words.indexOf('--');
  const own = dashes < 0 ? words : words.slice(0, dashes);
  said.forGuest = dashes < 0 ? undefined : words.slice(dashes + 1);
  if (own.length === 0) {
    surroundings.stderr(program.helpInformation() + EXAMPLES.trimStart() + '\n');
    return EXIT.USAGE;
  }
  try {
    await program.parseAsync(own, { from: 'user' });
    return said.code;
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return EXIT.OK;
    // As `docker run` and `env` do: a failure before the command is not to be taken for the command's.
    return failsBeforeCommand(own[0]) ? EXIT.NO_MACHINE : EXIT.USAGE;
  }
}

/** Whether a command's exit codes are those of a guest's command: a failure of Ringfence's own is 125 then. */
export function failsBeforeCommand(command: string | undefined): boolean {
  return command === 'run' || command === 'boot' || command === 'exec';
}

function makeProgram({ stdout, stderr }: Surroundings, said: Said): Command {
  const end = (code: number): void => {
    said.code = code;
  };
  const program = new Command('ringfence')
    .description('Runs Linux virtual machines on a hypervisor of its own: no KVM, no root, nothing but Node.')
    .version(ringfenceVersion(), '-V, --version', 'print the version')
    .exitOverride()
    .configureOutput({ writeOut: stdout, writeErr: stderr, outputError: (text, write) => write(oneSentence(text)) })
    .configureHelp({ showGlobalOptions: false })
    .helpCommand('help [command]', 'tell more of a command')
    // What follows the command of `exec` is the guest's.
    .enablePositionalOptions()
    .addHelpText('after', EXAMPLES);

  program
    .command('run')
    .summary('run a command, or a shell, in a new Linux machine')
    .description('Runs a command, or a shell, in a new Linux machine that is gone afterwards.')
    .usage('[options] [image] [-- command arguments...]')
    .argument('[image]', 'what to run it in', 'tiny')
    .option('--name <name>', 'what "ringfence ps", "exec" and the like call it (default: two words of ours)')
    .option('--cpus <number>', 'processors of the machine', '1')
    .option('--forkable', 'several processors take turns on one thread, so that "ringfence fork" can copy the machine')
    .addOption(cpuOptions.shares())
    .addOption(cpuOptions.reservation())
    .addOption(cpuOptions.limit())
    .addOption(cpuOptions.bucket())
    .option('--memory <size>', 'memory of the machine, like 512M or 2G (default: as much as the image wants)')
    .addOption(
      listOption('--env <name[=value]>', 'set a variable for the command, or pass on the one here; may be given again'),
    )
    .option('--user <name>', "who runs the command: a name or number of the guest's (default: root)")
    .option('--workdir <folder>', "where the command runs (default: the user's home)")
    .addOption(diskOption())
    .addOption(
      shareOption('host:guest', 'folder of the host to mount in the guest, ":ro" for reading only; may be given again'),
    )
    .option('--net <name>', 'user: a network of its own; none; or the name of a network', 'user')
    .addOption(publishOption())
    .option('--capture <file>', "write the machine's network traffic to a pcapng file")
    .option('--append <text>', "words to add to the kernel's command line")
    .addOption(timeoutOption())
    .addOption(suiteOption())
    .addOption(mirrorOption())
    .addOption(packagesOption())
    .option('--user-data <file>', 'cloud-init user data for the image debian: host name, users, keys, files, commands')
    .option('--meta-data <file>', 'cloud-init meta-data for the image debian: instance-id, local-hostname, public-keys')
    .option('--network-config <file>', 'cloud-init network-config, version 2, for the image debian')
    .option('--no-snapshot', 'boot, instead of going on from a machine like it that was kept when it had booted')
    .option('--verbose', "show the guest's boot messages on stderr")
    .addOption(engineOption())
    .option('--stats', 'report on stderr where the time went, when the machine has ended')
    .option('--json', 'the report of --stats as one line of JSON')
    .addHelpText('after', RUN_DETAILS)
    .allowExcessArguments()
    .action(async (image: string, options: RunOptions, command: Command) => {
      if (command.args.length > 1) throw missingDashes(command.args);
      const { run } = await import('./commands/run.ts');
      end(await run(image, said.forGuest ?? [], options));
    });

  program
    .command('boot')
    .summary('boot a kernel, firmware or bare program on the serial console')
    .description('Boots anything made for QEMU\'s machine "virt", with its serial console on stdin and stdout.')
    .argument('[file]', 'a bare program (ELF), started in M-mode')
    .option('--kernel <file>', 'kernel: a Linux image, compressed or not, or ELF')
    .option('--initrd <file>', 'initial ramdisk')
    .option('--append <text>', "the kernel's command line")
    .option('--bios <file|none>', 'firmware, or none; without it Ringfence is the firmware')
    .addOption(memoryOption())
    .option('--cpus <number>', 'processors of the machine (default: 1)')
    .addOption(diskOption())
    .addOption(
      shareOption(
        'host:tag',
        'folder of the host for the guest to mount by its tag (virtiofs), ":ro" for reading only; may be given again',
      ),
    )
    .option('--dump-dtb <file>', "write the machine's device tree to a file and end")
    .addOption(timeoutOption())
    .addOption(engineOption())
    .option('--stats', 'report on stderr where the time went, when the machine has ended')
    .option('--json', 'the report of --stats as one line of JSON')
    .addHelpText('after', BOOT_DETAILS)
    .action(async (file: string | undefined, options: BootOptions) => {
      const { boot } = await import('./commands/boot.ts');
      end(await boot(file, options));
    });

  program
    .command('demo')
    .summary('a machine in the browser')
    .description('Serves a page that a Linux machine runs in, with its terminal.')
    .option('--port <number>', 'where to listen; 0 for any free port', DEFAULT_PORT)
    .addOption(suiteOption())
    .addOption(mirrorOption())
    .addHelpText('after', DEMO_DETAILS)
    .action(async (options: DemoOptions) => {
      const { demo } = await import('./commands/demo.ts');
      end(await demo(options));
    });

  addAdviseCommand(program, end);
  addMachineCommands(program, said, end);
  addDaemonCommands(program, { create: createOptions() }, end);
  addImageCommands(program, end);
  addDiskCommands(program, end);

  program
    .command('version')
    .description('Prints the version and what it runs on.')
    .summary('print the version')
    .option('--json', 'print JSON')
    .action((options: { json?: boolean }) => end(version(options)));
  return program;
}

/** What can be done with a machine that runs. */
function addMachineCommands(program: Command, said: Said, end: (code: number) => void): void {
  program
    .command('ps')
    .summary('list the machines that run')
    .description('Lists the virtual machines of this user that run.')
    .option('--json', 'print JSON')
    .addHelpText('after', PS_DETAILS)
    .action(async (options: ListOptions) => {
      const { listMachines } = await import('./commands/ps.ts');
      end(await listMachines(options));
    });
  program
    .command('exec')
    .summary('run a command in a machine that runs')
    .description('Runs a command in a virtual machine that runs.')
    .usage('[options] <name> <command> [arguments...]')
    .argument('<name>', 'the machine')
    .argument('[command...]', 'the command and its arguments')
    .option('-i, --interactive', 'give the command what is typed or piped in')
    .option('-t, --tty', 'give the command a terminal')
    .addOption(listOption('-e, --env <name[=value]>', 'set a variable, or pass on the one here; may be given again'))
    .option('-u, --user <name>', "who runs the command: a name or number of the guest's")
    .option('-w, --workdir <folder>', 'where the command runs')
    .passThroughOptions()
    .addHelpText('after', EXEC_DETAILS)
    .action(async (name: string, words: readonly string[], options: ExecOptions) => {
      const { exec } = await import('./commands/exec.ts');
      // Two dashes within the command are its own.
      const { forGuest = [] } = said;
      const dashes = words.length > 0 && said.forGuest !== undefined ? ['--'] : [];
      end(await exec(name, [...words, ...dashes, ...forGuest], options));
    });
  program
    .command('cp')
    .summary('copy files into or out of a machine that runs')
    .description('Copies a file or folder between this computer and virtual machines that run.')
    .argument('<source>', 'PATH, or NAME:PATH in a machine')
    .argument('<destination>', 'PATH, or NAME:PATH in a machine')
    .option('-a, --archive', 'keep owners, and modes whole')
    .option('-L, --follow-link', 'copy what the source leads to, where it is a link')
    .option('-u, --user <name>', 'whose eyes and hands in the guest it is done with (default: root)')
    .addHelpText('after', CP_DETAILS)
    .action(async (source: string, destination: string, options: CpOptions) => {
      const { copyFiles } = await import('./commands/cp.ts');
      end(await copyFiles(source, destination, options));
    });
  program
    .command('console')
    .summary('look at and type at the serial console of a machine that runs')
    .description('Connects this terminal with the serial console of a virtual machine that runs.')
    .argument('<name>', 'the machine')
    .addHelpText('after', CONSOLE_DETAILS)
    .action(async (name: string) => {
      const { attachConsole } = await import('./commands/console.ts');
      end(await attachConsole(name));
    });
  program
    .command('fork')
    .summary('copy a machine that runs')
    .description('Makes virtual machines that go on from where one is that runs, and writes their names.')
    .argument('<name>', 'the machine')
    .option('--count <n>', 'how many; as many as there are names, or one')
    .option('--name <name...>', 'what they are called; else as the machine, with a number')
    .option('--json', 'print JSON, failures too')
    .addHelpText('after', FORK_DETAILS)
    .action(async (name: string, options: ForkOptions) => {
      const { forkMachine } = await import('./commands/fork.ts');
      end(await forkMachine(name, options));
    });
  program
    .command('stop')
    .summary('shut down machines that run')
    .description('Shuts down virtual machines that run.')
    .argument('<name...>', 'the machines')
    .option('--timeout <time>', 'how long a guest may take, like 30s', '10s')
    .option('--json', 'print JSON, failures too')
    .addHelpText('after', STOP_DETAILS)
    .action(async (names: readonly string[], options: StopOptions) => {
      const { stopMachines } = await import('./commands/stop.ts');
      end(await stopMachines(names, options));
    });
}

function addImageCommands(program: Command, end: (code: number) => void): void {
  const image = program
    .command('image')
    .summary('list, fetch and remove cached images')
    .description('Lists, fetches and removes the images in the cache.')
    .helpCommand(false);
  image
    .command('ls')
    .description('Lists the cached images.')
    .option('--json', 'print JSON')
    .option('--verify', "compare the images' files with their hashes")
    .action(async (options: ImageListOptions) => {
      const { imageList } = await import('./commands/image.ts');
      end(await imageList(options));
    });
  image
    .command('pull')
    .description('Fetches what the suite has now.')
    .argument('[image]', 'what to fetch', 'tiny')
    .addOption(suiteOption())
    .addOption(mirrorOption())
    .addOption(packagesOption())
    .option('--json', 'print JSON')
    .action(async (name: string, options: PullOptions) => {
      const { imagePull } = await import('./commands/image.ts');
      end(await imagePull(name, options));
    });
  image
    .command('rm')
    .description('Removes an image from the cache.')
    .argument('<image>', 'what to remove')
    .addOption(suiteOption())
    .addOption(packagesOption())
    .option('--json', 'print JSON')
    .action(async (name: string, options: RemoveOptions) => {
      const { imageRemove } = await import('./commands/image.ts');
      end(await imageRemove(name, options));
    });
}

function addDiskCommands(program: Command, end: (code: number) => void): void {
  const disk = program.command('disk').summary('make disk images').description('Makes disk images.').helpCommand(false);
  disk
    .command('create')
    .description('Makes a qcow2 image, empty or in front of another one, which stays as it is.')
    .argument('<file>', 'the new image')
    .option('--size <size>', "like 512M or 10G (default: the backing image's size)")
    .option('--backing <file>', 'image behind the new one, raw or qcow2; machines may share it')
    .option('--backing-format <format>', 'raw or qcow2 (default: what its first bytes say)')
    .action(async (file: string, options: CreateOptions) => {
      const { diskCreate } = await import('./commands/disk.ts');
      end(await diskCreate(file, options));
    });
}

/** What a machine may have of this computer's processors (docs/processors.md). */
const cpuOptions = {
  shares: () =>
    new Option('--cpu-shares <number>', 'weight beside other machines where there is not enough (default: 1000)'),
  reservation: () =>
    new Option('--cpu-reservation <pct>', 'what it has whenever it wants it, in percent of one processor'),
  limit: () => new Option('--cpu-limit <pct>', 'what it never has more than, in percent of one processor'),
  bucket: () => new Option('--cpu-bucket <ms/ms/ms>', 'processor time that comes each interval, and is kept at most'),
} as const;

/** What a machine that stays can be told, as `run` is. */
function createOptions(): Option[] {
  return [
    new Option('--name <name>', 'what it is called (default: two words of ours)'),
    new Option('--cpus <number>', 'processors of the machine (default: 1)'),
    ...Object.values(cpuOptions).map((option) => option()),
    new Option('--memory <size>', 'memory of the machine, like 512M or 2G (default: as much as the image wants)'),
    new Option('--overcommit', 'let it have less than that where there is not enough for all'),
    new Option('--memory-shares <number>', 'weight beside other machines then (default: 1000)'),
    new Option('--memory-reservation <size>', 'what it never has to give'),
    new Option('--memory-limit <size>', "what it has of the host's memory at most"),
    new Option(
      '--label <name>',
      'let it share a process, and pages that are equal, with machines of the same trust label',
    ),
    new Option('--disk <size|file[,readonly]>', 'a disk for it; may be given again; see below')
      .default([], 'none')
      .argParser((file: string, before: readonly string[]) => [...before, file]),
    new Option('--net <name>', 'user: a network of its own; or none').choices(['user', 'none']),
    publishOption(),
    listOption('--env <name[=value]>', 'a variable for all commands, or the one here; may be given again'),
    new Option('--user <name>', "who runs commands: a name or number of the guest's (default: root)"),
    new Option('--workdir <folder>', "where commands run (default: the user's home)"),
    new Option('--append <text>', "words to add to the kernel's command line"),
    engineOption(),
    suiteOption(),
    mirrorOption(),
    packagesOption(),
    new Option('--user-data <file>', 'cloud-init user data for the image debian'),
    new Option('--meta-data <file>', 'cloud-init meta-data for the image debian'),
    new Option('--network-config <file>', 'cloud-init network-config, version 2, for the image debian'),
  ];
}

function missingDashes(words: readonly string[]): CliError {
  return new CliError(`a command comes after two dashes: ringfence run -- ${words.join(' ')}`, EXIT.NO_MACHINE);
}

function memoryOption(): Option {
  return new Option('--memory <size>', 'memory of the machine, like 512M or 2G').default(DEFAULT_MEMORY);
}

function diskOption(): Option {
  return new Option('--disk <file[,settings]>', 'disk image, raw or qcow2; may be given again; see below')
    .default([], 'none')
    .argParser((file: string, before: readonly string[]) => [...before, file]);
}

function engineOption(): Option {
  return new Option('--engine <name>', "what runs the guest's instructions (default: the fastest there is)").choices([
    'interpreter',
    'jit',
  ] satisfies NonNullable<MachineOptions['engine']>[]);
}

function shareOption(form: string, description: string): Option {
  return new Option(`--share <${form}>`, description)
    .default([], 'none')
    .argParser((share: string, before: readonly string[]) => [...before, share]);
}

function publishOption(): Option {
  return new Option(
    '--publish <ports>',
    'let a port of this computer lead into the machine, like 8080:80; may be given again',
  )
    .default([], 'none')
    .argParser((ports: string, before: readonly string[]) => [...before, ports]);
}

function timeoutOption(): Option {
  return new Option('--timeout <time>', 'end the machine after a time like 30s or 5m, counted from its start');
}

function suiteOption(): Option {
  return new Option('--suite <name>', "Debian's suite: stable, testing, sid or a code name (default: stable)");
}

function packagesOption(): Option {
  return new Option('--packages <names>', 'packages the image debian has beside its own, like nginx,python3');
}

function mirrorOption(): Option {
  return new Option('--mirror <url>', 'Debian mirror to fetch from (default: RINGFENCE_MIRROR, or as apt is set)');
}

/** "error: unknown option '--x'\n(Did you mean --y?)\n" as one of our sentences. */
function oneSentence(text: string): string {
  const words = text
    .trim()
    .replace(/^error: /, '')
    .replaceAll(/\s*\n\s*/g, ' ');
  return `ringfence: ${words}; "ringfence help" shows what there is\n`;
}
