// The one seam every op passes: liveness and device checks, recording, kernel choice, layout copies, allocation,
// profiling, error context. An op's own rules (shapes, decomposition) come in its OpDefinition.

import type { ArgSpec, Choice, Kernel, Slice } from './backend.ts';
import { debug } from './debug.ts';
import type { Device, KernelEntry } from './device.ts';
import { dtypes } from './dtype.ts';
import { DarkroomError, DeviceError, formatShape, ShapeError, UnsupportedOpError } from './errors.ts';
import { isChannelsLast, isContiguous, span } from './layout.ts';
import type { Layout, MemoryFormat } from './layout.ts';
import { currentModule } from './module-path.ts';
import type { Cost, KernelOp, Spec } from './op.ts';
import { opKey, opScalars } from './op.ts';
import { activeRecorder } from './recorder.ts';
import { scope } from './scope.ts';
import { Storage } from './storage.ts';
import { releaseCollected, Tensor } from './tensor.ts';

/** The rules of one op kind. `infer` is pure and the only place that words its shape errors. */
export interface OpDefinition<O extends KernelOp> {
  infer(op: O, inputs: readonly Spec[]): Spec;
  cost(op: O, inputs: readonly Spec[]): Cost;
  /** The same result from simpler ops; runs where the backend offers no choice. */
  decompose?(op: O, inputs: readonly Tensor[], device: Device): Tensor;
}

type Relayout = (x: Tensor, format: MemoryFormat) => Tensor;

export interface DispatchOptions {
  /** Where ops without inputs run. */
  readonly device?: Device | undefined;
  /** Write here instead of a new tensor: must have the inferred shape and dtype. Returned as it is. */
  readonly out?: Tensor | undefined;
}

export function dispatch<O extends KernelOp>(
  definition: OpDefinition<O>,
  op: O,
  inputs: readonly Tensor[],
  options: DispatchOptions = {},
): Tensor {
  const device = commonDevice(op, inputs, options.device);
  const { out } = options;
  const recorder = activeRecorder();
  if (recorder) {
    const spec = inferChecked(definition, op, inputs, out);
    const result = out ?? new Tensor(spec.dtype, spec.layout, undefined, device);
    recorder.op(op, inputs, result, currentModule());
    return result;
  }
  releaseCollected();
  for (const x of inputs) x.storage(op.kind); // throws for abstract or disposed inputs
  if (out) out.storage(op.kind).version++;
  const key = kernelKey(op, inputs, out);
  // A known key was inferred and checked before: shapes, dtypes and attributes are all part of it.
  const entry = device?.kernels.get(key) ?? prepare(definition, op, inputs, device, out, key);
  const on = device!;
  if (!entry.kernel) return decompose(definition, op, inputs, on, out);
  if (entry.needs?.some((need, i) => need && !inFormat(inputs[i]!, need))) {
    return relaid(definition, op, inputs, entry.needs, options);
  }

  const result = out ?? allocate(on, entry.spec);
  const slices: Slice[] = [];
  for (const x of inputs) slices.push(sliceOf(x, op.kind));
  slices.push(sliceOf(result, op.kind));
  const { profile } = on;
  if (profile.enabled) {
    const start = performance.now();
    on.backend.run(entry.kernel, slices, opScalars(op));
    profile.add(entry.kernel.label, performance.now() - start);
  } else on.backend.run(entry.kernel, slices, opScalars(op));
  if (debug.checkFinite) requireFinite(op, result);
  return result;
}

/**
 * The part of dispatch that depends on shapes only: the choice for `op`, or the tensor that simpler ops, or the op after
 * the copies it needs, gave instead; those pass the active recorder. For compiling ahead and for plans, which both call
 * this from a recorder for every op. `out`: as in dispatch.
 */
export function resolveAbstract<O extends KernelOp>(
  definition: OpDefinition<O>,
  op: O,
  inputs: readonly Tensor[],
  device: Device,
  out?: Tensor,
): Choice | Tensor {
  const key = kernelKey(op, inputs, out);
  const entry = device.kernels.get(key) ?? prepare(definition, op, inputs, device, out, key);
  if (!entry.choice) return decompose(definition, op, inputs, device, out);
  if (entry.needs?.some((need, i) => need && !inFormat(inputs[i]!, need))) {
    return relaid(definition, op, inputs, entry.needs, { device, out });
  }
  return entry.choice;
}

/** The kernel of a choice for arguments (inputs, then the output): what dispatch prepared, where it chose the same. */
export function kernelFor(op: KernelOp, args: readonly Spec[], choice: Choice, device: Device): Kernel {
  const known = device.kernels.get(kernelKey(op, args.slice(0, -1), undefined));
  const out = args.at(-1)!;
  const same =
    known?.choice === choice &&
    known.spec.dtype === out.dtype &&
    factsOf(known.spec.layout).key === factsOf(out.layout).key;
  return same && known.kernel ? known.kernel : device.backend.prepare(op, args.map(argSpec), choice);
}

/** What dispatch would choose for arguments (inputs, then the output); undefined where it would decompose. */
export function choiceFor(op: KernelOp, args: readonly Spec[], device: Device): Choice | undefined {
  const specs = args.map(argSpec);
  const choices = device.backend.choices(op, specs);
  return choices.length > 0 ? device.tuner.pick(op, specs, choices) : undefined;
}

const argSpec = ({ dtype, layout }: Spec): ArgSpec => ({ dtype, layout: { ...layout, offset: 0 } });

