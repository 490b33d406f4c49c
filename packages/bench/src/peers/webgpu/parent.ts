// bench webgpu-peers: the same work on one WebGPU adapter in Darkroom and in other libraries, same run, interleaved,
// one process each. Every form's result is compared with the CPU backend's before anything is timed.

import { summarize } from '../../measure.ts';
import type { Timing } from '../../measure.ts';
import { Child } from './child-process.ts';
import { chooseForm } from './choose.ts';
import type { FormReport, TriedForm } from './choose.ts';
import type { CandidateName, Opened } from './protocol.ts';
import { referenceOf } from './reference.ts';
import { works } from './work.ts';
import type { WorkId } from './work.ts';

export interface PeerRow extends Timing {
  readonly form: string;
  readonly gflops: number;
  readonly firstMs: number;
  readonly includesReadback: boolean;
  /** All forms that were tried, the chosen one among them. */
  readonly forms: readonly TriedForm[];
}

export interface WorkReport {
  readonly work: WorkId;
  readonly rows: readonly PeerRow[];
  /** The best peer's time over Darkroom's, by each one's fastest and median run. */
  readonly ratio?: { readonly peer: string; readonly fastest: number; readonly median: number };
}

export interface WebgpuPeers {
  readonly adapter: string;
  readonly versions: Readonly<Record<string, string>>;
  readonly works: readonly WorkReport[];
  /** Candidates that did not open or have no form of a work that runs. */
  readonly failures: readonly string[];
}

export interface WebgpuPeersOptions {
  readonly works: readonly WorkId[];
  readonly candidates: readonly CandidateName[];
  readonly rounds: number;
  /** Time of each candidate per round; at least one run is made. */
  readonly seconds: number;
  readonly onProgress?: (line: string) => void;
}

export async function benchWebgpuPeers(options: WebgpuPeersOptions): Promise<WebgpuPeers> {
  const failures: string[] = [];
  const note = (error: unknown): void => void failures.push((error as Error).message);
  const opened = new Map<Child, Opened>();
  const children: Child[] = [];
  try {
    for (const name of options.candidates) {
      const child = new Child(name);
      children.push(child);
      await child.ask({ kind: 'open' }).then((reply) => opened.set(child, reply), note);
    }
    if (opened.size === 0) throw new Error(`no candidate opened: ${failures.join('; ')}`);
    const adapters = new Set([...opened.values()].map((o) => o.adapter));
    if (adapters.size > 1)
      throw new Error(`candidates are on different adapters: ${[...adapters].join('; ')}`);
    const reports: WorkReport[] = [];
    for (const work of options.works) reports.push(await benchWork(work, opened, options, note));
    return {
      adapter: [...adapters][0]!,
      versions: Object.assign({}, ...[...opened.values()].map((o) => o.versions)) as Record<string, string>,
      works: reports,
      failures,
    };
  } finally {
    for (const child of children) child.kill();
  }
}

interface Runner {
  readonly child: Child;
  readonly chosen: FormReport;
  readonly forms: readonly TriedForm[];
  readonly times: number[];
}

async function benchWork(
  work: WorkId,
  opened: ReadonlyMap<Child, Opened>,
  options: WebgpuPeersOptions,
  note: (error: unknown) => void,
): Promise<WorkReport> {
  const reference = await referenceOf(work);
  const runners: Runner[] = [];
  for (const [child, { forms }] of opened) {
    const choice = await chooseForm(child, work, forms[work], reference, options.onProgress);
    if (choice.chosen) runners.push({ child, chosen: choice.chosen, forms: choice.forms, times: [] });
    else note(new Error(`${work}: ${child.name}: no form of it ran`));
  }
  for (let round = 0; round < options.rounds; round++) {
    for (const { child, chosen, times } of runners) {
      times.push(...(await child.ask({ kind: 'run', form: chosen.form, seconds: options.seconds })));
    }
  }
  for (const { child, chosen } of runners) await child.ask({ kind: 'release', form: chosen.form });

  const rows = runners.map(({ child, chosen, forms, times }): PeerRow => {
    const timing = summarize(child.name, times);
    return {
      ...timing,
      form: chosen.form,
      gflops: works[work].flops / timing.fastestMs / 1e6,
      firstMs: chosen.firstMs,
      includesReadback: opened.get(child)!.includesReadback,
      forms,
    };
  });
  return { work, rows, ...ratioOf(rows) };
}

function ratioOf(rows: readonly PeerRow[]): Pick<WorkReport, 'ratio'> {
  const ours = rows.find((row) => row.name === 'darkroom');
  const peers = rows.filter((row) => row !== ours);
  if (!ours || peers.length === 0) return {};
  const best = peers.toSorted((a, b) => a.fastestMs - b.fastestMs)[0]!;
  const median = Math.min(...peers.map((row) => row.medianMs));
  return {
    ratio: { peer: best.name, fastest: best.fastestMs / ours.fastestMs, median: median / ours.medianMs },
  };
}
