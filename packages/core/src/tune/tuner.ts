// Autotune policy: picks one of a backend's choices for a key. The backend gives the choices and the clock (`time`).
// Nothing is measured inside an op call: 'full' collects keys, tunePending() measures them.

import type { ArgSpec, Backend, Choice, Kernel, Slice } from '../backend.ts';
import { log } from '../debug.ts';
import { decode, dtypes, encode } from '../dtype.ts';
import type { DType } from '../dtype.ts';
import { DeviceError } from '../errors.ts';
import { span } from '../layout.ts';
import type { AnyOp } from '../op.ts';
import { keyOf, scalarsOf } from '../op-rules.ts';
import type { AnyRules } from '../op-rules.ts';
import { tuneTolerance } from '../testing/tolerance.ts';

/** 'off': first choices; 'cached': stored winners; 'full': also collects the keys that tunePending() measures. */
export type TuneMode = 'off' | 'cached' | 'full';

/** Stores winners between processes: JSON by fingerprint and key. */
export interface TuneStore {
  load(fingerprint: string): Promise<Record<string, Choice>>;
  save(fingerprint: string, winners: Record<string, Choice>): Promise<void>;
}

/** One line per decision. */
export interface TuneDecision {
  readonly key: string;
  readonly winner: string;
  readonly ms: number;
  readonly rejected: readonly string[];
}

/** Options of tuning. */
export interface TuneOptions {
  /** A deadline: keys that are not measured by then keep their first choice and stay pending. Default: none. */
  readonly seconds?: number;
  /** How often a key runs, where that is known; default: once. Keys that take most time are measured first. */
  readonly uses?: ReadonlyMap<string, number>;
  /** Called after each key that was measured. */
  readonly onProgress?: (tuned: number, total: number) => void;
}

interface Pending {
  readonly rules: AnyRules;
  readonly op: AnyOp;
  readonly args: readonly ArgSpec[];
  readonly choices: readonly Choice[];
}

/** A key whose choices are prepared: kernels by the choice's id, and choices that could not be. */
interface Prepared extends Pending {
  readonly key: string;
  readonly kernels: ReadonlyMap<string, Kernel>;
  readonly refused: readonly string[];
}

/** Keys are prepared together, so that their kernels compile together: so many, or as long as this takes. */
const batchKeys = 32;
const batchMs = 1000;
/** Bytes that take as long to move as one floating-point operation takes: large GPUs do about 200 for each byte. */
const flopsPerByte = 200;

const runs = 5;
/** Least milliseconds of a measurement, and its most runs. */
const leastMs = 0.5;
const mostTimes = 20;

/** Picks one of the choices that a backend offers for a kernel. */
export class Tuner {
  mode: TuneMode;
  onDecision: (decision: TuneDecision) => void = () => {};
  readonly #backend: Backend;
  readonly #store: TuneStore | undefined;
  readonly #winners = new Map<string, Choice>();
  readonly #pending = new Map<string, Pending>();

  constructor(backend: Backend, mode: TuneMode, store?: TuneStore) {
    this.#backend = backend;
    this.mode = mode;
    this.#store = store;
  }

  get pending(): number {
    return this.#pending.size;
  }

