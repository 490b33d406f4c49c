// The records that a stage of verify reports, and the JSON that verify writes: plain data, which passes from a stage's
// process to the command and can be read years later.

import type { Environment } from '../report.ts';

/** Order statistics of repeated runs, and every run. Milliseconds. */
export interface Spread {
  readonly median: number;
  readonly p5: number;
  readonly p95: number;
  readonly samples: readonly number[];
}

/** Something about the machine or the run, as text or JSON. */
export interface FactRecord {
  readonly kind: 'fact';
  readonly name: string;
  readonly value: unknown;
}

/** Cases that passed or did not since the last record of this name: the sum over all of them is the check's result. */
export interface CheckRecord {
  readonly kind: 'check';
  readonly name: string;
  readonly passed: number;
  readonly unsupported: number;
  readonly failures: readonly string[];
  /** Cases that the check has in all, where it may end before. */
  readonly of?: number;
}

/** Something starts: should the process hang or die, this is where. */
export interface BeginRecord {
  readonly kind: 'begin';
  readonly name: string;
}

/** One item of the smoke test. */
export interface ItemRecord {
  readonly kind: 'item';
  readonly name: string;
  /** Absent: it passed. */
  readonly error?: string;
  readonly ms: number;
  /** The kernel that was enqueued last. */
  readonly lastLaunch: string;
  /** Largest difference from the CPU's result in units of what is allowed, and the case that has it. */
  readonly worst?: { readonly share: number; readonly difference: number; readonly name: string };
  readonly details?: Readonly<Record<string, unknown>>;
}

/** What the library warned of, word by word. */
export interface WarningRecord {
  readonly kind: 'warning';
  readonly message: string;
}

/** What the backend gave up: a library or an engine that failed, and what runs instead. */
export interface FaultRecord {
  readonly kind: 'fault';
  readonly fault: unknown;
}

/** One decision of the autotuner. */
export interface DecisionRecord {
  readonly kind: 'decision';
  readonly key: string;
  readonly winner: string;
  readonly ms: number;
  readonly rejected: readonly string[];
}

export const workNames = ['unet', 'vae', 'text', 'image'] as const;
export type WorkName = (typeof workNames)[number];

/** One piece of work, timed. `device`: between two events on the device; `wall`: from call to result on the host. */
export interface TimingRecord {
  readonly kind: 'timing';
  readonly work: WorkName;
  readonly mode: string;
  readonly clock: 'device' | 'wall';
  readonly ms: Spread;
  /** Most bytes that tensors held at once, weights included. */
  readonly peakBytes: number;
  /** Keys that the autotuner measured before the runs, and the time that took. */
  readonly tuned: { readonly keys: number; readonly seconds: number };
  /** Of a pipeline: wall time from one step's end to the next's. */
  readonly stepMs?: Spread;
}

/** FLOP/s of a matrix product, or bytes/s of a copy (read and written counted). */
export interface RateRecord {
  readonly kind: 'rate';
  readonly name: 'matmul' | 'copy';
  /** float16, tf32 or float32; for copies what copied. */
  readonly mode: string;
  readonly shape: readonly number[];
  readonly perSecond: number;
  readonly ms: Spread;
}

/** Device time of every kernel of one forward, in order, summed by kernel; and of the forward as a whole. */
export interface KernelsRecord {
  readonly kind: 'kernels';
  readonly work: WorkName;
  readonly mode: string;
  readonly kernels: readonly { readonly label: string; readonly calls: number; readonly ms: number }[];
}

/** The report of torch/replay.py, or why there is none. */
export interface TorchRecord {
  readonly kind: 'torch';
  readonly report: TorchReport;
}
export interface TorchReport {
  readonly missing?: string;
  readonly torch?: string;
  readonly cuda?: string;
  readonly cudnn?: number;
  readonly device?: string;
  readonly rates?: readonly { name: 'matmul' | 'copy'; mode: string; perSecond: number; ms: Spread }[];
  readonly rows?: readonly TorchRow[];
  readonly groups?: readonly { section: WorkName; mode: string; group: string; ms: Spread }[];
  readonly failures?: readonly string[];
  readonly notRun?: readonly string[];
}
export interface TorchRow {
  readonly section: WorkName;
  readonly mode: string;
  readonly run: 'eager' | 'graph';
  readonly cudnnBenchmark: boolean;
  readonly ms: Spread;
}

export type StageRecord =
  | FactRecord
  | CheckRecord
  | BeginRecord
  | ItemRecord
  | WarningRecord
  | FaultRecord
  | DecisionRecord
  | TimingRecord
  | RateRecord
  | KernelsRecord
  | TorchRecord;

export interface StageResult {
  readonly name: string;
  readonly status: 'passed' | 'failed' | 'not run';
  /** Why it failed or was not run. */
  readonly message?: string;
  readonly seconds: number;
  /** All that was measured, also by a stage that failed later. */
  readonly records: readonly StageRecord[];
  /** The GPU's clocks, power and temperature when the stage ended. */
  readonly gpu?: Readonly<Record<string, string>>;
}

/** What is known before the first stage. */
export interface RunHead {
  readonly environment: Environment;
  readonly size: 'full' | 'tiny';
  readonly budgetSeconds: number;
  readonly gpuBefore?: Readonly<Record<string, string>>;
}

export interface VerifyReport extends RunHead {
  readonly kind: 'verify';
  readonly stages: readonly StageResult[];
}
