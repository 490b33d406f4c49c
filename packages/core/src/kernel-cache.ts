// The kernels that dispatch looks up at every call, by op and argument layouts. Ops and layouts get small integers at
// first sight, cached per object since call sites reuse those objects; a chain of maps leads from the integers to the
// entry. No string is built for an op and layouts that were seen before.

import type { Choice, Kernel } from './backend.ts';
import type { DType } from './dtype.ts';
import { dtypeNames } from './dtype.ts';
import { span } from './layout.ts';
import type { Layout } from './layout.ts';
import type { AnyOp, Spec } from './op.ts';
import { keyOf } from './op-rules.ts';
import type { AnyRules } from './op-rules.ts';

/** Output specs and kernel of an op on arguments of one layout; no kernel where the device decomposes the op. */
export interface KernelEntry {
  readonly outputs: readonly Spec[];
  readonly kernel: Kernel | undefined;
  readonly choice: Choice | undefined;
}

/** A map from sequences of integers. */
class Chain<V> {
  value: V | undefined;
  #next: Map<number, Chain<V>> | undefined;

  get(at: number): Chain<V> | undefined {
    return this.#next?.get(at);
  }
  make(at: number): Chain<V> {
    this.#next ??= new Map();
    let next = this.#next.get(at);
    if (!next) this.#next.set(at, (next = new Chain()));
    return next;
  }
}

/** Derived numbers of a layout, cached per layout object, since layouts of parameters live long. */
interface LayoutFacts {
  /** Equal for layouts of equal shape and strides. */
  readonly id: number;
  readonly span: number;
}

const dtypeIndex = Object.fromEntries(dtypeNames.map((name, i) => [name, i])) as Readonly<
  Record<DType, number>
>;

/** Separates inputs from a given output in a sequence; no argument has this number. */
const outputFollows = -1;

/** The kernels of one device by op and arguments. */
export class KernelCache {
  #entries = new Chain<KernelEntry>();
  readonly #layouts = new WeakMap<Layout, LayoutFacts>();
  readonly #layoutIds = new Chain<LayoutFacts>();
  #layoutCount = 0;
  readonly #ops = new WeakMap<object, number>();
  readonly #sites = new WeakMap<object, number[]>();
  readonly #texts = new Map<string, number>();

  /** Elements from the first to the last that a layout touches. */
  span(layout: Layout): number {
    return this.#factsOf(layout).span;
  }

  /** The entry for `op` on these inputs (and `out`, where given); undefined before the first call. */
  get<O extends AnyOp>(
    rules: AnyRules<O>,
    op: O,
    inputs: readonly Spec[],
    out: Spec | undefined,
  ): KernelEntry | undefined {
    let at = this.#entries.get(this.#idOf(rules, op));
    for (let i = 0; at && i < inputs.length; i++) at = at.get(this.#argument(inputs[i]!));
    if (out) at = at?.get(outputFollows)?.get(this.#argument(out));
    return at?.value;
  }

  set<O extends AnyOp>(
    rules: AnyRules<O>,
    op: O,
    inputs: readonly Spec[],
    out: Spec | undefined,
    entry: KernelEntry,
  ): void {
    let at = this.#entries.make(this.#idOf(rules, op));
    for (const input of inputs) at = at.make(this.#argument(input));
    if (out) at = at.make(outputFollows).make(this.#argument(out));
    at.value = entry;
  }

  /** True if two layouts have the same shape and strides. */
  same(a: Layout, b: Layout): boolean {
    return this.#factsOf(a).id === this.#factsOf(b).id;
  }

  /** Forgets all entries. */
  clear(): void {
    this.#entries = new Chain();
  }

  #argument({ dtype, layout }: Spec): number {
    return this.#factsOf(layout).id * 8 + dtypeIndex[dtype];
  }

  #factsOf(layout: Layout): LayoutFacts {
    let facts = this.#layouts.get(layout);
    if (!facts) {
      const { shape, strides } = layout;
      let at = this.#layoutIds.make(shape.length);
      for (let i = 0; i < shape.length; i++) at = at.make(shape[i]!).make(strides[i]!);
      facts = at.value ??= { id: this.#layoutCount++, span: span(layout) };
      this.#layouts.set(layout, facts);
    }
    return facts;
  }

  /** A number that ops of equal key share. */
  #idOf<O extends AnyOp>(rules: AnyRules<O>, op: O): number {
    const { site } = rules;
    if (!site) {
      let id = this.#ops.get(op);
      if (id === undefined) this.#ops.set(op, (id = this.#textId(keyOf(rules, op))));
      return id;
    }
    const stem = site.stem(op);
    if (!stem) return this.#textId(keyOf(rules, op));
    let variants = this.#sites.get(stem);
    if (!variants) this.#sites.set(stem, (variants = []));
    return (variants[site.variant(op)] ??= this.#textId(keyOf(rules, op)));
  }

  #textId(text: string): number {
    let id = this.#texts.get(text);
    if (id === undefined) this.#texts.set(text, (id = this.#texts.size));
    return id;
  }
}
