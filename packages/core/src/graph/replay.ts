// Runs a plan again and again: kernels prepared once, slices and numbers fixed, the plan's memory held from bind() to
// release(). One run is a flat list of backend calls; a backend that can do better compiles the list (Backend.compile).

import '../dispose-symbol.ts';
import type { Buffer, CompiledLaunches, PreparedLaunch, Slice } from '../backend.ts';
import type { Device } from '../device.ts';
import { assign, kernelFor } from '../dispatch.ts';
import { dtypes, encode } from '../dtype.ts';
import { ArgumentError, invariant } from '../errors.ts';
import { elementCount, span } from '../layout.ts';
import type { Layout } from '../layout.ts';
import { anyDefinitionOf, opKey, opScalars } from '../ops/table.ts';
import { keep } from '../scope.ts';
import { Storage } from '../storage.ts';
import { SegmentMemo } from './segment-memo.ts';
import { Tensor } from '../tensor.ts';
import { inputsOf, outputsOf } from './plan-data.ts';
import type { Named, Plan, PlanArg, PlanPort, PlanLaunch } from './plan-data.ts';
import { fixedBases } from './segments.ts';

/** A plan with its kernels and memory on a device, ready to run repeatedly. */
export class Replay {
  readonly plan: Plan;
  readonly #device: Device;
  /** Memory that the plan owns, by base; weights are bound from outside. */
  readonly #own = new Map<number, Storage>();
  #arena: readonly Storage[] = [];
  #slots: ReadonlyMap<string, Tensor> | undefined;
  readonly #kernels: readonly PreparedLaunch['kernel'][];
  /** Buffer and offset of each base of the plan. */
  #bases: readonly { readonly buffer: Buffer; readonly offset: number }[] = [];
  #segments: readonly BoundSegment[] = [];
  /** The value in each input's slot; no entry where the slot's content is unknown. */
  readonly #held = new Map<string, Held>();
  /** Inputs whose slot changed since the last run. */
  readonly #changed = new Set<string>();

  /** Prepares the plan's kernels. bind() must follow; it allocates the memory. */
  constructor(plan: Plan, device: Device) {
    this.plan = plan;
    this.#device = device;
    this.#kernels = kernelsOf(plan, device);
  }

