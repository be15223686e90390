/** What is counted, for Prometheus (its text format, version 0.0.4). */

import type { HostMemory, LongOperation, UsageView } from '@ringfence/api';
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';

export interface Gauged {
  readonly counts: () => Record<string, number>;
  readonly forks: () => Record<string, number>;
  readonly usage: () => Promise<readonly UsageView[]>;
  readonly memory: (usages: readonly UsageView[]) => HostMemory;
}

/** Of memory, of a machine and of all of them: by the label `kind`. */
const KINDS = ['zero', 'shared', 'saved', 'balloon', 'compressed', 'paged'] as const;

export class Metrics {
  readonly #registry = new Registry();
  readonly #requests: Counter<'operation' | 'status'>;
  readonly #seconds: Histogram<'operation'>;
  readonly #operations: Counter<'kind' | 'result'>;
  readonly #transitions: Counter<'to'>;
  readonly #measure: () => Promise<void>;

  constructor({ counts, forks: forkCounts, usage, memory }: Gauged) {
    const registers = [this.#registry];
    collectDefaultMetrics({ register: this.#registry });
    this.#requests = new Counter({
      name: 'ringfence_requests_total',
      help: 'Requests that were answered.',
      labelNames: ['operation', 'status'],
      registers,
    });
    this.#seconds = new Histogram({
      name: 'ringfence_request_seconds',
      help: 'How long answers took.',
      labelNames: ['operation'],
      buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60],
      registers,
    });
    this.#operations = new Counter({
      name: 'ringfence_operations_total',
      help: 'Long operations that are over.',
      labelNames: ['kind', 'result'],
      registers,
    });
    this.#transitions = new Counter({
      name: 'ringfence_state_changes_total',
      help: 'Changes of the state of virtual machines.',
      labelNames: ['to'],
      registers,
    });
    const machines = new Gauge({
      name: 'ringfence_machines',
      help: 'Virtual machines in each state.',
      labelNames: ['state'],
      registers,
      collect() {
        machines.reset();
        for (const [state, count] of Object.entries(counts())) machines.set({ state }, count);
      },
    });
    const forks = new Gauge({
      name: 'ringfence_machine_forks',
      help: 'Forks of a virtual machine that run in its process, with which they share what its other figures say.',
      labelNames: ['name'],
      registers,
      collect() {
        forks.reset();
        for (const [name, count] of Object.entries(forkCounts())) forks.set({ name }, count);
      },
    });
    const measured = <Label extends string>(
      name: string,
      help: string,
      ...labelNames: readonly Label[]
    ): Gauge<Label> => new Gauge({ name, help, labelNames: [...labelNames], registers });
    const perMachine = (name: string, help: string): Gauge<'name'> => measured(name, help, 'name');
    const resident = perMachine('ringfence_machine_resident_bytes', "Memory of a virtual machine's process.");
    const guest = perMachine('ringfence_machine_guest_bytes', 'Memory that the guest has touched.');
    const instructions = perMachine(
      'ringfence_machine_instructions',
      'Instructions that the guest has executed in this run.',
    );
    const configured = perMachine('ringfence_machine_memory_bytes', 'Memory that the guest has been given.');
    const pool = perMachine(
      'ringfence_machine_pool_bytes',
      'Memory that a virtual machine with overcommit may have now.',
    );
    const pages = measured(
      'ringfence_machine_pages_bytes',
      "What has become of a guest's memory: zero, shared, saved by sharing, balloon, compressed, paged.",
      'name',
      'kind',
    );
    const ofHost = measured(
      'ringfence_host_memory_bytes',
      'Memory of all virtual machines that run, and what they may have and have reserved.',
      'kind',
    );
    const done = measured(
      'ringfence_machine_io',
      'Disk operations, and bytes of disks and networks, in this run.',
      'name',
      'kind',
    );
    const cpu = perMachine(
      'ringfence_machine_cpu_seconds',
      "Processor time of a virtual machine's process in this run.",
    );
    this.#measure = async () => {
      const usages = await usage();
      for (const gauge of [resident, guest, instructions, cpu, configured, pool]) gauge.reset();
      for (const gauge of [pages, done]) gauge.reset();
      for (const [kind, bytes] of Object.entries(memory(usages)))
        ofHost.set({ kind: kind.replace('Bytes', '') }, bytes);
      for (const each of usages) {
        configured.set({ name: each.name }, each.memoryBytes);
        if (each.memory?.pool !== undefined) pool.set({ name: each.name }, each.memory.pool.bytes);
        for (const kind of KINDS) pages.set({ name: each.name, kind }, each.memory?.[`${kind}Bytes`] ?? 0);
        for (const [kind, count] of Object.entries(each.io ?? {})) done.set({ name: each.name, kind }, count);
        resident.set({ name: each.name }, each.residentBytes);
        guest.set({ name: each.name }, each.guestResidentBytes);
        instructions.set({ name: each.name }, each.instructions);
        cpu.set({ name: each.name }, each.cpuMs / 1000);
      }
    };
  }

  answered(operation: string, status: number, milliseconds: number): void {
    this.#requests.inc({ operation, status: String(status) });
    this.#seconds.observe({ operation }, milliseconds / 1000);
  }

  ended({ kind, state, error }: LongOperation): void {
    this.#operations.inc({ kind, result: state === 'done' ? 'done' : (error?.code ?? 'failed') });
  }

  changed(to: string): void {
    this.#transitions.inc({ to });
  }

  async text(): Promise<string> {
    // All of them before any is read: the registry reads a gauge that collects for others at the same time as these.
    await this.#measure();
    return this.#registry.metrics();
  }
}
