// The result of callbackOnStepEnd: tensors, by name, that replace those of the call. All are checked before one is
// replaced.

import { ArgumentError, cast, describe, formatShape, hint, keep, Tensor } from '@darkroom/core';

/**
 * The callback's tensors that differ from the call's, in the dtype of the ones they replace, owned by no scope.
 * @throws ArgumentError for anything but an object of tensors in the call's shapes; frees the callback's new tensors.
 */
export function checkChanged<T extends object>(changed: unknown, tensors: T): Partial<T> {
  if (changed === undefined || changed === null) return {};
  const own = tensors as Readonly<Record<string, Tensor>>;
  try {
    const given = Object.entries(checked(changed, own)).filter(([name, value]) => value !== own[name]);
    return Object.fromEntries(given.map(([name, t]) => [name, takeOver(t, own[name]!)])) as Partial<T>;
  } catch (error) {
    for (const value of Object.values(changed))
      if (value instanceof Tensor && !Object.values(own).includes(value)) value.dispose();
    throw error;
  }
}

function checked(changed: unknown, own: Readonly<Record<string, Tensor>>): Readonly<Record<string, Tensor>> {
  const fail = (rule: string): never => {
    throw new ArgumentError(`callbackOnStepEnd: ${rule}`);
  };
  if (typeof changed !== 'object' || Array.isArray(changed) || changed instanceof Tensor)
    fail(`must return nothing or an object of tensors, got ${describe(changed)}`);
  const given = Object.entries(changed as object).filter(([, value]) => value !== undefined);
  for (const [name, value] of given as [string, unknown][]) {
    if (!Object.hasOwn(own, name)) fail(`there is no tensor '${name}'${hint(name, Object.keys(own))}`);
    const before = own[name]!;
    if (!(value instanceof Tensor)) return fail(`${name} must be a tensor, got ${describe(value)}`);
    if (value.isDisposed) fail(`${name} was disposed`);
    const [wanted, got] = [formatShape(before.shape), formatShape(value.shape)];
    if (wanted !== got) fail(`${name} must be ${wanted} as it was, got ${got}`);
    if (value.device !== before.device)
      fail(`${name} must be on ${before.device.name} as it was, got one on ${value.device.name}`);
  }
  return Object.fromEntries(given) as Record<string, Tensor>;
}

/** `t` in the dtype of `before`. Takes `t` over: the result replaces it. */
function takeOver(t: Tensor, { dtype }: Tensor): Tensor {
  if (t.dtype === dtype) return keep(t);
  const out = keep(cast(t, dtype));
  t.dispose();
  return out;
}
