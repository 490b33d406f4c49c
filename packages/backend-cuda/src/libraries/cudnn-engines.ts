// From a graph as data to cuDNN's: the engines that its heuristics name, as data, and cuDNN's execution plan of an
// engine.

import {
  CudnnDescriptor,
  cudnnHeuristics,
  cudnnNote,
  cudnnRuntimeCompilation,
  cudnnStatus,
} from '../node/cudnn.ts';
import type { CudnnKind } from '../node/cudnn.ts';
import type { Address, Cudnn, NativeError } from '../node/native.ts';
import type { CudnnGraph } from './cudnn-graph.ts';

/** An engine and its settings: plain data, valid for the same cuDNN and device. */
export interface EngineConfig {
  readonly engine: number;
  readonly knobs: readonly (readonly [type: number, value: number])[];
}

/** A GPU: through a handle on it, or described (without one, where plans of compiled engines cannot be made). */
export type CudnnTarget =
  | { readonly cudnn: Cudnn; readonly handle: Address }
  | { readonly cudnn: Cudnn; readonly properties: string };

/** True for an error by which cuDNN refuses a graph, or an engine for it. */
export function isRefusal(error: unknown): boolean {
  if (!(error instanceof Error) || !('library' in error)) return false;
  const { library, code } = error as NativeError;
  const { notSupported, internalError, compilationFailed, unexpectedValue } = cudnnStatus;
  const failed: readonly number[] = [internalError, compilationFailed, unexpectedValue];
  return (
    library === 'libcudnn' && ((code >= notSupported && code < notSupported + 1000) || failed.includes(code))
  );
}

/** Descriptors that are freed together, those made last first. */
export class CudnnDescriptors {
  readonly #target: CudnnTarget;
  readonly #made: CudnnDescriptor[] = [];