  /** Reads earlier winners; call once before use when a store was given. */
  async load(): Promise<void> {
    const kept = (await this.#store?.load(this.#backend.caps.fingerprint)) ?? {};
    for (const [key, choice] of Object.entries(kept)) this.#winners.set(key, choice);
  }

  /** The choice to use now. A kept winner counts only if the backend still offers it. */
  pick<O extends AnyOp>(
    rules: AnyRules<O>,
    op: O,
    args: readonly ArgSpec[],
    choices: readonly Choice[],
  ): Choice {
    const first = choices[0]!;
    if (this.mode === 'off' || choices.length === 1) return first;
    const key = tuneKey(rules, op, args);
    const winner = this.#winners.get(key);
    const known = winner && choices.find((c) => c.id === winner.id);
    if (known) return known;
    if (this.mode === 'full')
      this.#pending.set(key, { rules: rules as unknown as AnyRules, op, args, choices });
    return first;
  }

  /**
   * Measures the collected keys, those with the largest share of the time first; resolves to the number of keys that
   * got a winner.
   */
  async tunePending({ seconds = Infinity, uses, onProgress }: TuneOptions = {}): Promise<number> {
    const end = performance.now() + 1000 * seconds;
    const isLate = (): boolean => performance.now() >= end;
    const share = ([key, pending]: [string, Pending]): number => (uses?.get(key) ?? 1) * workOf(pending);
    const work = [...this.#pending].sort((a, b) => share(b) - share(a));
    const patterns: Patterns = new Map();
    let tuned = 0;
    for (let at = 0; at < work.length && !isLate();) {
      const batch: Prepared[] = [];
      const start = performance.now();
      while (at < work.length && batch.length < batchKeys && performance.now() - start < batchMs && !isLate())
        batch.push(this.#prepare(...work[at++]!));
      // A kernel that does not compile says so when it runs.
      await this.#backend.ready?.().catch(() => {});
      for (const prepared of batch) {
        if (isLate()) break;
        const decision = await this.#measure(prepared, patterns);
        const { key } = decision;
        this.#pending.delete(key);
        this.#winners.set(
          key,
          prepared.choices.find((c) => c.id === decision.winner)!,
        );
        tuned++;
        this.onDecision(decision);
        onProgress?.(tuned, work.length);
      }
    }
    if (tuned > 0) await this.#store?.save(this.#backend.caps.fingerprint, Object.fromEntries(this.#winners));
    return tuned;
  }

  #prepare(key: string, pending: Pending): Prepared {
    const kernels = new Map<string, Kernel>();
    const refused: string[] = [];
    for (const choice of pending.choices) {
      const kernel = this.#unlessRefused(key, pending, choice, () =>
        this.#backend.prepare(pending.op, pending.args, choice),
      );
      if (kernel) kernels.set(choice.id, kernel);
      else refused.push(choice.id);
    }
    return { ...pending, key, kernels, refused };
  }

  /** A library may offer a choice that it then cannot run. The first choice must run: it is the untuned one. */
  #unlessRefused<T>(key: string, { choices }: Pending, choice: Choice, body: () => T): T | undefined {
    try {
      return body();
    } catch (error) {
      if (!(error instanceof DeviceError) || choice === choices[0]) throw error;
      log.warn(`tuning ${key}: ${choice.id} left out: ${error.message}`);
      return undefined;
    }
  }

  async #measure(prepared: Prepared, patterns: Patterns): Promise<TuneDecision> {
    const { key, rules, op, args, choices } = prepared;
    const backend = this.#backend;
    const slices: Slice[] = [];
    try {
      for (const [i, arg] of args.entries()) {
        const bytes = Math.max(1, span(arg.layout)) * dtypes[arg.dtype].bytes;
        const slice: Slice = { buffer: backend.alloc(bytes), offset: 0, bytes };
        slices.push(slice);
        if (i < args.length - 1) fill(backend, slice, patternOf(patterns, arg.dtype, i));
      }
      const scalars = scalarsOf(rules, op);
      const out = { slice: slices.at(-1)!, dtype: args.at(-1)!.dtype };
      let reference: ArrayLike<number> | undefined;
      const rejected: string[] = [...prepared.refused];
      const kernels = new Map<string, Kernel>();
      for (const choice of choices) {
        const kernel = prepared.kernels.get(choice.id);
        if (!kernel) continue;
        const ran = this.#unlessRefused(key, prepared, choice, () => {
          backend.run(kernel, slices, scalars); // warm up, and the result to validate
          return true;
        });
        const got = ran && (await this.#resultOf(key, prepared, choice, out));
        if (got) reference ??= got;
        if (got && agrees(got, reference!)) kernels.set(choice.id, kernel);
        else rejected.push(choice.id);
      }
      const best = new Map<string, number>();
      for (let round = 0; round < runs; round++) {
        for (const [id, kernel] of kernels) {
          const known = best.get(id) ?? Infinity;
          if (round > 0 && known > 3 * Math.min(...best.values())) continue;
          // Short kernels run several times, or the clock would measure how they are enqueued.
          const times = round === 0 ? 1 : Math.min(mostTimes, Math.max(1, Math.ceil(leastMs / known)));
          const ms = await backend.time(() => {
            for (let i = 0; i < times; i++) backend.run(kernel, slices, scalars);
          });
          best.set(id, Math.min(ms / times, known));
        }
      }
      const [winner, ms] = [...best].sort((a, b) => a[1] - b[1])[0] ?? [choices[0]!.id, NaN];
      return { key, winner, ms, rejected };
    } finally {
      for (const { buffer } of slices) backend.free(buffer);
    }
  }

  async #resultOf(
    key: string,
    pending: Pending,
    choice: Choice,
    { slice, dtype }: { readonly slice: Slice; readonly dtype: DType },
  ): Promise<Float32Array | undefined> {
    const got = await sample(this.#backend, slice, dtype).catch((error: unknown) => error);
    if (got instanceof Float32Array) return got;
    return this.#unlessRefused(key, pending, choice, () => {
      throw got;
    });
  }
}

