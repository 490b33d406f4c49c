// Denoising steps as traces: model, guidance and scheduler in one replay. The ops around the model (the shell) are
// recorded anew at each step, which is cheap: the recording gives the step's coefficients, and the key of the trace
// that it replays. Details: docs/decisions/0007.

import { ArgumentError, contiguous, keep, scope, Scope, Tensor, tensor, trace } from '@darkroom/core';
import { eliminateDead, liftScalars, recordGraph, runGraph } from '@darkroom/core/graph';
import type { TracedModule, TraceOptions } from '@darkroom/core';
import type { Graph, Named } from '@darkroom/core/graph';
import type { DenoiserStep, NamedTensors } from './recipe.ts';
import type { Run } from './run.ts';
import { noiseFor, step as plainStep, stepAt } from './step.ts';
import { TraceSources, weightsOf } from './trace-sources.ts';

/** The public part of a step's trace: its plans and summaries. */
export type StepTrace = Pick<TracedModule<never, unknown>, 'plans' | 'summaries' | 'summary'>;

type Traced = TracedModule<[NamedTensors, number], NamedTensors>;

/** The shell of one step: the graphs before and after the model, and their inputs. */
interface Shell {
  /** Outputs the model's input. */
  readonly before: Graph;
  /** Outputs the next latents, and the tensors that the schedule remembers. */
  readonly after: Graph;
  /** The step's coefficients. */
  readonly numbers: readonly number[];
  /** Noise that the scheduler drew. */
  readonly drawn: Tensor | undefined;
  /** The schedule's handles of the tensors that it remembers, abstract until the step has run. */
  readonly remembered: readonly Tensor[];
}

/** The state of one running call. */
interface TracedRun {
  /** A key of the denoiser's modules, adapters and attention processors. */
  readonly sources: string;
  /** The kinds of steps that this call has run. */
  readonly seen: Set<string>;
}

const modelInput = 'modelInput';
const prediction = 'prediction';

/** The traces of a pipeline's steps, by kind. */
export class StepTraces {
  readonly #options: TraceOptions;
  readonly #traces = new Map<string, Traced>();
  /** Traces being recorded: concurrent calls wait for the same one. */
  readonly #making = new Map<string, Promise<void>>();
  readonly #calls = new WeakMap<Run, TracedRun>();
  readonly #sources = new TraceSources();

  constructor(options: TraceOptions) {
    this.#options = options;
  }