  #allocate(): void {
    const [plan, device] = [this.plan, this.#device];
    const allocated: Storage[] = [];
    const storage = (bytes: number): Storage => {
      const made = new Storage(device, bytes, device.allocate(bytes));
      allocated.push(made);
      return made;
    };
    try {
      this.#arena = plan.buffers.map(storage);
      for (const [i, base] of plan.bases.entries())
        if (base.kind === 'input' || base.kind === 'output') this.#own.set(i, storage(base.bytes));
    } catch (error) {
      for (const s of allocated) s.release();
      this.#own.clear();
      throw error;
    }
    const slot = ({ base, dtype, layout }: PlanPort): Tensor =>
      keep(new Tensor(dtype, layout, this.#own.get(base)!.retain()));
    this.#slots = new Map(plan.inputs.map((port) => [port.name, slot(port)]));
  }

  /**
   * Binds weights by name and allocates the plan's memory. Weights have the layouts that the plan was made for, and
   * must not move until the next bind.
   */
  bind(weights: Named): void {
    this.#dropSegments();
    if (!this.#slots) this.#allocate();
    this.#bases = this.plan.bases.map((base, i) => {
      if (base.kind === 'arena') {
        return { buffer: this.#arena[base.buffer]!.buffer, offset: base.offset };
      }
      const own = this.#own.get(i);
      if (own) return { buffer: own.buffer, offset: 0 };
      invariant('name' in base, `replay: base ${i} has no memory`);
      const weight = weights.get(base.name);
      if (!weight) throw new ArgumentError(`replay: ${base.kind} '${base.name}' is missing`);
      return { buffer: weight.storage('replay').buffer, offset: 0 };
    });
    const { launches: planned, segments, bases } = this.plan;
    const isWeight = (base: number): boolean => ['param', 'constant'].includes(bases[base]!.kind);
    const fixed = fixedBases(planned, segments, isWeight);
    // `fixed` is set only for launches that run at every call: packing a fixed argument costs time and memory once.
    const last = segments.at(-1)?.from ?? 0;
    const launches = planned.map(({ op, args }, i): PreparedLaunch => ({
      kernel: this.#kernels[i]!,
      args: args.map((arg): Slice => {
        const at = this.#bases[arg.base]!;
        return { buffer: at.buffer, offset: at.offset + offsetBytes(arg), bytes: spanBytes(arg) };
      }),
      scalars: opScalars(op),
      fixed: args.map(({ base }) => i >= last && fixed.has(base)),
    }));
    const { backend } = this.#device;
    const isNumbers = (reads: readonly string[]): boolean =>
      reads.length > 0 && reads.every((name) => this.#slots!.get(name)!.elements === 1);
    this.#segments = segments.map(({ reads, from, to }) => {
      const own = launches.slice(from, to);
      const memo = from < last && isNumbers(reads) ? this.#memoOf(from, to) : undefined;
      return { reads, launches: own, compiled: backend.compile?.(own), memo, ran: false };
    });
  }

  /**
   * A memo for launches from … to - 1; undefined where copying their results takes as many launches as computing them.
   */
  #memoOf(from: number, to: number): SegmentMemo | undefined {
    const { launches, bases } = this.plan;
    const written = new Set(
      launches
        .slice(from, to)
        .flatMap(outputsOf)
        .map(({ base }) => base),
    );
    const elsewhere = launches.filter((_, i) => i < from || i >= to).flatMap(({ args }) => args);
    const read = new Set(elsewhere.map(({ base }) => base));
    const results = [...written].filter((i) => read.has(i) || bases[i]!.kind === 'output');
    if (results.length >= to - from) return undefined;
    const slices = results.map((i): Slice => ({ ...this.#bases[i]!, bytes: bases[i]!.bytes }));
    return new SegmentMemo(this.#device, slices);
  }

  /** Bytes of packed weights that the backend's compiled launches hold beside the plan's memory. */
  get packedBytes(): number {
    return this.#segments.reduce((sum, { compiled }) => sum + (compiled?.packedBytes ?? 0), 0);
  }

  #dropSegments(): void {
    for (const { compiled, memo } of this.#segments) {
      compiled?.[Symbol.dispose]();
      memo?.[Symbol.dispose]();
    }
    this.#segments = [];
  }

  /** Puts a value into an input's slot: a tensor of the slot's shape and dtype, or its single number. */
  set(name: string, value: Tensor | number): void {
    const slot = this.#slots?.get(name);
    if (!slot) throw new ArgumentError(`replay: there is no input '${name}'`);
    const held = heldBy(value);
    if (sameHeld(this.#held.get(name), held)) return;
    this.#held.delete(name); // until the slot holds it
    this.#changed.add(name);
    if (typeof value !== 'number') assign(value, slot);
    else {
      invariant(slot.elements === 1, `replay: input '${name}' takes ${slot.elements} numbers, not one`);
      const bytes = encode([value], slot.dtype);
      this.#device.backend.write({ ...wholeOf(slot.storage('replay')), bytes: bytes.length }, bytes);
    }
    this.#held.set(name, held);
  }

  /** Enqueues the last segment, and before it the segments whose inputs changed, on the values in the slots. */
  run(): void {
    const last = this.#segments.length - 1;
    for (const [i, segment] of this.#segments.entries()) {
      if (i < last && segment.ran && !segment.reads.some((name) => this.#changed.has(name))) continue;
      segment.ran = false; // until it has
      const numbers = segment.memo && this.#numbers(segment.reads);
      if (!numbers || !segment.memo!.recall(numbers)) {
        this.#runSegment(segment);
        if (numbers) segment.memo!.keep(numbers);
      }
      segment.ran = true;
    }
    this.#changed.clear();
  }

  /** The numbers in these inputs' slots; undefined when one holds a tensor. */
  #numbers(names: readonly string[]): readonly number[] | undefined {
    const held = names.map((name) => this.#held.get(name));
    return held.every((value) => typeof value === 'number') ? held : undefined;
  }

  #runSegment({ launches, compiled }: BoundSegment): void {
    const { backend, profile } = this.#device;
    if (profile.enabled) {
      for (const { kernel, args, scalars } of launches) {
        const start = performance.now();
        backend.run(kernel, args, scalars);
        profile.add(kernel.label, performance.now() - start);
      }
    } else if (compiled) compiled.run();
    else for (const { kernel, args, scalars } of launches) backend.run(kernel, args, scalars);
  }

  /** A copy of an output of the last run. */
  output(port: PlanPort): Tensor {
    const { buffer, offset } = this.#bases[port.base]!;
    const bytes = spanBytes(port);
    const storage = new Storage(this.#device, bytes, this.#device.allocate(bytes));
    const source = { buffer, offset: offset + offsetBytes(port), bytes };
    if (bytes > 0) this.#device.backend.copy(wholeOf(storage), source);
    return new Tensor(port.dtype, { ...port.layout, offset: 0 }, storage);
  }

  /** Frees the plan's memory until the next bind; the kernels stay. */
  release(): void {
    this.#dropSegments();
    for (const slot of this.#slots?.values() ?? []) slot.dispose();
    for (const storage of [...this.#own.values(), ...this.#arena]) storage.release();
    this.#own.clear();
    this.#held.clear();
    this.#slots = undefined;
    this.#arena = this.#bases = [];
  }
  [Symbol.dispose](): void {
    this.release();
  }
}

/** A segment of the plan with its buffers. */
interface BoundSegment {
  readonly reads: readonly string[];
  readonly launches: readonly PreparedLaunch[];
  readonly compiled: CompiledLaunches | undefined;
  readonly memo: SegmentMemo | undefined;
  ran: boolean;
}

/** Identity of an input's value, to recognise it at the next call: a number, or memory with its version and layout. */
type Held = number | { readonly storage: Storage; readonly version: number; readonly layout: Layout };

function heldBy(value: Tensor | number): Held {
  if (typeof value === 'number') return value;
  const storage = value.storage('replay');
  return { storage, version: storage.version, layout: value.layout };
}

function sameHeld(a: Held | undefined, b: Held): boolean {
  if (typeof a !== 'object' || typeof b !== 'object') return Object.is(a, b);
  const [x, y] = [a.layout, b.layout];
  return (
    a.storage === b.storage &&
    a.version === b.version &&
    x.offset === y.offset &&
    x.shape.every((d, i) => d === y.shape[i] && x.strides[i] === y.strides[i])
  );
}

const offsetBytes = ({ dtype, layout }: PlanArg): number => layout.offset * dtypes[dtype].bytes;
const spanBytes = ({ dtype, layout }: PlanArg): number =>
  elementCount(layout.shape) === 0 ? 0 : span(layout) * dtypes[dtype].bytes;
const wholeOf = (s: Storage): Slice => ({ buffer: s.buffer, offset: 0, bytes: s.bytes });

/** The kernels of a plan's launches; equal launches share one. */
function kernelsOf(plan: Plan, device: Device): PreparedLaunch['kernel'][] {
  const made = new Map<string, PreparedLaunch['kernel']>();
  const specKey = ({ dtype, layout }: PlanArg): string => `${dtype} ${layout.shape}|${layout.strides}`;
  return plan.launches.map((launch: PlanLaunch) => {
    const { op, choice, args } = launch;
    const key = `${opKey(op)};${JSON.stringify(choice)};${args.map(specKey).join(';')}`;
    let kernel = made.get(key);
    if (!kernel) made.set(key, (kernel = kernelFor(anyDefinitionOf(op), op, inputsOf(launch), outputsOf(launch), choice, device))); // prettier-ignore
    return kernel;
  });
}
