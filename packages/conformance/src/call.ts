// Calls the function under test eagerly or traced. Traced, a trace without passes must give eager's bits, and the
// result of the optimised trace is compared with the reference.

import { scope, Tensor, trace } from '@darkroom/core';
import { passes as allPasses } from '@darkroom/core/graph';
import type { Device } from '@darkroom/core';
import type { Named, Pass } from '@darkroom/core/graph';

/** A function of tensors, and of JSON values beside them, with its weights by name. */
export interface Callable<Args extends readonly unknown[], Out> {
  call(...args: Args): Out;
  stateDict?(): Named;
}

export type Call = <Args extends readonly unknown[], Out>(
  f: Callable<Args, Out>,
  ...args: Args
) => Promise<Out>;

/** Calls `f` op by op; the caller frees the result. */
export const callEagerly: Call = async (f, ...args) => scope(() => f.call(...args));

/** Calls `f` traced. The call throws an Error naming the result and the element if the trace differs from eager. */
export function callTraced(device: Device): Call {
  return async <Args extends readonly unknown[], Out>(
    f: Callable<Args, Out>,
    ...args: Args
  ): Promise<Out> => {
    const eager = scope(() => f.call(...args));
    try {
      free(await replayed(device, f, args, eager, []));
      return await replayed(device, f, args, undefined, allPasses);
    } finally {
      free(eager);
    }
  };
}

async function replayed<Args extends readonly unknown[], Out>(
  device: Device,
  f: Callable<Args, Out>,
  args: Args,
  same: Out | undefined,
  passes: readonly Pass[],
): Promise<Out> {
  // A function instead of the model: a trace takes a module over, and other cases use the model too.
  const stateDict = (): Named => f.stateDict?.() ?? new Map();
  using traced = await trace({ device, stateDict, call: (...given: Args) => f.call(...given) }, args, {
    passes,
  });
  const out = traced.call(...args);
  try {
    if (same !== undefined) await requireSameBits(tensorsOf(out), tensorsOf(same));
    return out;
  } catch (error) {
    free(out);
    throw error;
  }
}

async function requireSameBits(
  got: ReadonlyMap<string, Tensor>,
  want: ReadonlyMap<string, Tensor>,
): Promise<void> {
  for (const [name, t] of want)
    requireSame(name || 'the result', await got.get(name)?.data(), await t.data());
}

/** Compares bit by bit. @throws Error naming the first element that differs. */
export function requireSame(name: string, got: ArrayLike<number> | undefined, want: ArrayLike<number>): void {
  const at = Array.from(want).findIndex((v, i) => !Object.is(v, got?.[i]));
  if (at >= 0 || got?.length !== want.length)
    throw new Error(`traced differs from eager: ${name} at element ${at}: ${got?.[at]}, not ${want[at]}`);
}

/** The tensors in a result, by path. */
function tensorsOf(value: unknown, path = '', into = new Map<string, Tensor>()): Map<string, Tensor> {
  if (value instanceof Tensor) into.set(path, value);
  else if (typeof value === 'object' && value !== null)
    for (const [key, v] of Object.entries(value)) tensorsOf(v, path === '' ? key : `${path}.${key}`, into);
  return into;
}

function free(value: unknown): void {
  for (const t of tensorsOf(value).values()) t.dispose();
}
