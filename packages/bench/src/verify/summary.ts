// The tables that verify prints last: short enough to be read from the end of a log.

import { table } from '../report.ts';
import { fusedFloor, floorOf, groupNames, groupOfLabel, productFlops, readOpList } from './floor.ts';
import type { OpList, Rates } from './floor.ts';
import { features } from './image.ts';
import { modes } from './models.ts';
import type { ModeName } from './models.ts';
import type { PartName } from './modules.ts';
import type {
  CheckRecord, FactRecord, ItemRecord, KernelsRecord, RateRecord, StageRecord, TimingRecord, TorchReport, TorchRow, VerifyReport,
} from './records.ts'; // prettier-ignore

type Row = Record<string, string | number>;

/** Everything that was recorded, by kind. */
interface Found {
  readonly timings: readonly TimingRecord[];
  readonly rates: readonly RateRecord[];
  readonly kernels: readonly KernelsRecord[];
  readonly torch: readonly TorchReport[];
}

const modeNames = Object.keys(modes) as ModeName[];
const fixed = (x: number | undefined, digits = 2): string => (x === undefined ? '' : x.toFixed(digits));
const least = (values: readonly number[]): number | undefined =>
  values.length === 0 ? undefined : Math.min(...values);
const most = (values: readonly number[]): number | undefined =>
  values.length === 0 ? undefined : Math.max(...values);
const ratio = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined || b === undefined ? undefined : a / b;

/** `torchFolder` holds the op list that floors come from. */
export function summary(report: VerifyReport, torchFolder: string): string {
  const records = report.stages.flatMap((stage) => stage.records);
  const of = <K extends StageRecord['kind']>(kind: K): Extract<StageRecord, { kind: K }>[] =>
    records.filter((r): r is Extract<StageRecord, { kind: K }> => r.kind === kind);
  const found: Found = {
    timings: of('timing'),
    rates: of('rate'),
    kernels: of('kernels'),
    torch: of('torch').map((r) => r.report),
  };
  // Of other work than was recorded there is no floor.
  const ops = report.size === 'full' ? readOpList(torchFolder) : undefined;
  const sections: [string, readonly Row[]][] = [
    ['Smoke', of('item').map(itemRow)],
    ['Correctness', checkRows(of('check'))],
    ['Rates: TFLOP/s of the largest product, GB/s of a copy', rateRows(found)],
    ['Stable Diffusion 1.5 (ms; UNet and text at batch 2)', workRows(found, ops)],
    ['One picture, 50 steps with guidance, prompt to bytes (s)', imageRows(found, bestImages(found))],
    ['Feature by feature (s)', imageRows(found, features.map((f) => f.name))], // prettier-ignore
    [
      'Device time by group, float16 (ms; floors of all but products unfused)',
      groupRows({ ...found, kernels: found.kernels.filter((k) => k.mode.startsWith('float16')) }, ops),
    ],
    ['Slowest kernels of a UNet step', slowestRows(found)],
    [
      'Did not pass',
      report.stages
        .filter((s) => s.status !== 'passed')
        .map((s) => ({ stage: s.name, status: s.status, why: (s.message ?? '').slice(0, 140) })),
    ],
  ];
  const { environment: env } = report;
  return [
    ...sections.filter(([, rows]) => rows.length > 0).map(([title, rows]) => `${title}\n${table(rows)}\n`),
    ...torchLines(found),
    `${env.device}, Node ${env.node}, commit ${env.commit}, ${env.date}${report.size === 'tiny' ? '; tiny sizes: no measurement' : ''}`,
    libraryLine(of('fact')),
    gpuLine(report),
  ]
    .filter((line) => line !== '')
    .join('\n');
}

const itemRow = ({ name, error, ms, worst, lastLaunch }: ItemRecord): Row => ({
  item: name,
  ms: Math.round(ms),
  'of allowed': fixed(worst?.share, 3),
  'last kernel': lastLaunch.slice(0, 36),
  error: (error ?? '').slice(0, 140),
});