function inferChecked<O extends KernelOp>(
  definition: OpDefinition<O>,
  op: O,
  inputs: readonly Tensor[],
  out: Tensor | undefined,
): Spec {
  const spec = definition.infer(
    op,
    inputs.map((x) => x.spec),
  );
  if (out) checkOut(op, spec, out);
  return spec;
}

function commonDevice(
  op: KernelOp,
  inputs: readonly Tensor[],
  given: Device | undefined,
): Device | undefined {
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

function checkOut(op: KernelOp, spec: Spec, out: Tensor): void {
  const same = out.dtype === spec.dtype && formatShape(out.shape) === formatShape(spec.layout.shape);
  if (!same) {
    throw new ShapeError(
      `${op.kind}: out is ${out.toString()} but the result is ${spec.dtype}${formatShape(spec.layout.shape)}`,
    );
  }
}

/** What a layout costs to work out, kept beside it: layouts of parameters and of cached results are long-lived. */
interface LayoutFacts {
  readonly key: string;
  readonly span: number;
}
/** Faster than Array.join for a few small integers, and this is the hot path of views. */
function joined(sizes: readonly number[]): string {
  let text = '';
  for (let i = 0; i < sizes.length; i++) text += `${sizes[i]},`;
  return text;
}
const layoutFacts = new WeakMap<Layout, LayoutFacts>();
function factsOf(layout: Layout): LayoutFacts {
  let facts = layoutFacts.get(layout);
  if (!facts) {
    facts = { key: `${joined(layout.shape)}|${joined(layout.strides)}`, span: span(layout) };
    layoutFacts.set(layout, facts);
  }
  return facts;
}

/** New memory for `spec` on the device; joins the current scope. */
export function allocate(device: Device, spec: Spec): Tensor {
  const bytes = factsOf(spec.layout).span * dtypes[spec.dtype].bytes;
  return new Tensor(spec.dtype, spec.layout, new Storage(device, bytes, device.allocate(bytes)));
}

function sliceOf(x: Tensor, user: string): Slice {
  const { buffer } = x.storage(user);
  const size = dtypes[x.dtype].bytes;
  return { buffer, offset: x.layout.offset * size, bytes: factsOf(x.layout).span * size };
}

function kernelKey(op: KernelOp, inputs: readonly Spec[], out: Spec | undefined): string {
  let key = opKey(op);
  for (const x of inputs) key += `;${x.dtype}|${factsOf(x.layout).key}`;
  return out ? `${key}>${out.dtype}|${factsOf(out.layout).key}` : key;
}

function prepare<O extends KernelOp>(
  definition: OpDefinition<O>,
  op: O,
  inputs: readonly Tensor[],
  device: Device | undefined,
  out: Tensor | undefined,
  key: string,
): KernelEntry {
  const spec = inferChecked(definition, op, inputs, out);
  if (!device) throw new DeviceError(`${op.kind}: needs a device: it has no inputs and none was given`);
  const args = [...inputs.map((x) => x.spec), out?.spec ?? spec].map(argSpec);
  const choice = choiceFor(op, args, device);
  const entry: KernelEntry = {
    spec,
    kernel: choice && device.backend.prepare(op, args, choice),
    choice,
    needs: choice?.needs,
  };
  device.kernels.set(key, entry);
  return entry;
}

function decompose<O extends KernelOp>(
  definition: OpDefinition<O>,
  op: O,
  inputs: readonly Tensor[],
  device: Device,
  out: Tensor | undefined,
): Tensor {
  if (!definition.decompose) {
    const types = inputs.map((x) => x.toString()).join(', ');
    throw new UnsupportedOpError(
      `${op.kind}: ${device.name} cannot run it on (${types}) and it has no decomposition`,
    );
  }
  const result = scope(() => definition.decompose!(op, inputs, device));
  if (!out) return result;
  assignInto(result, out);
  result.dispose();
  return out;
}

let assignInto: (from: Tensor, out: Tensor) => void = () => {
  throw new DarkroomError('internal: dispatch is used before ops/copy.ts was loaded');
};
let relayoutTo: Relayout = () => {
  throw new DarkroomError('internal: dispatch is used before ops/copy.ts was loaded');
};
/** ops/copy.ts gives dispatch the one op it needs itself (dispatch cannot import an op file without a cycle). */
export function provideCopy(assign: (from: Tensor, out: Tensor) => void, relayout: Relayout): void {
  assignInto = assign;
  relayoutTo = relayout;
}

function relaid<O extends KernelOp>(
  definition: OpDefinition<O>,
  op: O,
  inputs: readonly Tensor[],
  needs: readonly (MemoryFormat | undefined)[],
  options: DispatchOptions,
): Tensor {
  return scope(() => {
    const converted = inputs.map((x, i) =>
      needs[i] && !inFormat(x, needs[i]) ? relayoutTo(x, needs[i]) : x,
    );
    return dispatch(definition, op, converted, options);
  });
}

function inFormat(x: Tensor, format: MemoryFormat): boolean {
  return format === 'channelsLast' ? isChannelsLast(x.layout) : isContiguous(x.layout);
}

function requireFinite(op: KernelOp, result: Tensor): void {
  const bad = result.dataSync().findIndex((v) => !Number.isFinite(v));
  if (bad >= 0) throw new DarkroomError(`${op.kind}: element ${bad} of ${result.toString()} is not finite`);
}
