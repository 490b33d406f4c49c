// Denoising steps as traces: model, guidance and scheduler in one replay. What surrounds the model is recorded anew for
// each step, which is cheap, without the model: that gives the step's numbers (coefficients), and says whether it is of a
// kind that was traced before. How: docs/decisions/0007.

import {
  ArgumentError,
  contiguous,
  eliminateDead,
  keep,
  liftScalars,
  recordGraph,
  runGraph,
  scope,
  Scope,
  Tensor,
  tensor,
  trace,
} from '@darkroom/core';
import type { Graph, Named, TracedModule, TraceOptions } from '@darkroom/core';
import type { UNetLike } from '../models/types.ts';
import type { Schedule } from '../schedulers/scheduler.ts';
import type { LoopTensors } from './options.ts';

/** One step of a pipeline's loop, as far as it can be recorded. */
export interface TraceableStep<T extends LoopTensors> {
  readonly unet: UNetLike;
  readonly schedule: Schedule;
  readonly i: number;
  /** What the step reads; `timestepCond` for models that take the guidance scale as an input. */
  readonly tensors: StepTensors<T>;
  /** Draws what a stochastic step adds. */
  readonly noise: () => Tensor;
  /** Latents after the step, with the model and the noise as they are given. */
  readonly around: (tensors: T, ways: { predict: (input: Tensor) => Tensor; noise: () => Tensor }) => Tensor;
  /** Calls the model. */
  readonly predict: (input: Tensor, time: number, tensors: StepTensors<T>) => Tensor;
}
type StepTensors<T> = T & { readonly timestepCond?: Tensor };

/** What a program may ask of the trace of a step. */
export type StepTrace = Pick<TracedModule<never, unknown>, 'plans' | 'summaries' | 'summary'>;

type Tensors = Readonly<Record<string, Tensor>>;
type Traced = TracedModule<[StepInputs, number], Tensors>;
type StepInputs = Readonly<Record<'latents', Tensor>> & Tensors;

/** What stands around the model in one step: two graphs, and what they read. */
interface Shell {
  /** Ends in the model's input; ends in the latents, and in what the schedule remembers. */
  readonly before: Graph;
  readonly after: Graph;
  readonly numbers: readonly number[];
  readonly drawn: Tensor | undefined;
  /** Handles that the schedule keeps, without memory yet. */
  readonly remembered: readonly Tensor[];
}

const modelInput = 'modelInput';
const prediction = 'prediction';

export class StepTraces<T extends LoopTensors> {
  readonly #options: TraceOptions;
  readonly #traces = new Map<string, Traced>();
  /** Traces being made: calls at once wait for the same one. */
  readonly #making = new Map<string, Promise<void>>();
  #unet: UNetLike | undefined;
  #processors: readonly unknown[] = [];
  /** Kinds of steps that a call had, by its schedule. */
  readonly #seen = new WeakMap<Schedule, Set<string>>();

  constructor(options: TraceOptions) {
    this.#options = options;
  }