/** Counts of each check, over all its records. */
function checkRows(checks: readonly CheckRecord[]): Row[] {
  return [...new Set(checks.map((c) => c.name))].map((check) => {
    const own = checks.filter((c) => c.name === check);
    const sum = (count: (c: CheckRecord) => number): number => own.reduce((n, c) => n + count(c), 0);
    const [passed, failed, unsupported] = [sum((c) => c.passed), sum((c) => c.failures.length), sum((c) => c.unsupported)]; // prettier-ignore
    return { check, passed, failed, unsupported, of: own.find((c) => c.of !== undefined)?.of ?? passed + failed + unsupported }; // prettier-ignore
  });
}

const torchRates = (found: Found, name: 'matmul' | 'copy', mode?: string): number[] =>
  found.torch
    .flatMap((t) => t.rates ?? [])
    .filter((r) => r.name === name && (mode === undefined || r.mode === mode))
    .map((r) => r.perSecond);
const ownRates = (found: Found, name: 'matmul' | 'copy', mode?: string): number[] =>
  found.rates
    .filter((r) => r.name === name && (mode === undefined || r.mode === mode))
    .map((r) => r.perSecond);

function rateRows(found: Found): Row[] {
  const row = (what: string, own: number[], torch: number[], unit: number): Row => ({
    rate: what,
    ours: fixed(ratio(most(own), unit), 1),
    torch: fixed(ratio(most(torch), unit), 1),
  });
  if (found.rates.length === 0) return [];
  return [
    ...modeNames.map((m) =>
      row(`matmul ${m}`, ownRates(found, 'matmul', m), torchRates(found, 'matmul', m), 1e12),
    ),
    row('copy', ownRates(found, 'copy'), torchRates(found, 'copy'), 1e9),
  ];
}

/** The best rates seen in this run, ours or torch's: a floor from slow kernels of our own would flatter us. */
function ratesOf(found: Found, mode: ModeName): Rates | undefined {
  const matmul = most([...ownRates(found, 'matmul', mode), ...torchRates(found, 'matmul', mode)]);
  const copy = most([...ownRates(found, 'copy'), ...torchRates(found, 'copy')]);
  return matmul && copy ? { matmul, copy } : undefined;
}

const bytesOf = (mode: ModeName): number => (modes[mode].dtype === 'float16' ? 2 : 4);

/** torch's best, whichever of cuDNN's auto-tuner off and on, before and after our own timings. */
function torchBest(found: Found, section: PartName, mode: string, run: TorchRow['run']): number | undefined {
  const rows = found.torch.flatMap((t) => t.rows ?? []);
  return least(
    rows.filter((r) => r.section === section && r.mode === mode && r.run === run).map((r) => r.ms.median),
  );
}

const timingOf = (found: Found, work: string, mode: string): TimingRecord | undefined =>
  found.timings.find((t) => t.work === work && t.mode === mode);

function workRows(found: Found, ops: OpList | undefined): Row[] {
  return found.timings.flatMap(({ work, mode: name, ms, peakBytes }) => {
    if (work === 'image') return [];
    // A name is the mode, then what is new: `float16 own traced`.
    const mode = name.split(' ')[0] as ModeName;
    const { median, p5, p95 } = ms;
    const rates = ratesOf(found, mode);
    const floor = ops && rates ? fusedFloor(floorOf(ops[work], bytesOf(mode), rates)) : undefined;
    const flops = ops?.[work].reduce((sum, op) => sum + productFlops(op), 0);
    const eager = torchBest(found, work, mode, 'eager');
    const graph = torchBest(found, work, mode, 'graph');
    return [
      {
        work: `${work} ${name}`,
        median: fixed(median),
        'p5-p95': `${fixed(p5)}-${fixed(p95)}`,
        'peak MiB': Math.round(peakBytes / 2 ** 20),
        'TFLOP/s': fixed(ratio(flops, median * 1e9), 1),
        floor: fixed(floor),
        efficiency: fixed(ratio(floor, median)),
        'torch eager': fixed(eager),
        'torch graph': fixed(graph),
        'x eager': fixed(ratio(eager, median)),
        'x graph': fixed(ratio(graph, median)),
      },
    ];
  });
}

const bestImages = (found: Found): string[] =>
  modeNames.filter((m) => timingOf(found, 'image', m) !== undefined);

