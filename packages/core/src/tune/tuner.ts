// Autotune policy: which of a backend's choices to take for a key. Knowledge is the backend's (`choices`),
// the clock too (`time`). Never measures inside an op call: 'full' notes what to measure, tunePending() does it.

import type { ArgSpec, Backend, Buffer, Choice, Slice } from '../backend.ts';
import { decode, dtypes, encode } from '../dtype.ts';
import { span } from '../layout.ts';
import type { KernelOp } from '../op.ts';
import { opKey, opScalars } from '../op.ts';
import { tuneTolerance } from '../testing/tolerance.ts';

export type TuneMode = 'off' | 'cached' | 'full';

/** Where winners are kept between runs: JSON by fingerprint and key. */
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
  readonly op: KernelOp;
  readonly args: readonly ArgSpec[];
  readonly choices: readonly Choice[];
}

const runs = 5;

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
  pick(op: KernelOp, args: readonly ArgSpec[], choices: readonly Choice[]): Choice {
    const first = choices[0]!;
    if (this.mode === 'off' || choices.length === 1) return first;
    const key = tuneKey(op, args);
    const winner = this.#winners.get(key);
    const known = winner && choices.find((c) => c.id === winner.id);
    if (known) return known;
    if (this.mode === 'full') this.#pending.set(key, { op, args, choices });
    return first;
  }

  /** Measures every noted key; resolves to how many got a winner. */
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

  async #measure(key: string, { op, args, choices }: Pending): Promise<TuneDecision> {
    const backend = this.#backend;
    const buffers: Buffer[] = [];
    const slices = args.map((arg, i): Slice => {
      const elements = Math.max(1, span(arg.layout));
      const bytes = elements * dtypes[arg.dtype].bytes;
      const buffer = backend.alloc(bytes);
      buffers.push(buffer);
      const slice = { buffer, offset: 0, bytes };
      if (i < args.length - 1) backend.write(slice, encode(pseudoRandom(elements, i), arg.dtype));
      return slice;
    });
    try {
      const scalars = opScalars(op);
      const out = slices.at(-1)!;
      let reference: ArrayLike<number> | undefined;
      const best = new Map<string, number>();
      const rejected: string[] = [];
      const kernels = new Map<string, ReturnType<Backend['prepare']>>();
      for (const choice of choices) {
        if (choice.needs?.some((need) => need !== undefined)) continue; // a layout change is not a like-for-like race
        const kernel = backend.prepare(op, args, choice);
        backend.run(kernel, slices, scalars); // warm up, and the result to validate
        const got = decode(await backend.read(out), args.at(-1)!.dtype);
        if (!reference) reference = got;
        else if (!agrees(got, reference)) {
          rejected.push(choice.id);
          continue;
        }
        kernels.set(choice.id, kernel);
      }
      for (let round = 0; round < runs; round++) {
        for (const [id, kernel] of kernels) {
          const fastest = Math.min(...best.values());
          if (round > 0 && best.get(id)! > 3 * fastest) continue;
          const ms = await backend.time(() => backend.run(kernel, slices, scalars));
          best.set(id, Math.min(ms, best.get(id) ?? Infinity));
        }
      }
      const [winner, ms] = [...best].sort((a, b) => a[1] - b[1])[0] ?? [choices[0]!.id, NaN];
      return { key, winner, ms, rejected };
    } finally {
      for (const buffer of buffers) backend.free(buffer);
    }
  }
}

/** Op, shapes, strides and dtypes; the fingerprint is the store's key. */
export function tuneKey(op: KernelOp, args: readonly ArgSpec[]): string {
  const specs = args.map((a) => `${dtypes[a.dtype].short}[${a.layout.shape}|${a.layout.strides}]`);
  return `${opKey(op)} ${specs.join(' ')}`;
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

/** Values in [-1, 1): deterministic, so that tuning twice measures the same work. */
function pseudoRandom(count: number, seed: number): Float32Array {
  const out = new Float32Array(count);
  let state = (seed + 1) * 0x9e3779b9;
  for (let i = 0; i < count; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    out[i] = state / 2 ** 31 - 1;
  }
  return out;
}
