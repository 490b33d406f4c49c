// The one place that every op passes: liveness and device checks, recording, kernel choice, allocation, profiling,
// error context. An op's own rules (shapes, decomposition) come in its OpDefinition.

import type { ArgSpec, Choice, Kernel, Slice } from './backend.ts';
import { debug } from './debug.ts';
import type { Device } from './device.ts';
import { dtypes } from './dtype.ts';
import {
  ArgumentError,
  DarkroomError,
  DeviceError,
  formatShape,
  ShapeError,
  UnsupportedOpError,
} from './errors.ts';
import type { KernelEntry } from './kernel-cache.ts';
import { currentModule } from './module-path.ts';
import type { AnyOp, Spec } from './op.ts';
import { outputsOf, scalarsOf } from './op-rules.ts';
import type { OpRules } from './op-rules.ts';
import { copyRules, wholeCopy } from './ops/copy-rules.ts';
import { activeRecorder } from './recorder.ts';
import { scope } from './scope.ts';
import { Storage } from './storage.ts';
import { releaseCollected, Tensor } from './tensor.ts';

/**
 * An op kind: its rules, and its meaning in simpler ops. `R`: what infer gives, a Spec, or a list of them where the op
 * has several outputs.
 */
export interface OpDefinition<O extends AnyOp, R extends Spec | readonly Spec[] = Spec> extends OpRules<
  O,
  R
> {
  /** The same result from simpler ops; runs where the backend offers no choice. */
  decompose?(op: O, inputs: readonly Tensor[], device: Device): R extends Spec ? Tensor : readonly Tensor[];
}

/** The definition of an op with any number of outputs. */
export type AnyDefinition<O extends AnyOp = AnyOp> = OpDefinition<O, Spec | readonly Spec[]>;

/** Options of dispatch(). */
export interface DispatchOptions {
  /** The device of an op without inputs. */
  readonly device?: Device | undefined;
  /** Write here instead of a new tensor: must have the inferred shape and dtype. Returned as it is. */
  readonly out?: Tensor | undefined;
}

/**
 * Runs an op of one output; while a recorder is active, records it instead.
 * @throws what the op's infer throws; DeviceError for inputs on several devices or without memory; UnsupportedOpError
 * where the device has no kernel and the op no decomposition.
 */
export function dispatch<O extends AnyOp>(
  definition: OpDefinition<O>,
  op: NoInfer<O>,
  inputs: readonly Tensor[],
  options: DispatchOptions = {},
): Tensor {
  return dispatchAll(definition, op, inputs, options)[0]!;
}

/**
 * Dispatches an op with any number of outputs and returns all of them. `out` is for ops of one output.
 * @throws as dispatch.
 */
export function dispatchAll<O extends AnyOp>(
  definition: AnyDefinition<O>,
  op: NoInfer<O>,
  inputs: readonly Tensor[],
  options: DispatchOptions = {},
): readonly Tensor[] {
  const device = commonDevice(op, inputs, options.device);
  const { out } = options;
  const recorder = activeRecorder();
  if (recorder) {
    const specs = inferChecked(definition, op, inputs, out);
    const results = out ? [out] : specs.map((spec) => new Tensor(spec.dtype, spec.layout, undefined, device));
    recorder.op(op, inputs, results, currentModule());
    return results;
  }
  releaseCollected();
  for (const x of inputs) x.storage(op.kind); // throws for abstract or disposed inputs
  if (out) out.storage(op.kind).version++;
  // A cached entry needs no checks: shapes, dtypes and attributes are part of its key, and were checked when it was
  // made.
  const entry =
    device?.kernels.get(definition, op, inputs, out) ?? prepare(definition, op, inputs, device, out);
  const on = device!;
  if (!entry.kernel) return decompose(definition, op, inputs, on, out);

  const results: Tensor[] = [];
  if (out) results.push(out);
  else for (const spec of entry.outputs) results.push(allocate(on, spec));
  const slices: Slice[] = [];
  for (const x of inputs) slices.push(sliceOf(x, op.kind, on));
  for (const y of results) slices.push(sliceOf(y, op.kind, on));
  const { profile } = on;
  if (profile.enabled) {
    const start = performance.now();
    on.backend.run(entry.kernel, slices, scalarsOf(definition, op));
    profile.add(entry.kernel.label, performance.now() - start);
  } else on.backend.run(entry.kernel, slices, scalarsOf(definition, op));
  if (debug.checkFinite) for (const y of results) requireFinite(op, y);
  return results;
}

/**
 * The part of dispatch that depends on shapes only: the choice for `op`, or the abstract outputs of its decomposition,
 * whose ops are recorded. Compiling ahead and planning call this from their recorders for every op. `out`: as in
 * dispatch.
 */
export function resolveAbstract<O extends AnyOp>(
  definition: AnyDefinition<O>,
  op: O,
  inputs: readonly Tensor[],
  device: Device,
  out?: Tensor,
): Choice | readonly Tensor[] {
  const entry =
    device.kernels.get(definition, op, inputs, out) ?? prepare(definition, op, inputs, device, out);
  return entry.choice ?? decompose(definition, op, inputs, device, out);
}

/**
 * The kernel of `choice` for these arguments; dispatch's own kernel if dispatch made the same choice, else a new one.
 */