  /** Latents after the step; the caller keeps them. */
  async step(step: TraceableStep<T>): Promise<Tensor> {
    const { schedule, i, tensors, unet } = step;
    const seen = this.#seen.get(schedule) ?? new Set<string>();
    if (seen.size === 0 || this.#unet !== unet) this.#begin(unet);
    this.#seen.set(schedule, seen);
    using memory = new Scope();
    const history = schedule.remembered;
    const name = (n: number): string => `history.${n}`;
    // Handles of our own: the schedule may let go of its while the step is recorded.
    const held = memory.run(() => Object.fromEntries(history.map((t, n) => [name(n), t.alias()])));
    const shell = memory.run(() => recordShell(step, new Map(history.map((t, n) => [name(n), t]))));
    if (shell.drawn) memory.adopt(shell.drawn);
    const given: StepInputs = {
      latents: tensors.latents, // first: what is new at each call; what does not depend on it is kept
      ...definedOf(tensors),
      ...held,
      ...(shell.drawn && { drawn: shell.drawn }),
      ...(shell.numbers.length > 0 && {
        numbers: memory.run(() => tensor([...shell.numbers], { device: unet.device! })),
      }),
    };
    const kind = kindOf(shell, given);
    const time = schedule.timesteps[i]!;
    // What a picture has once is its first or last step: not worth a plan, and the memory of it.
    if (!this.#traces.has(kind) && seen.has(kind)) await this.#make(kind, step, shell, given);
    seen.add(kind);
    const traced = this.#traces.get(kind);
    const out = traced ? traced.call(given, time) : scope(() => run(step, shell, given, time));
    for (const [n, handle] of shell.remembered.entries()) {
      const result = out[`remembered.${n}`]!;
      handle.realize(result);
      result.dispose();
    }
    return out['latents']!;
  }

  /** Traces a kind of step, once; a trace that is done after dispose() is not kept. */
  #make(kind: string, step: TraceableStep<T>, shell: Shell, given: StepInputs): Promise<void> {
    const known = this.#making.get(kind);
    if (known) return known;
    const { unet, schedule, i } = step;
    const call = (x: StepInputs, t: number): Tensors => run(step, shell, x, t);
    const stateDict = (): Named => unet.stateDict!();
    const about = { name: 'step', device: unet.device!, module: unet };
    const make = async (): Promise<void> => {
      const sample: [StepInputs, number] = [given, schedule.timesteps[i]!];
      const traced = await trace({ ...about, stateDict, call }, sample, this.#options);
      if (this.#making.get(kind) === making) this.#traces.set(kind, traced);
      else traced.dispose();
    };
    const making = make().finally(() => {
      if (this.#making.get(kind) === making) this.#making.delete(kind);
    });
    this.#making.set(kind, making);
    return making;
  }

  /** A new picture: traces of another model, or of one whose attention is computed in another way now, go. */
  #begin(unet: UNetLike): void {
    if (!unet.stateDict)
      throw new ArgumentError('enableTracing: the UNet has no stateDict() that names its weights');
    const processors = Object.values(unet.attnProcessors ?? {});
    const same = unet === this.#unet && processors.length === this.#processors.length;
    if (!same || processors.some((p, n) => p !== this.#processors[n])) this.dispose();
    this.#unet = unet;
    this.#processors = processors;
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

/** Steps of a kind differ in numbers alone. */
function kindOf({ before, after }: Shell, given: StepInputs): string {
  const shapes = Object.entries(given).map(([name, t]) => `${name} ${t.dtype} ${t.shape}`);
  return JSON.stringify([shapes, before.nodes, after.nodes, after.outputs]);
}

/** Records the step around a model that is not run. The schedule goes on, with handles that have no memory yet. */
function recordShell<T extends LoopTensors>(step: TraceableStep<T>, history: Named): Shell {
  const { tensors, schedule, around } = step;
  const known = new Set(schedule.remembered);
  let drawn: Tensor | undefined;
  let remembered: readonly Tensor[] = [];
  const { latents } = tensors;
  const like = (t: Tensor): Tensor => Tensor.abstract(t.dtype, t.shape, t.device);
  const { graph, constants } = recordGraph(
    (x) => {
      let input: Tensor | undefined;
      const next = around(x as unknown as T, {
        predict: (t) => {
          input = t;
          return x[prediction]!;
        },
        noise: () => {
          if (drawn)
            throw new ArgumentError('enableTracing: the scheduler draws noise more than once a step');
          drawn = keep(step.noise()); // not the recording's
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
    { ...definedOf(tensors), drawn: like(latents), [prediction]: predictionLike(step) },
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

const definedOf = (tensors: LoopTensors): Tensors =>
  Object.fromEntries(Object.entries(tensors).filter(([, t]) => t !== undefined)) as Tensors;

/** What the model will give: a prediction for each row of the prompt's embeddings. */
function predictionLike<T extends LoopTensors>({ unet, tensors }: TraceableStep<T>): Tensor {
  const { latents, promptEmbeds } = tensors;
  const channels = (unet.config['out_channels'] as number | undefined) ?? 4;
  const shape = [promptEmbeds.shape[0]!, channels, ...latents.shape.slice(2)];
  return Tensor.abstract(latents.dtype, shape, latents.device);
}

function withUsedInputs(graph: Graph): Graph {
  const read = new Set([...graph.nodes.flatMap((n) => n.inputs), ...graph.outputs.map((o) => o.id)]);
  return { ...graph, inputs: graph.inputs.filter(({ id }) => read.has(id)) };
}

/** The step itself: around the model what was recorded. `time` is one element while it is traced. */
function run<T extends LoopTensors>(
  { unet, predict }: TraceableStep<T>,
  { before, after }: Shell,
  x: StepInputs,
  time: number,
): Tensors {
  const device = unet.device!;
  const part = (graph: Graph, from: Tensors): Tensors => {
    const inputs = Object.fromEntries(graph.inputs.map(({ name }) => [name, from[name]!]));
    const params = new Map(graph.params.map(({ name }) => [name, from[name]!]));
    return runGraph(graph, inputs, { params, device });
  };
  const input = part(before, x)[modelInput]!;
  const sample = predict(input, time, x as unknown as StepTensors<T>);
  return part(after, { ...x, [prediction]: contiguous(sample) }); // as it was recorded
}
