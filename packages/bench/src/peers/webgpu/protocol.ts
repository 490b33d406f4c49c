// Messages between the parent, which decides whose turn it is, and the children, which hold one candidate each.

import type { WorkId } from './work.ts';

export const candidateNames = ['darkroom', 'jax', 'tfjs', 'ort'] as const;
export type CandidateName = (typeof candidateNames)[number];

export type Request =
  | { readonly kind: 'open' }
  | { readonly kind: 'prepare'; readonly work: WorkId; readonly form: string }
  /** Runs for `seconds`, at least once. */
  | { readonly kind: 'run'; readonly form: string; readonly seconds: number }
  | { readonly kind: 'release'; readonly form: string };

export interface Opened {
  readonly adapter: string;
  /** Version of each package that this child uses. */
  readonly versions: Readonly<Record<string, string>>;
  readonly includesReadback: boolean;
  readonly forms: Readonly<Record<WorkId, readonly string[]>>;
}

export interface PreparedReply {
  /** The first run: shaders are compiled in it, and peers that upload lazily upload in it. */
  readonly firstMs: number;
  /** The candidate's own tuning, if it has one. */
  readonly tuneMs?: number;
  readonly result: Float32Array;
}

/** The answer to each kind of request. */
export interface Replies {
  readonly open: Opened;
  readonly prepare: PreparedReply;
  readonly run: readonly number[];
  readonly release: undefined;
}

export type Reply = { readonly ok: Replies[Request['kind']] } | { readonly error: string };
