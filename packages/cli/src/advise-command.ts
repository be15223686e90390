/** The words of `ringfence advise`. */

import type { Command } from 'commander';
import type { AdviseOptions } from './commands/advise.ts';
import { listOption } from './list-option.ts';

const ADVISE_DETAILS = `
A record is what sar printed ("sar -A"), or "sadf -d FILE -- -u -r -b -n DEV", or a table of comma-separated values
with the heads time, name, cpu_cores, memory_bytes, disk_operations, disk_bytes, network_bytes (those there are).
Files of one machine are put together.

A machine is advised as many vCPUs as its processor time needs at the 95th percentile when they are used to 70 %,
from one on; and the most memory it used and a quarter. A host carries what keeps its processors busy to 80 % at the
worst ten minutes of a day, when days are like those of the record, and its memory full to 90 %, without overcommit;
and its disks and network to what --host-disk, --host-iops and --host-network say, which bind only when they are given.
With --live, the machines of the daemon that run are watched, all or those that are named, and each is told beside
what it has; --record keeps what was seen as such a table. A day tells more than ten minutes.

Guest code is translated, so a core of the record is taken for 4 of the host's; --cpu-factor 1 is for records of
machines that ran here, and what --live takes. docs/advice.md calculates an example by hand.

Examples:
  ringfence advise web.sar db.sar
  ringfence advise --host-cpus 32 --host-memory 128G --cpus old=4 records/*
  ringfence advise --json monday.csv
  ringfence advise --live --for 10m
  ringfence advise --live --every 1m --for 24h --record day.csv web db`;

export function addAdviseCommand(program: Command, end: (code: number) => void): void {
  program
    .command('advise')
    .summary('how large machines have to be for recorded loads, and how many fit on a host')
    .description('Says of recorded loads how large machines for them have to be, and how many of them fit on a host.')
    .usage('[options] [file or machine...]')
    .argument(
      '[file...]',
      'records: the output of sar or of "sadf -d", or comma-separated values; with --live, machines (default: all)',
    )
    .addOption(
      listOption('--cpus <name=number>', 'processors of a machine whose record does not say; may be given again'),
    )
    .option('--host-cpus <number>', 'processors of the host (default: those of this computer)')
    .option('--host-memory <size>', 'memory of the host, like 64G (default: that of this computer)')
    .option('--host-disk <MB/s>', 'what its disks read and write together (default: no limit)')
    .option('--host-iops <number>', 'their operations a second (default: no limit)')
    .option('--host-network <Mbit/s>', 'what its network sends and receives together (default: no limit)')
    .option('--cpu-factor <number>', "the host's cores that do the work of one of the record's (default: 4; live 1)")
    .option('--live', 'watch the machines of the daemon that run')
    .option('--every <time>', 'how often to look, like 10s (default: 10s)')
    .option('--for <time>', 'how long to watch, like 10m (default: until Ctrl-C)')
    .option('--record <file>', 'write what was seen, as comma-separated values that are read back')
    .option('--json', 'print JSON')
    .addHelpText('after', ADVISE_DETAILS)
    .action(async (files: readonly string[], options: AdviseOptions) => {
      const { advise } = await import('./commands/advise.ts');
      end(await advise(files, options));
    });
}