function imageRows(found: Found, names: readonly string[]): Row[] {
  const first = timingOf(found, 'image', names[0] ?? '')?.ms.median;
  return names.flatMap((name) => {
    const timing = timingOf(found, 'image', name);
    if (!timing) return [];
    const { ms, stepMs, tuned, peakBytes } = timing;
    return [
      {
        setting: name,
        median: fixed(ms.median / 1000, 3),
        'p5-p95': `${fixed(ms.p5 / 1000, 3)}-${fixed(ms.p95 / 1000, 3)}`,
        images: ms.samples.length,
        'ms a step': fixed(stepMs?.median),
        'peak MiB': Math.round(peakBytes / 2 ** 20),
        'tuned keys': tuned.keys,
        [`x ${names[0]}`]: fixed(ratio(first, ms.median)),
      },
    ];
  });
}

function groupRows(found: Found, ops: OpList | undefined): Row[] {
  const rates = ratesOf(found, 'float16');
  return found.kernels.flatMap(({ work, mode, kernels }) => {
    const part = work as PartName;
    const of = `${part} ${mode.replace(/^float16 ?/, '')}`.trim();
    const floors = ops && rates ? floorOf(ops[part], bytesOf('float16'), rates) : undefined;
    const torchGroups = found.torch.flatMap((t) => t.groups ?? []).filter((g) => g.section === part);
    const all = kernels.reduce((sum, k) => sum + k.ms, 0);
    const row = (group: string, ms: number, calls: number, floor: number | undefined, torch: number | undefined): Row => ({ group: `${of} ${group}`, kernels: calls, ms: fixed(ms, 3), share: fixed(ms / all), floor: fixed(floor, 3), efficiency: fixed(ratio(floor, ms)), 'torch graph': fixed(torch, 3), 'x graph': fixed(ratio(torch, ms)) }); // prettier-ignore
    const rows = groupNames.flatMap((group) => {
      const own = kernels.filter((k) => groupOfLabel(k.label) === group);
      if (own.length === 0) return [];
      const ms = own.reduce((sum, k) => sum + k.ms, 0);
      const calls = own.reduce((sum, k) => sum + k.calls, 0);
      const torch = least(torchGroups.filter((g) => g.group === group).map((g) => g.ms.median));
      return [row(group, ms, calls, floors?.[group], torch)];
    });
    const calls = kernels.reduce((sum, k) => sum + k.calls, 0);
    const graph = torchBest(found, part, 'float16', 'graph');
    return [...rows, row('all', all, calls, floors && fusedFloor(floors), graph)];
  });
}

function slowestRows(found: Found): Row[] {
  const kernels = found.kernels.findLast((k) => k.work === 'unet')?.kernels ?? [];
  return kernels.slice(0, 8).map((k) => ({ kernel: k.label, calls: k.calls, ms: fixed(k.ms, 3) }));
}

function torchLines(found: Found): string[] {
  return found.torch.flatMap((t) => {
    if (t.missing) return [`torch: ${t.missing}`];
    const eager = t.rows?.find((r) => r.section === 'unet' && r.mode === 'float16' && r.run === 'eager')?.ms
      .median;
    const trouble = [...(t.failures ?? []), ...(t.notRun ?? []).map((n) => `not run: ${n}`)];
    return [
      `torch ${t.torch}, CUDA ${t.cuda}, cuDNN ${t.cudnn}: UNet float16 eager ${fixed(eager)} ms without cuDNN's auto-tuner`,
      ...trouble.map((line) => `torch: ${line.slice(0, 140)}`),
    ];
  });
}

/** The paths of CUDA's libraries. */
function libraryLine(facts: readonly FactRecord[]): string {
  const libraries = facts.find((f) => f.name === 'libraries')?.value as
    Record<string, { found: boolean; path?: string }> | undefined;
  return Object.entries(libraries ?? {})
    .map(([name, { path = 'not found' }]) => `${name}: ${path}`)
    .join(', ');
}

/** Clocks, power and temperature before the first stage and after the last. */
function gpuLine({ gpuBefore, stages }: VerifyReport): string {
  const show = (state: Readonly<Record<string, string>> | undefined): string =>
    state
      ? ['clocks.sm', 'power.draw', 'temperature.gpu'].map((f) => `${f} ${state[f]}`).join(', ')
      : 'nothing';
  if (!gpuBefore) return '';
  return `nvidia-smi before: ${show(gpuBefore)}; after: ${show(stages.findLast((s) => s.gpu)?.gpu)}`;
}
