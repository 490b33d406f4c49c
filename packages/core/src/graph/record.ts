// recordGraph(): runs a function on abstract inputs and records every op at the dispatch seam. No device, no memory:
// shape rules are pure. A view is recorded when an op reads it; a write through `out` makes a new value.

import { log } from '../debug.ts';
import { ShapeError } from '../errors.ts';
import { opSchemaVersion } from '../op.ts';
import type { AnyOp, ViewOp } from '../op.ts';
import type { CopyOp } from '../ops/copy-rules.ts';
import type { Op } from '../ops/table.ts';
import { withRecorder } from '../recorder.ts';
import type { Recorder } from '../recorder.ts';
import { keep, Scope } from '../scope.ts';
import { Tensor } from '../tensor.ts';
import { layoutOf } from '../layout.ts';
import type { Graph, GraphNode, NamedValue, ValueId, ValueInfo } from './graph.ts';

/** A recorded function and the tensors of its constants, as aliases that the caller disposes. */
export interface Recording {
  readonly graph: Graph;
  readonly constants: ReadonlyMap<string, Tensor>;
}

class GraphRecorder implements Recorder {
  readonly nodes: GraphNode[] = [];
  readonly params: NamedValue[] = [];
  readonly constants: NamedValue[] = [];
  readonly captured = new Map<string, Tensor>();
  readonly #ids = new Map<Tensor, ValueId>();
  readonly #views = new Map<Tensor, { op: ViewOp; base: Tensor; of: ValueId; id: ValueId }>();
  readonly #paramNames: ReadonlyMap<Tensor, string>;
  #next = 0;

  constructor(paramNames: ReadonlyMap<Tensor, string>) {
    this.#paramNames = paramNames;
  }

  input(name: string, t: Tensor): NamedValue {
    return { name, ...this.#define(t) };
  }

  op(op: AnyOp, inputs: readonly Tensor[], outputs: readonly Tensor[], module: string): void {
    const ids = inputs.map((x) => this.idOf(x));
    const [output, ...more] = outputs as [Tensor, ...Tensor[]];
    const isOut = this.#ids.has(output) || this.#views.has(output);
    const id = this.#emit(op as Op, ids, output, module);
    if (isOut) this.#write(output, id, module);
    else this.#ids.set(output, id);
    for (const [i, t] of more.entries())
      this.#ids.set(t, this.#emit({ kind: 'result', index: i + 1 }, [id], t, module));
  }

  view(op: ViewOp, input: Tensor, output: Tensor): void {
    this.#views.set(output, { op, base: input, of: -1, id: -1 });
  }

  /** The current value of a tensor; emits its view node again when its base was written since. */
  idOf(t: Tensor): ValueId {
    const view = this.#views.get(t);
    if (view) {
      const of = this.idOf(view.base);
      if (view.of !== of) {
        view.of = of;
        view.id = this.#emit(view.op, [of], t, '');
      }
      return view.id;
    }
    const known = this.#ids.get(t);
    if (known !== undefined) return known;
    const param = this.#paramNames.get(t);
    const value = this.#define(t);
    if (param !== undefined) this.params.push({ name: param, ...value });
    else {
      const name = `constant.${this.constants.length}`;
      log.warn(`trace: ${t.toString()} is neither an input nor a parameter; captured as ${name}`);
      this.constants.push({ name, ...value });
      // An alias, since a tensor made inside the traced function is freed when that returns.
      this.captured.set(name, keep(t.alias()));
    }
    return value.id;
  }

  #define(t: Tensor): ValueInfo {
    const id = this.#next++;
    this.#ids.set(t, id);
    return { id, dtype: t.dtype, shape: t.shape, strides: t.strides };
  }

  #emit(op: Op, inputs: readonly ValueId[], t: Tensor, module: string): ValueId {
    const id = this.#next++;
    this.nodes.push({ id, dtype: t.dtype, shape: t.shape, strides: t.strides, op, inputs, module });
    return id;
  }

  /**
   * Records that `id` was written into `target`: a whole tensor, or a slice of step 1, whose base then is a new value.
   */
  #write(target: Tensor, id: ValueId, module: string): void {
    const view = this.#views.get(target);
    if (!view) {
      this.#ids.set(target, id);
      return;
    }
    const { op, base } = view;
    if (op.kind !== 'slice' || op.step !== 1) {
      throw new ShapeError(`trace: cannot write through a ${op.kind} view; write through slices`);
    }
    const axis = op.axis < 0 ? op.axis + base.rank : op.axis;
    const start = op.start < 0 ? op.start + base.shape[axis]! : op.start;
    const copy: CopyOp = {
      kind: 'copy',
      shape: base.shape,
      dtype: base.dtype,
      format: base.memoryFormat === 'channelsLast' ? 'channelsLast' : 'contiguous',
      starts: [base.shape.map(() => 0), base.shape.map((_, i) => (i === axis ? start : 0))],
    };
    const whole = this.#emit(copy, [this.idOf(base), id], base, module);
    this.#write(base, whole, module);
  }
}

/**
 * Records `body` on abstract tensors like `inputs`. `params` names tensors that stay references (a state dict);
 * any other tensor that `body` reads is captured as a constant, with a warning.
 */
export function recordGraph(
  body: (inputs: Readonly<Record<string, Tensor>>) => Tensor | Readonly<Record<string, Tensor>>,
  inputs: Readonly<Record<string, Tensor>>,
  params: ReadonlyMap<string, Tensor> = new Map(),
): Recording {
  const recorder = new GraphRecorder(new Map([...params].map(([name, t]) => [t, name])));
  const memory = new Scope();
  try {
    return memory.run(() => {
      const abstract: Record<string, Tensor> = {};
      const named: NamedValue[] = [];
      for (const [name, t] of Object.entries(inputs)) {
        const layout =
          t.memoryFormat === 'channelsLast' ? layoutOf(t.shape, 'channelsLast') : layoutOf(t.shape);
        abstract[name] = new Tensor(t.dtype, layout, undefined, t.deviceOrNone);
        named.push(recorder.input(name, abstract[name]));
      }
      const result = withRecorder(recorder, () => body(abstract));
      const outputs = result instanceof Tensor ? { output: result } : result;
      const ends = Object.entries(outputs).map(([name, t]) => ({ name, id: recorder.idOf(t) }));
      const graph: Graph = {
        schema: opSchemaVersion,
        inputs: named,
        params: recorder.params,
        constants: recorder.constants,
        nodes: recorder.nodes,
        outputs: ends,
      };
      return { graph, constants: recorder.captured };
    });
  } finally {
    memory.dispose();
  }
}