/** The work of one run, in floating-point operations or the bytes that take as long. */
function workOf({ rules, op, args }: Pending): number {
  const { flops, bytes } = rules.cost(op, args.slice(0, -1));
  return Math.max(flops, flopsPerByte * bytes);
}

/** Op, shapes, strides and dtypes; the fingerprint is the store's key. */
export function tuneKey<O extends AnyOp>(rules: AnyRules<O>, op: O, args: readonly ArgSpec[]): string {
  const specs = args.map((a) => `${dtypes[a.dtype].short}[${a.layout.shape}|${a.layout.strides}]`);
  return `${keyOf(rules, op)} ${specs.join(' ')}`;
}

function agrees(got: ArrayLike<number>, reference: ArrayLike<number>): boolean {
  let error = 0;
  let norm = 0;
  for (let i = 0; i < reference.length; i++) {
    error += (got[i]! - reference[i]!) ** 2;
    norm += reference[i]! ** 2;
  }
  return error <= tuneTolerance ** 2 * norm;
}

/** Elements of one pattern: whole words of every dtype, but not a multiple of any tile. */
const patternElements = 1_000_004;
/** Elements looked at in each of three places of a result. */
const sampleElements = 16_384;

/** Patterns by dtype and seed: making one takes longer than most measurements. */
type Patterns = Map<string, Uint8Array>;

/** Values in [-1, 1), the same at every tuning, so that it measures the same work. */
function patternOf(patterns: Patterns, dtype: DType, seed: number): Uint8Array {
  const key = `${dtype} ${seed}`;
  let pattern = patterns.get(key);
  if (!pattern) patterns.set(key, (pattern = encode(pseudoRandom(patternElements, seed), dtype)));
  return pattern;
}

/** Writes the pattern again and again. */
function fill(backend: Backend, slice: Slice, pattern: Uint8Array): void {
  for (let at = 0; at < slice.bytes; at += pattern.byteLength) {
    const bytes = Math.min(pattern.byteLength, slice.bytes - at);
    backend.write({ buffer: slice.buffer, offset: at, bytes }, pattern.subarray(0, bytes));
  }
}

/** Values from the start, the middle and the end of a result. */
async function sample(backend: Backend, { buffer, bytes }: Slice, dtype: DType): Promise<Float32Array> {
  const size = dtypes[dtype].bytes;
  const elements = bytes / size;
  const whole = (at: number): number => 4 * Math.floor(Math.max(0, at) / 4); // starts at a word of memory
  const firsts = [0, whole(elements / 2), whole(elements - sampleElements)];
  const parts: number[] = [];
  for (const first of firsts) {
    const count = Math.min(sampleElements + 3, elements - first);
    const read = await backend.read({ buffer, offset: first * size, bytes: count * size });
    parts.push(...decode(read, dtype));
  }
  return Float32Array.from(parts);
}

function pseudoRandom(count: number, seed: number): Float32Array {
  const out = new Float32Array(count);
  let state = (seed + 1) * 0x9e3779b9;
  for (let i = 0; i < count; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    out[i] = state / 2 ** 31 - 1;
  }
  return out;
}
