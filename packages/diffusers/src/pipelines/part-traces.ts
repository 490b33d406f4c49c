// What a call does before and after its steps as traces: text encoders, and the decoder with the making of bytes. On
// devices that run kernels faster than the host enqueues them, that is most of a call outside its steps. Unlike steps,
// these run once a call, so they are recorded at a later call: the decoder when it is asked for the same again, text encoders
// at the next call, since what a call asks of them is known only while it embeds, which does not wait.

import { DarkroomError, log, Tensor, trace } from '@darkroom/core';
import type { Device, DType, Module, TracedModule, TraceOptions } from '@darkroom/core';
import { CLIPTextModel } from '../models/clip-text.ts';
import type { TokenTensors } from '../models/clip-text.ts';
import { encodeOpByOp, tokenIds } from './conditioners/batch.ts';
import type { EncodeTexts, TextWork } from './conditioners/encode-texts.ts';
import type { NamedTensors } from './recipe.ts';
import { TraceSources, weightsOf } from './trace-sources.ts';

/** A part of a call that a trace can stand for. */
export interface Part {
  /** What the part is; traces of one name serve one set of modules. */
  readonly name: string;
  readonly device: Device;
  /** Every module that call() calls. */
  readonly modules: readonly Module[];
  readonly inputs: Readonly<Record<string, { readonly dtype: DType; readonly shape: readonly number[] }>>;
  /** What a recording depends on beside the modules and inputs. */
  readonly key: string;
  call(given: NamedTensors): NamedTensors;
}

type Traced = TracedModule<[NamedTensors], NamedTensors>;

/** The traces of a pipeline's parts, by kind. */
export class PartTraces {
  readonly #options: TraceOptions;
  readonly #sources = new TraceSources();
  /** Parts that calls have run, by kind. */
  readonly #seen = new Map<string, Part>();
  readonly #traces = new Map<string, { readonly name: string; readonly traced: Traced }>();
  /** Traces being recorded: concurrent calls wait for the same one. */
  readonly #making = new Map<string, Promise<void>>();

  constructor(options: TraceOptions) {
    // These parts depend on their inputs as a whole: kept results would be copies of weights, which take memory.
    this.#options = { ...options, hoist: false };
  }

  /** Records the parts of this name that calls have run. */
  async prepareAll(name: string): Promise<void> {
    for (const [kind, part] of [...this.#seen]) {
      if (part.name !== name) continue;
      if (this.#kindOf(part) === kind) await this.#prepare(kind, part);
      else this.#seen.delete(kind); // of modules that were changed or replaced
    }
  }

  /** Records a part if a call has run it before. */
  async prepare(part: Part): Promise<void> {
    const kind = this.#kindOf(part);
    if (kind !== undefined) await this.#prepare(kind, part);
  }

  async #prepare(kind: string, part: Part): Promise<void> {
    if (!this.#seen.has(kind) || this.#traces.has(kind)) return;
    const known = this.#making.get(kind);
    if (known) return known;
    const making: Promise<void> = this.#make(kind, part, () => this.#making.get(kind) === making).finally(
      () => {
        if (this.#making.get(kind) === making) this.#making.delete(kind);
      },
    );
    this.#making.set(kind, making);
    return making;
  }

  /** Makes the trace of a kind; discards it unless it is `wanted` then. */
  async #make(kind: string, part: Part, wanted: () => boolean): Promise<void> {
    const { name, device, modules, call } = part;
    const given = Object.entries(part.inputs).map(
      ([input, { dtype, shape }]) => [input, Tensor.abstract(dtype, shape, device)] as const,
    );
    const about = { name, device, modules, stateDict: () => weightsOf(modules), call };
    try {
      const traced = await trace(about, [Object.fromEntries(given)], this.#options);
      if (wanted()) this.#traces.set(kind, { name, traced });
      else traced.dispose();
    } catch (error) {
      if (!(error instanceof DarkroomError)) throw error;
      this.#seen.delete(kind);
      log.warn(`enableTracing: the ${name} runs op by op, since recording it failed: ${error.message}`);
    }
  }

  /** Replays the part's trace on `given`; where there is none, runs `plain`. The caller owns the result. */
  run(part: Part, given: () => NamedTensors, plain: () => NamedTensors): NamedTensors {
    const kind = this.#kindOf(part);
    if (kind === undefined) return plain();
    for (const [other, { name, traced }] of this.#traces) {
      if (name !== part.name || sourcesIn(other) === sourcesIn(kind)) continue;
      traced.dispose();
      this.#traces.delete(other);
    }
    const found = this.#traces.get(kind);
    if (found) return found.traced.call(given());
    this.#seen.set(kind, part);
    return plain();
  }

  /** Encodes texts by the trace of their encoder, where it is one that can be recorded. */
  readonly encodeTexts: EncodeTexts = (work) => {
    const { encoder, tokenizer } = work.encoding;
    if (!(encoder instanceof CLIPTextModel) || !encoder.device) return encodeOpByOp(work);
    const given = (): TokenTensors => encoder.inputs(tokenIds(tokenizer, work.texts));
    return this.run(
      textPart(work, encoder, encoder.device),
      () => ({ ...given() }),
      () => encodeOpByOp(work),
    );
  };

  /** A key of the part; undefined where modules have hooks that a replay would not run, as under offload. */
  #kindOf(part: Part): string | undefined {
    const { name, modules, inputs, key } = part;
    for (const module of modules) {
      for (const [, m] of module.namedModules()) if (m.hasCallHooks) return undefined;
    }
    return this.#sources.keyOf(modules) + JSON.stringify([name, key, inputs]);
  }

  dispose(): void {
    for (const { traced } of this.#traces.values()) traced.dispose();
    this.#traces.clear();
    this.#making.clear();
    this.#seen.clear();
  }
}

/** The part of a kind's key that stands for modules. */
const sourcesIn = (kind: string): string => kind.slice(0, kind.indexOf(':'));

/** The name of all parts that encode texts with encoder n of a pipeline. */
export const textPartName = (n: number): string => `text encoder ${n + 1}`;

function textPart(work: TextWork, encoder: CLIPTextModel, device: Device): Part {
  const { encoding, index, texts, options, pick } = work;
  const [rows, length] = [texts.length, encoding.tokenizer.maxLength];
  const int32 = (...shape: number[]): Part['inputs'][string] => ({ dtype: 'int32', shape });
  return {
    name: textPartName(index),
    device,
    modules: [encoder as unknown as Module],
    inputs: { tokens: int32(rows, length), positions: int32(1, length), ends: int32(rows) },
    key: JSON.stringify([options, pick.key]),
    call: ({ tokens, positions, ends }) =>
      pick.of(encoder.encode({ tokens: tokens!, positions: positions!, ends: ends! }, options)),
  };
}