  constructor(target: CudnnTarget) {
    this.#target = target;
  }
  make(kind: CudnnKind): CudnnDescriptor {
    const made = new CudnnDescriptor(this.#target.cudnn, kind);
    this.#made.push(made);
    return made;
  }
  several(kind: CudnnKind, count: number): CudnnDescriptor[] {
    return Array.from({ length: count }, () => this.make(kind));
  }

  /** The operation graph, finalized. */
  graph({ nodes, operations }: CudnnGraph): CudnnDescriptor {
    const made: CudnnDescriptor[] = [];
    for (const { kind, settings } of nodes) {
      const descriptor = this.make(kind);
      for (const [attribute, type, ...values] of settings)
        descriptor.set(attribute, type, ...values.map((v) => (typeof v === 'number' ? v : made[v.node]!)));
      made.push(descriptor.finalize());
    }
    const graph = this.make('operationgraph');
    if ('handle' in this.#target) graph.set('operationgraphHandle', 'handle', this.#target.handle);
    return graph.set('operationgraphOps', 'backendDescriptor', ...operations.map((o) => made[o.node]!)).finalize(); // prettier-ignore
  }

  /** The described device, undefined where there is a handle instead. */
  device(): CudnnDescriptor | undefined {
    if ('handle' in this.#target) return undefined;
    const json = new TextEncoder().encode(this.#target.properties);
    return this.make('deviceprop').setBytes('devicepropJsonRepresentation', json).finalize();
  }

  [Symbol.dispose](): void {
    for (const descriptor of this.#made.splice(0).reverse()) descriptor[Symbol.dispose]();
  }
}

/** The most engines of a graph that are offered. */
const mostEngines = 6;
/** Those among them whose kernel cuDNN compiles first, in 0.25 to 1.4 s: the tuner builds each. */
const mostCompiled = 3;

/**
 * At most six engines for the graph, three of them compiled at run time, best guess first; those of fallback mode where
 * there is no better guess. Left out are engines that change the numbers more than the graph allows, and those that
 * give others with every run.
 */
export function engineConfigs(target: CudnnTarget, graph: CudnnGraph): EngineConfig[] {
  using made = new CudnnDescriptors(target);
  const operations = unlessRefused(() => made.graph(graph));
  if (!operations) return [];
  for (const mode of ['a', 'fallback'] as const) {
    const found = unlessRefused(() => heuristics(made, operations, mode, graph.exact)) ?? [];
    let compiled = 0;
    const kept = found.filter((f) => !f.compiled || ++compiled <= mostCompiled);
    if (kept.length > 0) return kept.slice(0, mostEngines).map((f) => f.config);
  }
  return [];
}

function unlessRefused<T>(calls: () => T): T | undefined {
  try {
    return calls();
  } catch (error) {
    if (!isRefusal(error)) throw error;
    return undefined;
  }
}

/** An engine that the heuristics name, and whether cuDNN compiles its kernel at run time. */
interface Found {
  readonly config: EngineConfig;
  readonly compiled: boolean;
}

function heuristics(
  made: CudnnDescriptors,
  graph: CudnnDescriptor,
  mode: 'a' | 'fallback',
  exact: boolean,
): Found[] {
  const query = made
    .make('engineheur')
    .set('engineheurOperationGraph', 'backendDescriptor', graph)
    .set('engineheurMode', 'heurMode', cudnnHeuristics[mode]);
  const device = made.device();
  if (device) query.set('engineheurDeviceprop', 'backendDescriptor', device);
  query.finalize();
  const room = query.count('engineheurResults', 'backendDescriptor');
  const results = query.fill('engineheurResults', made.several('enginecfg', room));
  return results.flatMap((result) => {
    const [engine] = result.fill('enginecfgEngine', [made.make('engine')]);
    const notes = engine!.get('engineNumericalNote', 'numericalNote', mostNotes);
    if (refusedNotes(exact).some((n) => notes.includes(n))) return [];
    const compiled = engine!
      .get('engineBehaviorNote', 'behaviorNote', mostNotes)
      .includes(cudnnRuntimeCompilation);
    return [{ config: configOf(made, result, engine!), compiled }];
  });
}

const mostNotes = 16;
/** More than there are types of knobs. */
const mostKnobs = 64;
const refusedNotes = (exact: boolean): readonly number[] => [
  cudnnNote.downConvertInputs,
  cudnnNote.reducedPrecisionReduction,
  cudnnNote.nondeterministic,
  ...(exact ? [cudnnNote.tensorCore] : []),
];

function configOf(made: CudnnDescriptors, config: CudnnDescriptor, engine: CudnnDescriptor): EngineConfig {
  // cuDNN does not tell the number beforehand: asked without room it says 0.
  const knobs = config.fill('enginecfgKnobChoices', made.several('knobChoice', mostKnobs));
  return {
    engine: engine.get('engineGlobalIndex', 'int64')[0]!,
    knobs: knobs.map((k) => [
      k.get('knobChoiceKnobType', 'knobType')[0]!,
      k.get('knobChoiceKnobValue', 'int64')[0]!,
    ]),
  };
}

/** The engine configuration's descriptor, finalized. @throws a refusal where the engine does not take the graph. */
export function engineConfig(
  made: CudnnDescriptors,
  graph: CudnnGraph,
  { engine, knobs }: EngineConfig,
): CudnnDescriptor {
  const chosen = made
    .make('engine')
    .set('engineOperationGraph', 'backendDescriptor', made.graph(graph))
    .set('engineGlobalIndex', 'int64', engine);
  const device = made.device();
  if (device) chosen.set('engineDeviceprop', 'backendDescriptor', device);
  chosen.finalize();
  const choices = knobs.map(([type, value]) =>
    made.make('knobChoice').set('knobChoiceKnobType', 'knobType', type).set('knobChoiceKnobValue', 'int64', value).finalize(),
  ); // prettier-ignore
  const config = made.make('enginecfg').set('enginecfgEngine', 'backendDescriptor', chosen);
  if (choices.length > 0) config.set('enginecfgKnobChoices', 'backendDescriptor', ...choices);
  return config.finalize();
}
