// Autotune policy: picks one of a backend's choices for a key. The backend gives the choices and the clock (`time`).
// Nothing is measured inside an op call: 'full' collects keys, tunePending() measures them.

import type { ArgSpec, Backend, Choice, Slice } from '../backend.ts';
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

interface Pending {
  readonly rules: AnyRules;
  readonly op: AnyOp;
  readonly args: readonly ArgSpec[];
  readonly choices: readonly Choice[];
}

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

  /** Measures every collected key; resolves to the number of keys that got a winner. */
  async tunePending(): Promise<number> {
    const work = [...this.#pending];
    this.#pending.clear();
    for (const [key, pending] of work) {
      const decision = await this.#measure(key, pending);
      this.#winners.set(
        key,
        pending.choices.find((c) => c.id === decision.winner)!,
      );
      this.onDecision(decision);
    }
    if (work.length > 0)
      await this.#store?.save(this.#backend.caps.fingerprint, Object.fromEntries(this.#winners));
    return work.length;
  }

  async #measure(key: string, { rules, op, args, choices }: Pending): Promise<TuneDecision> {
    const backend = this.#backend;
    const slices: Slice[] = [];
    try {
      for (const [i, arg] of args.entries()) {
        const bytes = Math.max(1, span(arg.layout)) * dtypes[arg.dtype].bytes;
        const slice: Slice = { buffer: backend.alloc(bytes), offset: 0, bytes };
        slices.push(slice);
        if (i < args.length - 1) fill(backend, slice, arg.dtype, i);
      }
      const scalars = scalarsOf(rules, op);
      const out = { slice: slices.at(-1)!, dtype: args.at(-1)!.dtype };
      let reference: ArrayLike<number> | undefined;
      const rejected: string[] = [];
      const kernels = new Map<string, ReturnType<Backend['prepare']>>();
      for (const choice of choices) {
        try {
          const kernel = backend.prepare(op, args, choice);
          backend.run(kernel, slices, scalars); // warm up, and the result to validate
          const got = await sample(backend, out.slice, out.dtype);
          reference ??= got;
          if (agrees(got, reference)) kernels.set(choice.id, kernel);
          else rejected.push(choice.id);
        } catch (error) {
          // A library may offer a choice that it then cannot run. The first choice must run: it is the untuned one.
          if (!(error instanceof DeviceError) || choice === choices[0]) throw error;
          log.warn(`tuning ${key}: ${choice.id} left out: ${error.message}`);
          rejected.push(choice.id);
        }
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

/** Writes values in [-1, 1), the same at every tuning, so that it measures the same work. */
function fill(backend: Backend, slice: Slice, dtype: DType, seed: number): void {
  const elements = slice.bytes / dtypes[dtype].bytes;
  const pattern = encode(pseudoRandom(Math.min(elements, patternElements), seed), dtype);
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