  /** Latents after step i of a call; the caller keeps them. */
  async step(run: Run, i: number): Promise<Tensor> {
    const { schedule, tensors, device } = run;
    const { sources, seen } = this.#calls.get(run) ?? this.#begin(run);
    using memory = new Scope();
    const history = schedule.remembered;
    const name = (n: number): string => `history.${n}`;
    // Own handles: the schedule may release its handles while the step is recorded.
    const held = memory.run(() => Object.fromEntries(history.map((t, n) => [name(n), t.alias()])));
    const shell = memory.run(() => recordShell(run, i, new Map(history.map((t, n) => [name(n), t]))));
    if (shell.drawn) memory.adopt(shell.drawn);
    const { latents, ...others } = tensors;
    const given: NamedTensors = {
      latents, // first: the input that changes at every call; values that do not depend on it are kept between calls
      ...others,
      ...held,
      ...(shell.drawn && { drawn: shell.drawn }),
      ...(shell.numbers.length > 0 && { numbers: memory.run(() => tensor([...shell.numbers], { device })) }),
    };
    const at = stepAt(run, i);
    const kind = sources + kindOf(shell, given, at.variant);
    // Trace a kind at its second step in a call: a first or last step occurs once and is not worth a plan's memory.
    if (!this.#traces.has(kind) && seen.has(kind)) await this.#make(kind, run, at, shell, given);
    seen.add(kind);
    const traced = this.#traces.get(kind);
    const out = traced
      ? traced.call(given, at.timestep)
      : run.within(() => scope(() => replay(run, at, shell, given)));
    for (const [n, handle] of shell.remembered.entries()) {
      const result = out[`remembered.${n}`]!;
      handle.realize(result);
      result.dispose();
    }
    return out['latents']!;
  }

  /** Records the trace of a kind once; discards it if dispose() was called meanwhile. */
  #make(kind: string, run: Run, at: DenoiserStep, shell: Shell, given: NamedTensors): Promise<void> {
    const known = this.#making.get(kind);
    if (known) return known;
    const { modules } = run.recipe.denoiser;
    const call = (x: NamedTensors, timestep: number): NamedTensors =>
      replay(run, { ...at, timestep }, shell, x);
    const about = { name: 'step', device: run.device, modules, stateDict: () => weightsOf(modules), call };
    const make = async (): Promise<void> => {
      const sample: [NamedTensors, number] = [given, at.timestep];
      const traced = await trace(about, sample, this.#options);
      if (this.#making.get(kind) === making) this.#traces.set(kind, traced);
      else traced.dispose();
    };
    const making = make().finally(() => {
      if (this.#making.get(kind) === making) this.#making.delete(kind);
    });
    this.#making.set(kind, making);
    return making;
  }

  /** Starts a call: disposes the traces of other modules or other attention processors. */
  #begin(run: Run): TracedRun {
    const { name, modules } = run.recipe.denoiser;
    if (modules.some((m) => !m.stateDict))
      throw new ArgumentError(`enableTracing: the ${name} has no stateDict() that names its weights`);
    const traced = { sources: this.#sources.keyOf(modules), seen: new Set<string>() };
    this.#calls.set(run, traced);
    for (const [kind, trace] of this.#traces) {
      if (kind.startsWith(traced.sources)) continue;
      trace.dispose();
      this.#traces.delete(kind);
    }
    return traced;
  }

  get traces(): readonly StepTrace[] {
    return [...this.#traces.values()];
  }

  dispose(): void {
    for (const traced of this.#traces.values()) traced.dispose();
    this.#traces.clear();
    this.#making.clear();
  }
}

/** The key of a step's kind. Steps of one kind differ only in coefficients. */
function kindOf({ before, after }: Shell, given: NamedTensors, variant: string): string {
  const shapes = Object.entries(given).map(([name, t]) => `${name} ${t.dtype} ${t.shape}`);
  return JSON.stringify([variant, shapes, before.nodes, after.nodes, after.outputs]);
}

/** Records a step with a placeholder for the model. Advances the schedule, whose new handles are abstract. */
function recordShell(run: Run, i: number, history: Named): Shell {
  const { tensors, schedule } = run;
  const known = new Set(schedule.remembered);
  let drawn: Tensor | undefined;
  let remembered: readonly Tensor[] = [];
  const { latents } = tensors;
  const like = (t: Tensor): Tensor => Tensor.abstract(t.dtype, t.shape, t.device);
  const { graph, constants } = recordGraph(
    (x) => {
      let input: Tensor | undefined;
      const next = plainStep(run, x, i, {
        predict: (t) => {
          input = t;
          return x[prediction]!;
        },
        noise: () => {
          if (drawn)
            throw new ArgumentError('enableTracing: the scheduler draws noise more than once a step');
          drawn = keep(noiseFor(run, tensors)); // real noise, not a value of the recording
          return x['drawn']!;
        },
      });
      remembered = schedule.remembered.filter((t) => !known.has(t));
      return {
        [modelInput]: input!,
        latents: next,
        ...Object.fromEntries(remembered.map((t, n) => [`remembered.${n}`, t])),
      };
    },
    { ...tensors, drawn: like(latents), [prediction]: predictionLike(run) },
    history,
  );
  for (const constant of constants.values()) constant.dispose();
  if (constants.size > 0)
    throw new ArgumentError(
      `enableTracing: the step reads ${constants.size} tensors that are neither inputs nor history`,
    );
  const lifted = liftScalars(graph);
  const ending = (wanted: (name: string) => boolean): Graph => {
    const outputs = lifted.graph.outputs.filter(({ name }) => wanted(name));
    return withUsedInputs(eliminateDead.run({ ...lifted.graph, outputs }));
  };
  return {
    before: ending((name) => name === modelInput),
    after: ending((name) => name !== modelInput),
    numbers: lifted.numbers,
    drawn,
    remembered,
  };
}

/** An abstract tensor in the shape of the denoiser's prediction for the (doubled) batch. */
function predictionLike({ call, latents, recipe }: Run): Tensor {
  const [n, ...rest] = latents.shape as [number, ...number[]];
  const batch = [call.guided ? 2 * n : n, ...rest];
  const shape = recipe.denoiser.predictionShape?.(batch) ?? batch;
  return Tensor.abstract(latents.dtype, shape, latents.device);
}

function withUsedInputs(graph: Graph): Graph {
  const read = new Set([...graph.nodes.flatMap((n) => n.inputs), ...graph.outputs.map((o) => o.id)]);
  return { ...graph, inputs: graph.inputs.filter(({ id }) => read.has(id)) };
}

/** Runs a step: the recorded graphs before and after the model, and the model between them. */
function replay(
  { recipe, device }: Run,
  at: DenoiserStep,
  { before, after }: Shell,
  x: NamedTensors,
): NamedTensors {
  const part = (graph: Graph, from: NamedTensors): NamedTensors => {
    const inputs = Object.fromEntries(graph.inputs.map(({ name }) => [name, from[name]!]));
    const params = new Map(graph.params.map(({ name }) => [name, from[name]!]));
    return runGraph(graph, inputs, { params, device });
  };
  const input = part(before, x)[modelInput]!;
  const sample = recipe.denoiser.predict(input, at, x);
  return part(after, { ...x, [prediction]: contiguous(sample) }); // recorded as contiguous
}
