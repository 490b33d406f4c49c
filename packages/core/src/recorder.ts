// The other side of dispatch: while a recorder is active, ops and views are told to it instead of being run.
// This file only holds who is active; what a recorder does with them is graph/record.ts.

import type { AnyOp, Spec, ViewOp } from './op.ts';

/** Hears of ops and views. What it is given are tensors; this file sees their specs only, so that tensors may import it. */
export interface Recorder {
  /** An op was called; `outputs` are the abstract tensors it gave. `module` is the path of the calling module. */
  op(op: AnyOp, inputs: readonly Spec[], outputs: readonly Spec[], module: string): void;
  /** A view of `input` was taken. */
  view(op: ViewOp, input: Spec, output: Spec): void;
}

let active: Recorder | undefined;

/** The recorder that listens now. */
export function activeRecorder(): Recorder | undefined {
  return active;
}

/** Whether ops are being recorded instead of run. */
export const isRecording = (): boolean => active !== undefined;

/** Runs `body` with `recorder` listening; recorders do not nest. */
export function withRecorder<T>(recorder: Recorder, body: () => T): T {
  if (active) throw new Error('trace: a trace is being recorded already');
  active = recorder;
  try {
    return body();
  } finally {
    active = undefined;
  }
}