export function kernelFor<O extends AnyOp>(
  definition: AnyDefinition<O>,
  op: O,
  inputs: readonly Spec[],
  outputs: readonly Spec[],
  choice: Choice,
  device: Device,
): Kernel {
  const known = device.kernels.get(definition, op, inputs, undefined);
  const same =
    known?.choice === choice &&
    outputs.every((out, i) => {
      const spec = known.outputs[i]!;
      return spec.dtype === out.dtype && device.kernels.same(spec.layout, out.layout);
    });
  return same && known.kernel
    ? known.kernel
    : device.backend.prepare(op, [...inputs, ...outputs].map(argSpec), choice);
}

/** The choice that dispatch makes for these arguments (inputs, then outputs); undefined where it decomposes the op. */
export function choiceFor<O extends AnyOp>(
  definition: AnyDefinition<O>,
  op: O,
  args: readonly Spec[],
  device: Device,
): Choice | undefined {
  const specs = args.map(argSpec);
  const choices = device.backend.choices(op, specs);
  return choices.length > 0 ? device.tuner.pick(definition, op, specs, choices) : undefined;
}

/** Writes x over `out` (same shape; casts). */
export function assign(x: Tensor, out: Tensor): void {
  dispatch(copyRules, wholeCopy(out.shape, out.dtype, x.memoryFormat), [x], { out });
}

/** New memory for `spec` on the device; joins the current scope. */
export function allocate(device: Device, spec: Spec): Tensor {
  const bytes = device.kernels.span(spec.layout) * dtypes[spec.dtype].bytes;
  return new Tensor(spec.dtype, spec.layout, new Storage(device, bytes, device.allocate(bytes)));
}

const argSpec = ({ dtype, layout }: Spec): ArgSpec => ({ dtype, layout: { ...layout, offset: 0 } });

function inferChecked<O extends AnyOp>(
  definition: AnyDefinition<O>,
  op: O,
  inputs: readonly Tensor[],
  out: Tensor | undefined,
): readonly Spec[] {
  const specs = outputsOf(
    definition,
    op,
    inputs.map((x) => x.spec),
  );
  if (out) checkOut(op, specs, out);
  return specs;
}

function commonDevice(op: AnyOp, inputs: readonly Tensor[], given: Device | undefined): Device | undefined {
  let device = given;
  for (let i = 0; i < inputs.length; i++) {
    const d = inputs[i]!.deviceOrNone;
    if (!d) continue;
    device ??= d;
    if (d !== device) {
      throw new DeviceError(
        `${op.kind}: input ${i} is on ${d.name} but another is on ${device.name}; move it with to()`,
      );
    }
  }
  return device;
}

function checkOut(op: AnyOp, specs: readonly Spec[], out: Tensor): void {
  if (specs.length !== 1)
    throw new ArgumentError(`${op.kind}: has ${specs.length} outputs, so it takes no out`);
  const { dtype, layout } = specs[0]!;
  const same = out.dtype === dtype && formatShape(out.shape) === formatShape(layout.shape);
  if (!same) {
    throw new ShapeError(
      `${op.kind}: out is ${out.toString()} but the result is ${dtype}${formatShape(layout.shape)}`,
    );
  }
}

function sliceOf(x: Tensor, user: string, device: Device): Slice {
  const { buffer } = x.storage(user);
  const size = dtypes[x.dtype].bytes;
  return { buffer, offset: x.layout.offset * size, bytes: device.kernels.span(x.layout) * size };
}

function prepare<O extends AnyOp>(
  definition: AnyDefinition<O>,
  op: O,
  inputs: readonly Tensor[],
  device: Device | undefined,
  out: Tensor | undefined,
): KernelEntry {
  const outputs = inferChecked(definition, op, inputs, out);
  if (!device) throw new DeviceError(`${op.kind}: needs a device: it has no inputs and none was given`);
  const args = [...inputs.map((x) => x.spec), ...(out ? [out.spec] : outputs)].map(argSpec);
  const choice = choiceFor(definition, op, args, device);
  const kernel = choice && device.backend.prepare(op, args, choice);
  const entry: KernelEntry = { outputs, kernel, choice };
  device.kernels.set(definition, op, inputs, out, entry);
  return entry;
}

function decompose<O extends AnyOp>(
  definition: AnyDefinition<O>,
  op: O,
  inputs: readonly Tensor[],
  device: Device,
  out: Tensor | undefined,
): readonly Tensor[] {
  if (!definition.decompose) {
    const types = inputs.map((x) => x.toString()).join(', ');
    throw new UnsupportedOpError(
      `${op.kind}: ${device.name} cannot run it on (${types}) and it has no decomposition`,
    );
  }
  const given = scope(() => definition.decompose!(op, inputs, device));
  const results = given instanceof Tensor ? [given] : given;
  if (!out) return results;
  assign(results[0]!, out);
  results[0]!.dispose();
  return [out];
}

function requireFinite(op: AnyOp, result: Tensor): void {
  const bad = result.dataSync().findIndex((v) => !Number.isFinite(v));
  if (bad >= 0) throw new DarkroomError(`${op.kind}: element ${bad} of ${result.toString()} is not finite`);
}
